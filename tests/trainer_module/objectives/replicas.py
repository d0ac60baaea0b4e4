"""Objectives on one replica and on two, in a process of their own.

    python replicas.py '[[label, name, options, whether it draws random numbers], ...]'

Prints a line for each that agrees. Devices are split before TensorFlow starts.
"""

import json
import sys
import tempfile

import numpy as np
import tensorflow as tf
from steps import Linear, built, draw, make_step

from trainer_module.keras3 import keras

cpu = tf.config.list_physical_devices("CPU")[0]
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, halves)
one = tf.distribute.OneDeviceStrategy("CPU:0")
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
arrays = draw()
dataset = tf.data.Dataset.from_tensors(arrays).unbatch().batch(24)


def run(strategy, name, options):
    """Three steps; values, gradients and variables, and how far features moved."""
    with strategy.scope():
        model = Linear()
        objective = built(name, **options)
        variables = [model.kernel, *objective.trainable_variables]
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.build(variables)

    def step(number, arrays):
        seen = []  # of this replica; the model is both's

        def forward(features, training):
            seen.append(features["dense_x"])
            return model(features, training)

        with tf.GradientTape() as tape:
            value = objective(make_step(forward, arrays, number=number))
            moved = seen[-1] - arrays["features"]
            scaled = value / strategy.num_replicas_in_sync
        gradients = tape.gradient(scaled, variables, unconnected_gradients="zero")
        optimizer.apply(gradients, variables)
        context = tf.distribute.get_replica_context()
        return value, context.all_reduce("SUM", gradients), moved

    @tf.function(autograph=False)
    def run_step(number, batch):
        return strategy.run(step, (number, batch))

    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    for number in range(3):
        results = tf.nest.flatten(run_step(tf.constant(number, tf.int64), batch))
    results = [strategy.experimental_local_results(part) for part in results]
    *shared, moved = results
    for parts in shared:
        for part in parts[1:]:
            np.testing.assert_allclose(parts[0], part, rtol=1e-5)
    with tempfile.TemporaryDirectory() as folder:
        path = tf.train.Checkpoint(objective=objective).save(folder + "/checkpoint")
        again = built(name, **options)
        tf.train.Checkpoint(objective=again).restore(path)
    assert len(again.trainable_variables) == len(objective.trainable_variables)
    state = [tf.convert_to_tensor(variable).numpy() for variable in again.variables]
    state += [np.array(parts[0]) for parts in shared]
    return state, [np.array(part) for part in moved]


for label, name, options, drawn in json.loads(sys.argv[1]):
    (left, _), (right, moved) = run(one, name, options), run(two, name, options)
    if drawn:
        assert np.mean(np.abs(moved[0] - moved[1]) > 1e-4) > 0.5, label
    else:
        for a, b in zip(left, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=label)
    print("[" + label + "]", "agrees", flush=True)
