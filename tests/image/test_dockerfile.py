"""The Dockerfile keeps what docs/image.md says, and can be built."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dockerfile
import pytest
from docker.utils.build import exclude_paths

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
CODE = ("pipeline/", "components/", "trainer_module/")
ALWAYS = {".dockerignore", "Dockerfile"}  # Docker's client sends these two always


def instructions():
    return dockerfile.parse_file(str(ROOT / "Dockerfile"))


def stages():
    """Stage -> (what it is made from, its instructions)."""
    found = {}
    for line in instructions():
        if line.cmd.upper() == "FROM":
            source, _, name = line.value
            found[name] = source, []
        elif found:
            found[name][1].append(line)
    return found


def arguments():
    """Name -> default, of the arguments before the first stage."""
    lines = instructions()
    first = [line.cmd for line in lines].index("FROM")
    return dict(line.value[0].split("=", 1) for line in lines[:first])


def chain(name, gpu="0"):
    """The instructions of `name` and of all it is made from, in their order."""
    found = stages()
    lines = []
    while name in found:
        source, own = found[name]
        lines = own + lines
        name = source.replace("${GPU}", gpu)
    return lines


def from_context(line):
    """What COPY, or a bind mount of RUN, takes from the build context."""
    if line.cmd == "COPY" and not any(f.startswith("--from") for f in line.flags):
        return list(line.value[:-1])
    mounts = [
        dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
        for flag in line.flags
        if flag.startswith("--mount=")
    ]
    return [m["source"] for m in mounts if m["type"] == "bind" and "from" not in m]


def context():
    """The files that reach a Docker engine, by the client library's own reading."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    return {p for p in exclude_paths(str(ROOT), patterns) if (ROOT / p).is_file()}


def test_base_is_one_debian_13_by_digest():
    assert re.fullmatch(
        r"debian:trixie-\d{8}-slim@sha256:[0-9a-f]{64}", arguments()["BASE"]
    )
    others = {source for source, _ in stages().values()} - set(stages())
    named = {"${BASE}", "beam-${BEAM}", "runtime-${GPU}"}
    assert others == named | {f"apache/beam_python3.13_sdk:{pin('apache-beam')}"}


def pin(package):
    lines = (ROOT / "requirements/stack-b-run.txt").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{package}==")]
    return line.split("==")[1].split(" ")[0]


@pytest.mark.parametrize("gpu", ["0", "1"])
def test_final_stage_has_no_compiler_and_no_root(gpu):
    lines = chain("final", gpu)
    assert lines[0].original.startswith("RUN apt-get update")
    installed = [
        word
        for line in lines
        if line.cmd == "RUN"
        for command in re.findall(r"apt-get install([^&]*)", line.value[0])
        for word in command.split()
        if not word.startswith("-")
    ]
    assert installed == ["ca-certificates", "libgomp1", "python3"]
    users = [line.value[0] for line in lines if line.cmd == "USER"]
    assert users == ["1000:1000"]


def test_code_comes_after_the_environment():
    """So that a change of code does not install anything anew."""
    taken = [path for line in chain("environment") for path in from_context(line)]
    assert taken == [f"requirements/stack-b{part}.txt" for part in ("", "-run", "-gpu")]
    before = chain("runtime-1")
    assert [path for line in before for path in from_context(line)] == [
        "image/entrypoint.sh"
    ]
    copied = [line.flags for line in before if line.cmd == "COPY"]
    assert ("--from=environment",) in copied
    assert not [flags for flags in copied if "--from=wheel" in flags]


def test_context_holds_what_is_copied_and_nothing_else():
    taken = {path for line in instructions() for path in from_context(line)}
    assert set(CODE) < taken
    files = context()
    for path in taken:
        assert [f for f in files if f == path or f.startswith(path)], path
    loose = {f for f in files if not f.startswith(tuple(taken))}
    assert all(f.startswith(("requirements/", "image/")) for f in loose - ALWAYS)


def test_context_holds_every_file_of_the_packages_but_bytecode():
    files = {
        str(path.relative_to(ROOT))
        for package in CODE
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(files) > 100
    assert {f for f in context() if f.startswith(CODE)} == files


def test_docs_list_every_argument():
    declared = [
        line.value[0].split("=")[0] for line in instructions() if line.cmd == "ARG"
    ]
    text = (ROOT / "docs/image.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(set(declared))


def test_docs_put_own_code_where_the_image_looks():
    """What `check_image.sh build` does too, and imports."""
    line = "COPY my_model/ /opt/code/my_model/"
    assert line in (ROOT / "docs/image.md").read_text()
    assert line in (ROOT / "scripts/check_image.sh").read_text()
    paths = [x for x in chain("final") if x.cmd == "RUN" and ".pth" in x.value[0]]
    assert len(paths) == 1 and "echo /opt/code >" in paths[0].value[0]


def test_no_index_and_no_secret_is_named():
    text = (ROOT / "Dockerfile").read_text()
    assert not re.search(r"://|index-url|trusted-host|find-links", text)
    names = [
        part
        for line in instructions()
        if line.cmd in ("ARG", "ENV")
        for part in line.value
    ]
    assert not [n for n in names if re.search(r"(?i)token|secret|password|key", n)]


def test_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (line,) = [
        line
        for line in stages()["final"][1]
        if line.cmd == "ARG" and line.value[0].startswith("VERSION")
    ]
    assert line.value == (f"VERSION={project['version']}",)


def test_entry_point_and_command_are_lists():
    """A string would run in a shell, and hide signals from what it runs."""
    last = [line for line in chain("final") if line.cmd in ("ENTRYPOINT", "CMD")]
    assert [line.json for line in last] == [True, True]
    assert last[0].value == ("/opt/tfx-irm/entrypoint.sh",)


def entry_point(*words, boot):
    """Runs the entry point with Beam's at `boot`; returns exit status and output."""
    script = (ROOT / "image/entrypoint.sh").read_text()
    assert "boot=/opt/apache/beam/boot" in script
    done = subprocess.run(
        ["sh", "-c", script.replace("/opt/apache/beam/boot", str(boot)), "sh", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_entry_point_runs_a_command_with_its_words(tmp_path):
    command = ["sh", "-c", 'printf "<%s>" "$@"; exit 3', "sh", "a b", "--id=1", ""]
    status, out, err = entry_point(*command, boot=tmp_path / "none")
    assert (status, out, err) == (3, "<a b><--id=1><>", "")


def test_entry_point_gives_options_to_beam(tmp_path):
    boot = tmp_path / "boot"
    boot.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit 5\n')
    boot.chmod(0o755)
    words = ["--id=sdk-0-0", "--control_endpoint=localhost:12371"]
    status, out, _ = entry_point(*words, boot=boot)
    assert (status, out) == (5, "".join(f"<{word}>" for word in words))


def test_entry_point_without_beam_says_what_to_do(tmp_path):
    status, out, err = entry_point("--version", boot=tmp_path / "none")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "--version" in err and "BEAM=1" in err and "tfx-irm --version" in err


@pytest.mark.parametrize("name", ["image/entrypoint.sh", "scripts/check_image.sh"])
def test_scripts_can_be_run(name):
    assert os.access(ROOT / name, os.X_OK)


@pytest.mark.long
def test_image_is_built_and_holds():
    """Every step of the Dockerfile, by buildah on Debian 13, and a look inside."""
    done = subprocess.run(
        [ROOT / "scripts/check_image.sh", "build"],
        capture_output=True,
        text=True,
        timeout=3000,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    for line in ("modules imported, 0 without bytecode", "smoke: passed", "own code: "):
        assert line in said
