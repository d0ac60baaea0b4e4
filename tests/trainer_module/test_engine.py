"""What the engine promises: the same weights on one device, on several, after a kill.

Each run is a process of its own, since TensorFlow fixes its devices when it starts.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).with_name("train_toy.py")
METHODS = [
    {"name": "irm_v1", "weight": 20.0},
    {"name": "wasserstein", "weight": 2.0},
    {"name": "coral", "weight": 1.0},
    {"name": "group_dro", "options": {"step_size": 0.1}},
]
CONFIG = {
    "methods": METHODS,
    "schedule": {"kind": "step", "anneal_steps": 7, "reset_optimizer": True},
    "steps": 20,
    "log_every": 5,
    "batch_size": 120,
    "learning_rate": 0.01,
    "checkpoint_every": 5,
    "model": {"hidden": [8], "l2": 0.001},
}


def start(tmp_path, name="run", environment=None, config=None, **asked):
    """Starts a run; its file of weights and its process."""
    out = tmp_path / f"{name}.npz"
    asked = {"out": str(out), "config": CONFIG | (config or {}), **asked}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(asked)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return out, process


def finish(started):
    """Waits for a run; its figures."""
    out, process = started
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    with np.load(out) as file:
        return dict(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run on one device, left alone."""
    return finish(start(tmp_path_factory.mktemp("alone")))


def assert_close(found, expected, rtol=2e-3, atol=2e-4):
    for name in ("loss", "penalty", "eval_risk", *(f"w{i}" for i in range(4))):
        np.testing.assert_allclose(
            found[name], expected[name], rtol=rtol, atol=atol, err_msg=name
        )


def test_two_devices_give_what_one_gives(alone, tmp_path):
    two = finish(start(tmp_path, devices=2))
    assert (alone["replicas"], two["replicas"]) == (1, 2)
    assert_close(two, alone)


def test_two_processes_give_what_one_gives(alone, tmp_path):
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    runs = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        tf_config = {"cluster": {"worker": addresses}, "task": task}
        environment = {"TF_CONFIG": json.dumps(tf_config)}
        checkpoints = str(tmp_path / "checkpoints")
        runs.append(start(tmp_path, f"{index}", environment, checkpoints=checkpoints))
    chief = finish(runs[0])
    output, _ = runs[1][1].communicate(timeout=60)
    assert runs[1][1].returncode == 0, output[-3000:]
    assert not runs[1][0].exists()  # only the chief writes
    assert chief["replicas"] == 2
    assert_close(chief, alone)
    left = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert "checkpoint" in left
    assert not [name for name in left if name.startswith("worker")]


def free_ports(count):
    """Ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.parametrize("kill_at", [7, 15])
def test_a_killed_run_goes_on_to_the_same_weights(alone, tmp_path, kill_at):
    checkpoints = str(tmp_path / "checkpoints")
    out, process = start(tmp_path, checkpoints=checkpoints, kill_at=kill_at)
    process.communicate(timeout=300)
    assert process.returncode == -9
    assert not out.exists()
    resumed = finish(start(tmp_path, checkpoints=checkpoints))
    for name, expected in alone.items():
        np.testing.assert_array_equal(resumed[name], expected, err_msg=name)


def test_the_same_seed_gives_the_same_bits(alone, tmp_path):
    again = finish(start(tmp_path))
    for name, expected in alone.items():
        np.testing.assert_array_equal(again[name], expected, err_msg=name)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_about_the_same(alone, tmp_path, precision):
    half = finish(start(tmp_path, config={"engine": {"precision": precision}}))
    assert_close(half, alone, rtol=0.1, atol=0.05)
    assert not np.array_equal(half["w0"], alone["w0"])
    assert half["w0"].dtype == np.float32
