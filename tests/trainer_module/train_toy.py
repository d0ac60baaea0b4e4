"""Trains the toy problem in a process of its own.

    python train_toy.py '{"out": FILE, "config": {...}, ...}'

Keys: `devices`, how many the processor is split into before TensorFlow starts;
`checkpoints`, a folder; `kill_at`, the step whose record is the last thing that the
process lives to see. Without it, the weights are written to `out`.
"""

import json
import os
import signal
import sys

import numpy as np
import tensorflow as tf

asked = json.loads(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration()] * asked.get("devices", 1)
tf.config.set_logical_device_configuration(cpu, parts)

from toy import CONFIG, FEATURES, coloured, make_split  # noqa: E402

from trainer_module import devices  # noqa: E402
from trainer_module.fit import fit  # noqa: E402
from trainer_module.history import Recorder  # noqa: E402
from trainer_module.model import make_model  # noqa: E402
from trainer_module.settings import TrainSettings  # noqa: E402

record = Recorder.train


def record_and_die(self, entry):
    record(self, entry)
    if entry.step == asked.get("kill_at"):
        os.kill(os.getpid(), signal.SIGKILL)


Recorder.train = record_and_die
settings = TrainSettings.from_config(CONFIG | asked["config"])
devices.seed_everything(settings.seed, settings.engine.deterministic)
strategy = devices.make_strategy()
with strategy.scope():
    model = make_model(FEATURES, settings.model, precision=settings.engine.precision)
splits = [make_split(*coloured((0.1, 0.2), rows=300, seed=seed)) for seed in (0, 1)]
history = fit(model, splits, settings, None, asked.get("checkpoints"), strategy)
if devices.is_chief(strategy):
    weights = {f"w{i}": w for i, w in enumerate(model.get_weights())}
    np.savez(
        asked["out"],
        replicas=strategy.num_replicas_in_sync,
        steps=history.steps,
        loss=history.loss,
        penalty=history.penalty,
        eval_risk=list(history.eval_risk.values()),
        **weights,
    )
