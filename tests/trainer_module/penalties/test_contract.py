"""What every registered penalty must hold to, and what it declares besides."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from trainer_module import penalties

SIZE = 24
ENVIRONMENTS = 4  # of which one is absent
TASKS = ("binary", "multiclass", "regression")

pytestmark = pytest.mark.parametrize("name", penalties.names())


def draw(task, seed=0):
    """Keyword arguments of a batch with three environments present, as NumPy."""
    random = np.random.default_rng(seed)
    classes = 5 if task == "multiclass" else 1
    labels = {
        "binary": random.integers(0, 2, size=(SIZE, 1)),
        "multiclass": random.integers(0, classes, size=(SIZE,)),
        "regression": random.normal(size=(SIZE, 1)),
    }
    ids = random.permutation(np.repeat([0, 1, 3], SIZE // 3))
    return {
        "logits": random.normal(size=(SIZE, classes)).astype(np.float32),
        "labels": labels[task],
        "environment_ids": ids.astype(np.int32),
        "sample_weights": random.uniform(0.5, 2, size=SIZE).astype(np.float32),
        "representations": random.normal(size=(SIZE, 6)).astype(np.float32),
    }


def value(name, task, arrays, size=ENVIRONMENTS):
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    batch = penalties.EnvironmentBatch(**tensors, num_environments=size, task=task)
    return float(penalties.get(name)(batch))


def close(expected):
    return pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("task", TASKS)
def test_the_order_of_examples_does_not_matter(name, task):
    arrays = draw(task)
    order = np.random.default_rng(1).permutation(SIZE)
    shuffled = {key: array[order] for key, array in arrays.items()}
    assert penalties.info(name).order_invariant
    assert value(name, task, shuffled) == close(value(name, task, arrays))


@pytest.mark.parametrize("task", TASKS)
def test_the_names_of_environments_do_not_matter(name, task):
    arrays = draw(task)
    renamed = np.array([2, 3, 0, 1], np.int32)[arrays["environment_ids"]]
    expected = value(name, task, arrays)
    assert value(name, task, arrays | {"environment_ids": renamed}) == close(expected)


@pytest.mark.parametrize("task", TASKS)
def test_a_row_of_weight_zero_changes_nothing(name, task):
    arrays = draw(task)
    more = {key: np.concatenate([array, array[:1]]) for key, array in arrays.items()}
    more["logits"][-1] = 300.0
    more["representations"][-1] = 300.0
    more["sample_weights"][-1] = 0.0
    for environment in (0, 2):  # one that is there, and one that would be new
        more["environment_ids"][-1] = environment
        assert value(name, task, more) == close(value(name, task, arrays))


@pytest.mark.parametrize("task", TASKS)
def test_an_absent_environment_changes_nothing(name, task):
    arrays = draw(task)
    packed = np.array([0, 1, -1, 2], np.int32)[arrays["environment_ids"]]
    without = value(name, task, arrays | {"environment_ids": packed}, size=3)
    assert value(name, task, arrays, size=7) == close(without)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scale", [0.0, 500.0, -500.0])
def test_gradients_are_finite_at_extreme_logits(name, task, scale):
    arrays = draw(task)
    sign = np.where(arrays["logits"] > 0, 1.0, -1.0).astype(np.float32)
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    inputs = [tf.constant(sign * np.float32(scale)), tensors["representations"]]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        tensors |= {"logits": inputs[0], "representations": inputs[1]}
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        result = penalties.get(name)(batch)
    gradients = tape.gradient(result, inputs, unconnected_gradients="zero")
    assert np.isfinite(float(result))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("task", TASKS)
def test_one_trace_serves_many_batches_and_xla_agrees(name, task):
    traces = []

    def penalty(tensors):
        traces.append(tensors)
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        return penalties.get(name)(batch)

    compiled = tf.function(penalty, jit_compile=True)
    for seed in range(3):
        arrays = draw(task, seed)
        tensors = {key: tf.constant(array) for key, array in arrays.items()}
        assert float(compiled(tensors)) == close(value(name, task, arrays))
    assert len(traces) == 1


@pytest.mark.parametrize("task", TASKS)
def test_it_computes_in_float32_whatever_comes_in(name, task):
    arrays = draw(task)
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    for key in ("logits", "representations", "sample_weights"):
        tensors[key] = tf.cast(tensors[key], tf.bfloat16)
    batch = penalties.EnvironmentBatch(
        **tensors, num_environments=ENVIRONMENTS, task=task
    )
    rounded = {
        key: tf.cast(tensor, tf.float32).numpy()
        if tensor.dtype == tf.bfloat16
        else tensor.numpy()
        for key, tensor in tensors.items()
    }
    result = penalties.get(name)(batch)
    assert result.dtype == tf.float32
    assert result.shape == ()
    assert float(result) == close(value(name, task, rounded))


@pytest.mark.parametrize("task", TASKS)
def test_it_is_never_negative_where_it_says_so(name, task):
    assert penalties.info(name).non_negative
    assert min(value(name, task, draw(task, seed)) for seed in range(20)) >= 0.0


@pytest.mark.parametrize("task", TASKS)
def test_identical_environments_give_zero_where_it_says_so(name, task):
    arrays = draw(task)
    same = {key: np.concatenate([array[:8]] * 3) for key, array in arrays.items()}
    same["environment_ids"] = np.repeat([0, 1, 3], 8).astype(np.int32)
    is_zero = value(name, task, same) == pytest.approx(0.0, abs=1e-9)
    assert is_zero == penalties.info(name).zero_where_equal


@pytest.mark.parametrize("task", TASKS)
def test_the_same_batch_gives_the_same_value(name, task):
    values = {value(name, task, draw(task)) for _ in range(3)}
    assert penalties.info(name).deterministic
    assert len(values) == 1


def test_unknown_names_and_hyperparameters_are_refused_with_the_legal_ones(name):
    with pytest.raises(ValueError, match=", ".join(penalties.names())):
        penalties.get(name + "_2")
    with pytest.raises(ValueError, match=f"{name!r} has no option 'order'"):
        penalties.get(name, order=3)


TWO_REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
from trainer_module import penalties

cpu = tf.config.list_physical_devices("CPU")[0]
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, halves)
random = np.random.default_rng(0)
features = random.normal(size=(12, 3)).astype(np.float32)
labels = random.integers(0, 2, size=(12, 1)).astype(np.float32)
ids = random.integers(0, 3, size=12).astype(np.int32)
dataset = tf.data.Dataset.from_tensors((features, labels, ids)).unbatch().batch(12)


def run(strategy, penalty):
    with strategy.scope():
        kernel = tf.Variable(tf.ones([3, 1]))

    @tf.function
    def step(features, labels, ids):
        with tf.GradientTape() as tape:
            batch = penalties.EnvironmentBatch(features @ kernel, labels, ids, 3)
            value = penalty(batch)
            scaled = value / strategy.num_replicas_in_sync
        gradient = tape.gradient(scaled, kernel, unconnected_gradients="zero")
        gradient = tf.distribute.get_replica_context().all_reduce("SUM", gradient)
        return value, gradient

    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    values, gradients = strategy.run(step, batch)
    local = strategy.experimental_local_results
    return local(values)[-1].numpy(), local(gradients)[-1].numpy()


for name in penalties.names():
    one = run(tf.distribute.OneDeviceStrategy("CPU:0"), penalties.get(name))
    two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), penalties.get(name))
    for left, right in zip(one, two):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7, err_msg=name)
    print(name, "agrees", "on", "two")
"""


@pytest.fixture(scope="module")
def two_replicas():
    """Output of an own process: devices are split before TensorFlow starts."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_two_replicas_agree_with_one(name, two_replicas):
    assert f"{name} agrees on two" in two_replicas.stdout, two_replicas.stderr[-2000:]
