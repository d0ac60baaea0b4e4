"""Adversaries: their loss by NumPy, the reversed gradient, and what it does."""

import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tests.trainer_module.objectives.steps import (
    ENVIRONMENTS,
    WIDTH,
    Linear,
    built,
    draw,
    make_shapes,
    make_step,
    means,
)
from trainer_module import objectives, penalties
from trainer_module.keras3 import keras


def cross_entropies(objective, inputs, ids):
    """The adversary's losses [B], a layer after another."""
    values = inputs.astype(np.float64)
    kernels = [v.numpy() for v in objective.variables if "kernel" in v.name]
    biases = [v.numpy() for v in objective.variables if "bias" in v.name]
    for index, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        values = values @ kernel + bias
        if index < len(kernels) - 1:
            values = np.maximum(values, 0)
    values -= np.log(np.exp(values).sum(axis=1, keepdims=True))
    return -values[np.arange(len(ids)), ids]


def perturb_biases(objective):
    for variable in objective.variables:
        if "bias" in variable.name:
            variable.assign(np.linspace(-1, 1, variable.shape[0]))


@pytest.mark.parametrize("hidden", [(6,), (7, 3)])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_the_value_is_the_adversarys_cross_entropy(name, task, hidden):
    objective = built(name, task, hidden=hidden)
    perturb_biases(objective)
    arrays, classes = draw(task), 3 if task == "multiclass" else 1
    arrays["environment_ids"][:2] = -1
    inputs = arrays["features"]
    if name == "cdann":
        one_hot = np.eye(max(classes, 2))[arrays["labels"].astype(int).reshape(-1)]
        inputs = np.concatenate([inputs, one_hot], axis=1)
    ids = arrays["environment_ids"]
    expected = means(cross_entropies(objective, inputs, np.maximum(ids, 0)), arrays)
    value = objective(make_step(Linear(classes), arrays, task))
    assert float(value) == pytest.approx(expected.mean(), rel=1e-5)
    units = [inputs.shape[1], *hidden, ENVIRONMENTS]
    shapes = [tuple(v.shape) for v in objective.variables if "kernel" in v.name]
    assert shapes == list(zip(units, units[1:], strict=False))


def test_one_hot_labels_are_labels():
    arrays = draw("multiclass")
    one_hot = arrays | {"labels": np.eye(3, dtype=np.float32)[arrays["labels"]]}
    objective, model = built("cdann", "multiclass"), Linear(3)
    values = [
        float(objective(make_step(model, a, "multiclass"))) for a in (arrays, one_hot)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_the_model_climbs_what_the_adversary_descends(name):
    """Against central differences: minus for the representation, plus for the rest."""
    objective, model, arrays = built(name, hidden=(6,)), Linear(), draw()
    perturb_biases(objective)
    random = np.random.default_rng(0)

    def value(representations):
        changes = {"representations": representations}
        return objective(make_step(model, arrays, **changes))

    clean = tf.constant(arrays["features"])
    with tf.GradientTape() as tape:
        tape.watch(clean)
        result = value(clean)
    reversed_gradient, *gradients = tape.gradient(
        result, [clean, *objective.trainable_variables]
    )
    step = 1e-2
    way = random.normal(size=clean.shape).astype(np.float32)
    slope = float(value(clean + step * way) - value(clean - step * way)) / (2 * step)
    assert np.sum(reversed_gradient * way) == pytest.approx(-slope, rel=2e-2)
    for variable, gradient in zip(
        objective.trainable_variables, gradients, strict=True
    ):
        way = random.normal(size=variable.shape).astype(np.float32)
        old = tf.identity(variable)
        sides = []
        for sign in (1, -1):
            variable.assign(old + sign * step * way)
            sides.append(float(value(clean)))
        variable.assign(old)
        slope = (sides[0] - sides[1]) / (2 * step)
        assert np.sum(gradient * way) == pytest.approx(slope, rel=2e-2, abs=1e-3)


def test_the_adversary_starts_by_the_seeds():
    def kernel(seed, training_seed):
        objective = objectives.get("dann", seed=seed)
        objective.build(make_shapes(seed=training_seed))
        return next(v.numpy() for v in objective.variables if "kernel_0" in v.name)

    first = kernel(0, 0)
    np.testing.assert_array_equal(first, kernel(0, 0))
    assert (first != kernel(1, 0)).all()
    assert (first != kernel(0, 1)).all()
    assert np.abs(first).max() <= np.sqrt(6 / (WIDTH + 64))


def test_mixed_precision_comes_in_and_float32_goes_out():
    step = make_step(
        Linear(), draw(), representations=tf.ones([24, WIDTH], tf.bfloat16)
    )
    assert built("dann")(step).dtype == tf.float32


@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_missing_and_other_representations_are_refused(name):
    step = make_step(Linear(), draw(), representations=None)
    with pytest.raises(ValueError, match=f"{name!r} works on representations.*return"):
        built(name)(step)
    step = make_step(Linear(), draw(), representations=tf.zeros([24, 7]))
    with pytest.raises(ValueError, match="width 7 .*; expected 5"):
        built(name)(step)


ROWS = 600


def two_places(shifted):
    """A weak feature that is alike in both environments, a strong one that is not.

    `shifted`: the label is 1 in 80 % of the rows of one environment, 20 % of the other.
    """
    random = np.random.default_rng(0)
    ids = np.arange(ROWS) % 2
    share = np.where(ids == 1, 0.8, 0.2) if shifted else 0.5
    labels = random.uniform(size=ROWS) < share
    signs = 2.0 * labels - 1
    features = np.stack([signs, signs + 2.0 * ids - 1], axis=1)
    features += random.normal(size=features.shape) * [1.5, 0.4]
    return features.astype(np.float32), labels, ids


@functools.cache
def represent(name, shifted):
    """Trains a representation of `two_places` in one dimension, and returns it."""
    features, labels, ids = map(tf.constant, two_places(shifted))
    ids = tf.cast(ids, tf.int32)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(1, use_bias=False)(inputs)
    model = keras.Model(inputs, (keras.layers.Dense(1)(hidden), hidden))
    objective = objectives.get(name)
    objective.build(make_shapes(num_environments=2, representations=1))
    variables = [*model.trainable_variables, *objective.trainable_variables]
    optimizer = keras.optimizers.Adam(0.02, beta_1=0.5)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def update(number):
        with tf.GradientTape() as tape:
            logits, hidden = model(features, training=True)
            batch = penalties.EnvironmentBatch(
                logits, labels, ids, 2, representations=hidden
            )
            step = objectives.Step(batch, {"dense_x": features}, None, number)
            risk = tf.reduce_mean(penalties.per_example_loss(batch))
            loss = risk + 10.0 * objective(step)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for number in range(200):
        update(tf.constant(number, tf.int64))
    models = {id(getattr(variable, "value", variable)) for variable in model.variables}
    assert not models & {id(variable) for variable in objective.variables}
    return model(features)[1].numpy()


def told(representation, target, rows=slice(None)):
    """Accuracy of a fresh logistic regression."""
    inputs, target = representation[rows], target[rows]
    return LogisticRegression().fit(inputs, target).score(inputs, target)


def environment_told(name, shifted):
    """Accuracy for the environment, within each class."""
    _, labels, ids = two_places(shifted)
    return [told(represent(name, shifted), ids, labels == label) for label in (0, 1)]


@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_an_adversary_takes_the_environment_out_of_the_representation(name):
    assert environment_told("erm", False) > [0.8, 0.8]
    np.testing.assert_allclose(environment_told(name, False), 0.5, atol=0.07)
    # What the feature that is alike in both says of the label.
    expected = scipy.stats.norm.cdf(1 / 1.5)
    found = told(represent(name, False), two_places(False)[1])
    assert found == pytest.approx(expected, abs=0.05)


def test_given_the_label_what_it_says_of_the_environment_may_stay():
    labels = two_places(True)[1]
    assert environment_told("erm", True) > [0.9, 0.9]
    np.testing.assert_allclose(environment_told("cdann", True), 0.8, atol=0.04)
    assert told(represent("cdann", True), labels) > 0.75
    assert told(represent("dann", True), labels) < 0.65
