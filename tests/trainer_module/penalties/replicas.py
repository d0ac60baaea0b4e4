"""Penalties on one replica and on two, in a process of their own.

    python replicas.py '[[label, name, options], ...]'

Prints a line for each that agrees. Devices are split before TensorFlow starts.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from trainer_module import penalties

cpu = tf.config.list_physical_devices("CPU")[0]
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, halves)
random = np.random.default_rng(0)
features = random.normal(size=(24, 3)).astype(np.float32)
labels = random.integers(0, 2, size=(24, 1)).astype(np.float32)
ids = random.integers(0, 3, size=24).astype(np.int32)
dataset = tf.data.Dataset.from_tensors((features, labels, ids)).unbatch().batch(24)


def run(strategy, penalty):
    with strategy.scope():
        kernel = tf.Variable([[1.0, 0.5], [0.8, -1.0], [-0.5, 0.3]])

    def step(features, labels, ids):
        with tf.GradientTape() as tape:
            hidden = features @ kernel
            logits = tf.reduce_sum(hidden, axis=1, keepdims=True)
            batch = penalties.EnvironmentBatch(
                logits, labels, ids, 3, representations=hidden
            )
            value = penalty(batch)
            scaled = value / strategy.num_replicas_in_sync
        gradient = tape.gradient(scaled, kernel, unconnected_gradients="zero")
        gradient = tf.distribute.get_replica_context().all_reduce("SUM", gradient)
        return value, gradient

    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    if strategy is two:  # one replica is as quick without a trace
        step = tf.function(step)
    values, gradients = strategy.run(step, batch)
    local = strategy.experimental_local_results
    return local(values)[-1].numpy(), local(gradients)[-1].numpy()


one = tf.distribute.OneDeviceStrategy("CPU:0")
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for label, name, options in json.loads(sys.argv[1]):
    penalty = penalties.get(name, **options)
    for left, right in zip(run(one, penalty), run(two, penalty), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6, err_msg=label)
    print("[" + label + "]", "agrees", flush=True)
