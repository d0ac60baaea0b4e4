"""fishr and iga against automatic differentiation of a real last layer, row by row."""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.penalties import EnvironmentBatch, fishr, gradients, iga

ROWS, WIDTH = 60, 5
FEW, MANY = 4, 40  # environments, on both sides of PRODUCT_UP_TO
TASKS = ("binary", "multiclass", "regression")
PENALTIES = {"fishr": fishr, "iga": iga}

per_task = pytest.mark.parametrize("task", TASKS)
per_penalty = pytest.mark.parametrize("name", PENALTIES)


def loss_of(task, logits, label):
    """Loss of one row, by TensorFlow alone."""
    if task == "multiclass":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
    if task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(label, tf.float32), logits[0]
        )
    return (logits[0] - label) ** 2


class Layer:
    """A linear layer, rows that go in, and the gradient of each row's loss in it."""

    def __init__(self, task, environments):
        random = np.random.default_rng(TASKS.index(task))
        outputs = 4 if task == "multiclass" else 1
        self.task = task
        self.size = environments
        self.inputs = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
        self.kernel = random.normal(size=(WIDTH, outputs)).astype(np.float32)
        self.bias = random.normal(size=outputs).astype(np.float32)
        self.labels = {
            "binary": random.integers(0, 2, size=ROWS),
            "multiclass": random.integers(0, outputs, size=ROWS),
            "regression": random.normal(size=ROWS).astype(np.float32),
        }[task]
        self.weights = random.uniform(0.2, 2, size=ROWS).astype(np.float32)
        # Sizes are unequal: 0 is frequent, and 1 and 3 are absent.
        ids = random.integers(0, environments, size=ROWS)
        self.ids = np.where(np.isin(ids, (1, 3)), 0, ids)

    def batch(self, weighted=True, **changes):
        arrays = {
            "logits": self.inputs @ self.kernel + self.bias,
            "labels": self.labels.reshape([-1, 1]),
            "environment_ids": self.ids,
            "representations": self.inputs,
            "sample_weights": self.weights if weighted else None,
        }
        return EnvironmentBatch(
            **(arrays | changes), num_environments=self.size, task=self.task
        )

    def row_gradients(self):
        """One row for each example: [B, D K + K]."""
        kernel, bias = tf.Variable(self.kernel), tf.Variable(self.bias)
        rows = []
        for values, label in zip(self.inputs, self.labels, strict=True):
            with tf.GradientTape() as tape:
                logits = tf.linalg.matvec(kernel, values, transpose_a=True) + bias
                loss = loss_of(self.task, logits, label)
            parts = tape.gradient(loss, [kernel, bias])
            rows.append(np.concatenate([part.numpy().ravel() for part in parts]))
        return np.array(rows, np.float64)

    def expected(self, name, weighted):
        """mean_e |x_e - mean x|^2 of means or variances, by a loop."""
        rows = self.row_gradients()
        weights = self.weights if weighted else np.ones(ROWS)
        statistics = []
        for index in np.unique(self.ids):
            mine, share = rows[self.ids == index], weights[self.ids == index]
            mean = np.average(mine, axis=0, weights=share)
            variance = np.average((mine - mean) ** 2, axis=0, weights=share)
            statistics.append(mean if name == "iga" else variance)
        statistics = np.array(statistics)
        return np.mean(np.sum((statistics - statistics.mean(axis=0)) ** 2, axis=1))


@per_penalty
@per_task
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("environments", [FEW, MANY])
def test_it_is_the_spread_over_environments(name, task, weighted, environments):
    layer = Layer(task, environments)
    value = float(PENALTIES[name](layer.batch(weighted)))
    assert value == pytest.approx(layer.expected(name, weighted), rel=1e-4)


@per_penalty
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("weighted", [True, False])
def test_both_ways_of_summing_agree(name, task, weighted, monkeypatch):
    """With and without products of matrices: values and gradients."""
    layer = Layer(task, FEW)
    results = []
    for most in (0, FEW):
        monkeypatch.setattr(gradients, "PRODUCT_UP_TO", most)
        batch = layer.batch(weighted)
        inputs = [tf.constant(batch.logits), tf.constant(batch.representations)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = PENALTIES[name](
                layer.batch(weighted, logits=inputs[0], representations=inputs[1])
            )
        results.append([value, *tape.gradient(value, inputs)])
    for left, right in zip(*results, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-6)


@per_penalty
@pytest.mark.parametrize("most", [0, FEW])
def test_the_multiclass_gradient_is_that_of_finite_differences(name, most, monkeypatch):
    monkeypatch.setattr(gradients, "PRODUCT_UP_TO", most)
    layer = Layer("multiclass", FEW)
    random = np.random.default_rng(7)
    direction = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    inputs = tf.constant(layer.inputs)
    logits = inputs @ layer.kernel + layer.bias

    def value(step):
        moved = layer.inputs + step * direction
        return float(PENALTIES[name](layer.batch(logits=logits, representations=moved)))

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = PENALTIES[name](layer.batch(logits=logits, representations=inputs))
    slope = float(tf.reduce_sum(tape.gradient(result, inputs) * direction))
    numeric = (value(1e-2) - value(-1e-2)) / 2e-2
    assert slope == pytest.approx(numeric, rel=1e-2)


def test_fishr_sees_variances_alone_and_iga_means_alone():
    # Regression, one input of 1: the gradient in the weight is 2 z, and so in the bias.
    # Environments: 2 z is 2 and 2; 5 and 7; 1 and 3. Means 2, 6, 2, variances 0, 1, 1.
    slopes = np.array([2.0, 2, 5, 7, 1, 3])
    batch = EnvironmentBatch(
        slopes[:, None] / 2,
        np.zeros((6, 1)),
        np.repeat([0, 1, 2], 2),
        3,
        representations=np.ones((6, 1)),
        task="regression",
    )
    assert float(iga(batch)) == pytest.approx(2 * np.var([2, 6, 2]), rel=1e-5)
    assert float(fishr(batch)) == pytest.approx(2 * np.var([0, 1, 1]), rel=1e-5)


@per_penalty
@per_task
def test_rows_left_out_may_hold_anything(name, task):
    layer = Layer(task, FEW)
    expected = float(PENALTIES[name](layer.batch()))
    more = layer.batch(
        logits=np.vstack([layer.batch().logits, np.full((2, layer.bias.size), 9.0)]),
        labels=np.concatenate([layer.labels, layer.labels[:2]]).reshape([-1, 1]),
        environment_ids=np.append(layer.ids, [-1, 0]),
        representations=np.vstack([layer.inputs, np.full((2, WIDTH), np.nan)]),
        sample_weights=np.append(layer.weights, [1.0, 0.0]),
    )
    assert float(PENALTIES[name](more)) == pytest.approx(expected, rel=1e-5)


@per_penalty
def test_representations_must_be_rows(name):
    layer = Layer("binary", FEW)
    with pytest.raises(ValueError, match=rf"{name} needs.*\[B, D\].*\(60, 5, 1\)"):
        PENALTIES[name](layer.batch(representations=layer.inputs[:, :, None]))
