"""A run that is killed, again and again, ends as one that was left alone."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from components import digests
from tests.e2e.helpers import FLIGHTS, Project

pytestmark = pytest.mark.e2e

PATIENCE = 600  # seconds
LATE = 0.05  # of a stage, and what is looked at


def start(project):
    """The command in a process group of its own, and the file of its output."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(project.config)]
    with open(project.folder / "terminal.txt", "a") as log:
        return subprocess.Popen(
            command,
            cwd=FLIGHTS.parents[1],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def begun(project, stage):
    """How many executions of a stage have begun."""
    folder = project.folder / "runs-root" / "artifacts" / stage
    return len(list(folder.glob(".system/executor_execution/*")))


def kill_in(project, stage, seconds, whole_group):
    """Kills a run some time after a stage began; whether it was still running."""
    before = begun(project, stage)
    run = start(project)
    deadline = time.monotonic() + PATIENCE
    while begun(project, stage) == before and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(LATE)
    time.sleep(seconds)
    return kill(run, whole_group)


def kill(run, whole_group):
    """SIGKILL to a run, or to all that it started as well."""
    alive = run.poll() is None
    if whole_group:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        run.kill()
    run.wait()
    return alive


@pytest.fixture
def copy(project, tmp_path):
    """A project with the same data and config, where nothing has run."""
    shutil.copytree(project.folder / "data", tmp_path / "data")
    made = Project(tmp_path)
    shutil.copy(project.config, made.config)
    return made


def same_end(project, first):
    """Ends the run; its figures, to the last digit, are those of the run left alone.

    The bytes of a SavedModel are not, as names of functions in it count up. And a run
    that was killed after its push has a baseline, itself.
    """
    last = project.run()
    assert last.exit_code == 0, last.stdout + last.stderr
    for key in ("verdict", "metrics", "environments"):
        assert last.summary[key] == first.summary[key], key
    assert without_baseline(last) == without_baseline(first)
    serving = project.folder / "serving"
    (version,) = [p for p in serving.iterdir() if p.name.isdigit()]
    assert digests.of_model(str(version)) == last.summary["model_digest"]
    assert not [p.name for p in serving.iterdir() if p.name.startswith(".push")]
    return last


def without_baseline(run):
    """The checks that look at the candidate alone."""
    return [c for c in run.summary["checks"] if not c["name"].startswith("baseline.")]


@pytest.mark.parametrize(
    "points",
    [[("MultiEnvExampleGen", 0.5), ("Trainer", 3.0), ("Evaluator", 1.0)]],
    ids=["ingestion, training, evaluation"],
)
def test_goes_on_after_the_last_finished_stage(copy, first, points):
    for i, (stage, seconds) in enumerate(points):
        assert kill_in(copy, stage, seconds, whole_group=i % 2 == 0), stage
    last = same_end(copy, first)
    answered = {s["name"] for s in last.summary["stages"] if s["cached"]}
    assert {"MultiEnvExampleGen", "Transform", "Trainer"} <= answered


@pytest.mark.long
def test_at_random_times_over_all_stages(copy, first):
    draw = random.Random(20261128)
    killed = 0
    while killed < 25:
        run = start(copy)
        try:
            run.wait(draw.uniform(5, 40))
        except subprocess.TimeoutExpired:
            killed += kill(run, whole_group=draw.random() < 0.5)
        else:
            # It came to its end: all begins anew.
            same_end(copy, first)
            shutil.rmtree(copy.folder / "runs-root")
            shutil.rmtree(copy.folder / "serving")
    same_end(copy, first)


def test_an_interrupted_run_stops_at_once_and_says_how_to_go_on(copy):
    run = start(copy)
    deadline = time.monotonic() + PATIENCE
    while not begun(copy, "MultiEnvExampleGen"):
        assert time.monotonic() < deadline
        time.sleep(LATE)
    began = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(60) == 130
    assert time.monotonic() - began < 5
    said = pathlib.Path(copy.folder / "terminal.txt").read_text()
    assert "the same command goes on after the last finished stage" in said
    (folder,) = (copy.folder / "runs-root" / "runs").iterdir()
    assert not (folder / "summary.json").exists()


def test_the_log_of_a_killed_run_is_legible(copy):
    """Nothing of this needs the run to end."""
    assert kill_in(copy, "SourceManifest", 0.2, whole_group=True)
    (folder,) = (copy.folder / "runs-root" / "runs").iterdir()
    assert "SourceManifest" in (folder / "log.txt").read_text()
    done = copy.command("report")
    assert done.returncode == 2
    assert "left no report (it did not end)" in done.stderr
