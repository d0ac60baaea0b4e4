"""Which devices are taken, and what is said where they can't be."""

import json
import os
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from trainer_module import devices
from trainer_module.errors import SetupError


def test_the_device_is_told():
    gpus = tf.config.list_physical_devices("GPU")
    assert devices.use_devices() == ("GPU" if gpus else "CPU")


def test_gpus_that_are_asked_for_must_be_visible():
    with pytest.raises(SetupError, match="asks for 99 GPU.* sees .*make venv GPU=1"):
        devices.use_devices(accelerators=99)


def test_one_device_needs_no_strategy():
    if len(tf.config.list_logical_devices("GPU")) < 2:
        assert devices.make_strategy() is tf.distribute.get_strategy()
    assert devices.is_chief(tf.distribute.get_strategy())


def test_workers_are_counted(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert devices.workers() == 1
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert devices.workers() == 3
    alone = {"cluster": {"worker": ["a:1"]}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    assert devices.workers() == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief"}}',
    ],
)
def test_a_cluster_that_cannot_be_read_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(SetupError, match="TF_CONFIG is .*cluster of workers"):
        devices.make_strategy()


_ONE = """
import sys, time
from trainer_module import devices
strategy = devices.make_strategy()
if devices.is_chief(strategy):
    time.sleep(4)
    open(sys.argv[1], "w").close()
devices.wait_for_all(strategy)
open(sys.argv[1]).close()  # fails where it came too early
"""


def test_no_worker_leaves_before_the_others(tmp_path):
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("localhost", 0))
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    started = []
    for kind in cluster:
        told = {"cluster": cluster, "task": {"type": kind, "index": 0}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(told)}
        environment |= {"CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-c", _ONE, str(tmp_path / "model")]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                command, env=environment, stdout=pipe, stderr=subprocess.STDOUT
            )
        )
    for process in started:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output.decode()[-3000:]


def test_one_worker_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    devices.wait_for_all(tf.distribute.get_strategy())
