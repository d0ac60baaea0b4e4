"""Calls `run_fn` in a process of its own, with the processor split into devices.

python train_sample.py DEVICES '{"custom_config": {...}, "train_files": [...], ...}'
"""

import json
import sys
import types

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
parts = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
tf.config.set_logical_device_configuration(cpu, parts)

from trainer_module.run_fn import run_fn  # noqa: E402

run_fn(types.SimpleNamespace(**json.loads(sys.argv[2])))
