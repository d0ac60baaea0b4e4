"""The workflow and the Cloud Build file: pinned, no secret, as their schemas say."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
LINTED = ("Dockerfile", ".github/workflows/ci.yml", "cloudbuild.yaml")


def jobs():
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]


def commands(job):
    return [step["run"] for step in jobs()[job]["steps"] if "run" in step]


def lint(root):
    """Runs the script's lint on a copy at `root`, with this environment's tools."""
    for name in (*LINTED, "scripts/check_image.sh"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            shutil.copy(ROOT / name, root / name)
    tools = str(Path(sys.executable).parent)
    return subprocess.run(
        [root / "scripts/check_image.sh", "lint"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        timeout=300,
    )


def test_linters_find_nothing(tmp_path):
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("Dockerfile", "WORKDIR /build", "WORKDIR build", "DL3000"),
        (".github/workflows/ci.yml", "runs-on: ubuntu-24.04", "runs_on: x", "runs_on"),
        ("cloudbuild.yaml", "E2_HIGHCPU_8", "HUGE", "HUGE"),
    ],
)
def test_linters_find_a_mistake(tmp_path, name, old, new, said):
    text = (ROOT / name).read_text()
    assert old in text
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text.replace(old, new, 1))
    done = lint(tmp_path)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr


def test_every_action_is_pinned_by_commit_with_its_version():
    lines = [line for line in WORKFLOW.read_text().splitlines() if "uses:" in line]
    assert len(lines) > len(jobs())
    pinned = {}
    for line in lines:
        match = re.fullmatch(
            r"\s+- uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line
        )
        assert match, line
        pinned.setdefault(match[1], set()).add(match.groups()[1:])
    assert all(len(versions) == 1 for versions in pinned.values()), pinned


def test_jobs_and_their_order():
    order = {name: set(job.get("needs", [])) for name, job in jobs().items()}
    assert order == {
        "unit": set(),
        "e2e": set(),
        "image": {"unit"},
        "compile": {"unit"},
        "submit": {"unit", "e2e", "image", "compile"},
    }
    for name in ("unit", "e2e"):
        stacks = jobs()[name]["strategy"]["matrix"]["include"]
        assert [(s["stack"], s["python"]) for s in stacks] == [
            ("A", "3.10"),
            ("B", "3.13"),
        ]


def test_submit_is_by_hand_and_needs_no_secret():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    submit = workflow["jobs"]["submit"]
    assert submit["if"].startswith("github.event_name == 'workflow_dispatch' && ")
    assert submit["permissions"] == {"contents": "read", "id-token": "write"}
    assert submit["environment"] == "production"
    assert workflow["permissions"] == {"contents": "read"}
    others = [j for n, j in workflow["jobs"].items() if n != "submit"]
    assert not [job for job in others if "permissions" in job]
    assert not re.search(r"secrets\.|credentials_json", WORKFLOW.read_text())
    assert commands("submit")[-1] == '.venv/bin/tfx-irm submit "$CONFIG"'


def test_nothing_of_an_event_is_pasted_into_a_shell():
    assert not [run for job in jobs() for run in commands(job) if "${{" in run]


def test_make_has_the_targets_that_the_workflow_calls():
    called = {
        match[1]
        for job in jobs()
        for run in commands(job)
        if (match := re.match(r"make ([\w-]+)", run))
    }
    assert called == {"lint", "test-unit", "test-e2e", "image", "venv"}
    makefile = (ROOT / "Makefile").read_text()
    for target in called:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], []),
        (["GPU=1"], ["GPU=1"]),
        (["GPU=true", "BEAM=yes"], ["GPU=1", "BEAM=1"]),
        (["GPU=0", "BEAM=1"], ["BEAM=1"]),
    ],
)
def test_make_image_passes_what_is_asked(given, arguments):
    """To make's own last word, which is what a shell would be given."""
    said = subprocess.run(
        ["make", "-n", "image", "IMAGE=here/it:1", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.replace("\\\n", "")
    (line,) = [line for line in said.splitlines() if line.startswith("docker build")]
    found = re.findall(r"--build-arg (\w+=\S*)", line)
    assert found == [*arguments, 'REVISION="$(git']
    assert '--tag "here/it:1"' in line and line.endswith(" .")


def test_cloud_build_checks_each_image_before_any_is_pushed():
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    steps = {step["id"]: step for step in build["steps"]}
    assert list(steps) == ["build", "check", "build-gpu", "check-gpu"]
    assert not [s for s in steps.values() if "push" in s["args"] or "waitFor" in s]
    for suffix in ("", "-gpu"):
        image = f"${{_IMAGE}}:${{_TAG}}{suffix}"
        assert image in build["images"]
        assert f"--tag={image}" in steps[f"build{suffix}"]["args"]
        assert image in steps[f"check{suffix}"]["args"][1]
    assert "--build-arg=GPU=1" in steps["build-gpu"]["args"]
    assert "--build-arg=GPU=1" not in steps["build"]["args"]


def test_cloud_build_defines_every_substitution_that_it_uses():
    text = (ROOT / "cloudbuild.yaml").read_text()
    build = yaml.safe_load(text)
    used = set(re.findall(r"\$\{(\w+)\}", text))
    given = {"PROJECT_ID", "LOCATION", "COMMIT_SHA"}  # Cloud Build's own
    assert used - given == set(build["substitutions"])
    declared = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.M)
    passed = re.findall(r"--build-arg=(\w+)=", text)
    assert set(passed) <= set(declared)


def test_the_compile_step_compiles(tmp_path):
    """Its very command, with another folder to write to: no account, no network."""
    (command,) = [c for c in commands("compile") if "tfx-irm compile" in c]
    words = shlex.split(command)
    assert words[0] == ".venv/bin/tfx-irm"
    words = [str(tmp_path / w) if w == "pipeline.json" else w for w in words[1:]]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "pipeline.json").read_text())["pipelineSpec"]
