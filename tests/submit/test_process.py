"""The command in a process of its own, with a volume that lies here as well."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.submit.helpers import CONFIG, KUBEFLOW_LAYOUTS, Leaves

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def config(kubeflow, tmp_path):
    """A config whose cluster and volume are of this machine."""
    volume = tmp_path / "volume"
    (volume / "data").mkdir(parents=True)
    for name in ("ewr.parquet", "jfk-1.csv.gz", "lga.tfrecord"):
        (volume / "data" / name).write_text(name)
    text = CONFIG[: CONFIG.index("vertex:")] + CONFIG[CONFIG.index("kubeflow:") :]
    text = text.replace("gs://a-bucket", str(volume))
    text = text.replace("https://kubeflow.example.com", kubeflow.url)
    (tmp_path / "config.yaml").write_text(text)
    kubeflow.runs = Leaves(KUBEFLOW_LAYOUTS[1])
    return tmp_path / "config.yaml"


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "submit", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_to_its_end(kubeflow, config):
    kubeflow.answers = [
        kubeflow.state("RUNNING"),
        kubeflow.state("SUCCEEDED", kubeflow.task("Trainer", "SUCCEEDED", 7)),
    ]
    process = start(config)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()
    # Nothing of what TFX, kfp and Google's libraries print.
    assert [line.split()[0] for line in lines if line] == [
        *("flights:", "compile", "submit", "follow", "Trainer"),
        *("verdict", "pushed", "report"),
    ]
    values = kubeflow.created[0]["runtime_config"]["parameters"]
    assert len(values["fingerprint"]) == 32


def test_an_interruption(kubeflow, config):
    kubeflow.answers = [kubeflow.state("RUNNING")]
    process = start(config)
    deadline = time.monotonic() + 120
    while not kubeflow.asked("GET", kubeflow.run_id):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "tfx-irm: interrupted\n")
    assert "no longer followed; the job goes on:" in out
    (folder,) = (config.parent / "runs-root" / "runs").iterdir()
    assert f"tfx-irm submit {config} --follow {folder.name}" in out
    assert os.listdir(folder).count("summary.json") == 0
    assert json.loads((folder / "submitted.json").read_text())["job"] == kubeflow.run_id


def test_tensorflow_is_not_imported_before_the_log_is_open():
    names = ("submitting", "parameters", "compiling", "runtime")
    names += ("vertex_service", "kubeflow_service")
    imports = ", ".join(f"pipeline.{name}" for name in names)
    asked = f"import sys, {imports}; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
