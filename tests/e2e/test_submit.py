"""`tfx-irm submit` to a cluster that runs what it is sent; `cluster` is a stand-in.

The cluster's API is the stub of `tests/submit`; what runs is the wheel, task by task.
"""

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import jsonschema
import pytest

from pipeline.schema import make
from tests.e2e import cluster, test_kubeflow
from tests.e2e.helpers import CONFIG, write_sample
from tests.submit import stubs

ROOT = pathlib.Path(__file__).parents[2]
SUMMARY = os.path.join(os.path.dirname(make.CONFIG_SCHEMA), "summary.schema.json")
pytestmark = [pytest.mark.e2e, pytest.mark.long]
wheel, python = test_kubeflow.wheel, test_kubeflow.python


class Running:
    """A cluster behind the stub: runs what is sent, and tells how far it came."""

    def __init__(self, service, python, volume):
        self.service, self.volume = service, volume
        # Addresses are paths here, so nothing takes the place of anything.
        self.cluster = cluster.Cluster(python, ("gs://none", volume))
        self.before = lambda: None
        self.run = None
        service.runs = self.start
        service.next = self.state

    def start(self, root):
        sent = self.service.created[-1]
        self.before()
        folder = pathlib.Path(root) / "flights-sample" / self.service.run_id
        folder.mkdir(parents=True)
        values = sent["runtime_config"]["parameters"]
        self.run = cluster.Run(self.cluster, sent["pipeline_spec"], values, folder)
        self.failure, self.ended = None, threading.Event()
        threading.Thread(target=self.execute, daemon=True).start()

    def execute(self):
        try:
            self.run.execute()
        except cluster.TaskFailed as failure:
            self.failure = failure
        finally:
            self.ended.set()

    def state(self):
        word = "RUNNING"
        if self.ended.is_set():
            word = "FAILED" if self.failure else "SUCCEEDED"
        done = list(self.run.outputs)
        tasks = [
            self.service.task(
                name, "SKIPPED" if name in self.run.cached else "SUCCEEDED", 1, start=i
            )
            for i, name in enumerate(done)
        ]
        if self.failure:
            tasks.append(self.service.task(self.failure.task, "FAILED", 1, len(done)))
        return self.service.state(word, *tasks)


@pytest.fixture(scope="module")
def running(python, tmp_path_factory):
    """The cluster."""
    volume = tmp_path_factory.mktemp("volume")
    write_sample(volume / "data")
    with stubs.serve(stubs.Kubeflow) as service:
        yield Running(service, python, volume)


@pytest.fixture(scope="module")
def submit(running, tmp_path_factory):
    """Submits; exit code, lines, standard error, and the folder of the run."""
    config = tmp_path_factory.mktemp("project") / "config.yaml"
    text = textwrap.dedent(CONFIG).replace(" data/", f" {running.volume}/data/")
    section = f"""
        kubeflow:
          host: {running.service.url}/pipeline
          namespace: team
          root: {running.volume}/root
          image: registry.example.com/tfx-irm:1
          token: {{env: THE_TOKEN}}
    """
    config.write_text(text + textwrap.dedent(section))

    def command():
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "submit", str(config)],
            cwd=ROOT,
            env={**os.environ, "THE_TOKEN": running.service.token},
            capture_output=True,
            text=True,
            timeout=900,
        )
        runs = sorted((config.parent / "runs-root" / "runs").iterdir())
        return done.returncode, done.stdout.splitlines(), done.stderr, runs[-1]

    return command


@pytest.fixture(scope="module")
def first(submit):
    """The first run: everything runs, the model is released."""
    return submit()


def test_a_released_model(first, running):
    code, lines, err, folder = first
    assert (code, err) == (0, ""), (lines, err)
    summary = json.loads((folder / "summary.json").read_text())
    with open(SUMMARY) as file:
        jsonschema.Draft202012Validator(json.load(file)).validate(summary)
    assert (summary["verdict"], summary["run_id"]) == ("PASS", folder.name)
    pushed = pathlib.Path(summary["pushed"])
    assert pushed.parent == running.volume / "root" / "serving"
    assert (pushed / "saved_model.pb").is_file()
    assert f"pushed   {pushed}" in lines
    assert "</html>" in (folder / "report.html").read_text()
    assert "</html>" in (folder / "environments.html").read_text()
    told = {line.split()[0] for line in lines if line.startswith("  ")}
    assert (
        set(running.service.created[0]["pipeline_spec"]["root"]["dag"]["tasks"]) <= told
    )


def test_another_run_reads_nothing_anew(first, submit, running):
    code, lines, _, folder = submit()
    assert code == 0
    reused = {line.split()[0] for line in lines if line.endswith("reused")}
    assert {"SourceManifest", "MultiEnvExampleGen", "Transform", "Trainer"} <= reused
    assert "RunRecord" not in reused
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["run_id"] == folder.name


def test_sources_that_change_meanwhile_are_refused(submit, running):
    path = running.volume / "data" / "jfk-a.csv.gz"
    content = path.read_bytes()
    path.write_bytes(content * 2)  # else the cache answers for what it knows
    running.before = lambda: path.write_bytes(content * 3)
    try:
        code, lines, err, folder = submit()
    finally:
        path.write_bytes(content)
        running.before = lambda: None
    assert code == 2
    assert "the sources changed after this run began" in err
    assert any(line.endswith("failed") for line in lines)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["error"]["exit"] == 2
