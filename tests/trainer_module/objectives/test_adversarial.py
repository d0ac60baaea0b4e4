"""What perturbations do to the outputs, against closed forms and scipy."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tests.trainer_module.objectives.steps import (
    SIZE,
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
from trainer_module.objectives.adversarial import transport

EPSILON = 0.3
TASKS = ("binary", "multiclass", "regression")


def outputs(task):
    return 3 if task == "multiclass" else 1


def run(task="binary", arrays=None, number=0, **options):
    """Value of an objective, and its model with the perturbed logits."""
    model = Linear(outputs(task))
    arrays = draw(task) if arrays is None else arrays
    step = make_step(model, arrays, task, number)
    clean = step.batch.logits.numpy()
    value = built("adversarial", task, epsilon=EPSILON, **options)(step)
    return float(value), clean, model


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
@pytest.mark.parametrize("environments", ["mean", "worst"])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_the_risk_of_a_logistic_regression_is_that_of_its_margin(
    norm, dual, environments, kind
):
    """The worst loss is log(1 + exp(eps |w| - y w x)), in the dual norm of w."""
    arrays = draw()
    value, clean, model = run(
        arrays=arrays, kind=kind, norm=norm, environments=environments
    )
    signs = 2 * arrays["labels"][:, 0] - 1
    length = np.linalg.norm(model.kernel.numpy()[:, 0], ord=dual)
    risks = means(np.log1p(np.exp(EPSILON * length - signs * clean[:, 0])), arrays)
    expected = {"mean": risks.mean(), "worst": risks.max()}[environments]
    assert value == pytest.approx(expected, rel=1e-5)


def distributions(task, logits):
    """Rows of probabilities."""
    logits = logits.astype(np.float64)
    if task == "binary":
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def oracle(task, discrepancy, clean, moved, arrays):
    """The discrepancy in each environment, by scipy and loops in float64."""
    if discrepancy == "wasserstein":
        return distances(clean, moved, arrays)
    labels = arrays["labels"].reshape(-1)
    if task == "regression":
        other = clean[:, 0] if discrepancy == "kl" else labels
        return means(np.square(moved[:, 0] - other), arrays)
    left, right = distributions(task, clean), distributions(task, moved)
    if discrepancy == "kl":
        return means(scipy.stats.entropy(left, right, axis=1), arrays)
    columns = 1 - labels if task == "binary" else labels
    return means(-np.log(right[np.arange(SIZE), columns.astype(int)]), arrays)


def distances(clean, moved, arrays):
    """W_1 in each environment, averaged over the logits."""
    weights = arrays["sample_weights"]
    weights = np.ones(SIZE) if weights is None else weights
    result = []
    for environment in (0, 1, 3):
        mine = arrays["environment_ids"] == environment
        columns = [
            scipy.stats.wasserstein_distance(*column, weights[mine], weights[mine])
            for column in zip(clean[mine].T, moved[mine].T, strict=True)
        ]
        result.append(np.mean(columns))
    return np.array(result)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("environments", ["mean", "worst"])
@pytest.mark.parametrize("kind", ["fgsm", "pgd", "gaussian"])
@pytest.mark.parametrize("discrepancy", ["cross_entropy", "kl", "wasserstein"])
@pytest.mark.parametrize("task", TASKS)
def test_the_discrepancy_is_scipys(task, discrepancy, kind, environments, weighted):
    arrays = draw(task, weighted=weighted)
    arrays["environment_ids"][0] = -1
    value, clean, model = run(
        task,
        arrays,
        kind=kind,
        discrepancy=discrepancy,
        environments=environments,
    )
    values = oracle(task, discrepancy, clean, model.logits.numpy(), arrays)
    expected = {"mean": values.mean(), "worst": values.max()}[environments]
    assert value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_attack_for_kl_leaves_the_clean_features_where_its_gradient_is_0(
    task, kind
):
    _, clean, model = run(task, kind=kind, discrepancy="kl")
    farthest = EPSILON * np.abs(model.kernel.numpy()).sum()
    moved = np.abs(model.logits.numpy() - clean)
    assert (moved <= farthest * (1 + 1e-5)).all()
    assert np.median(moved) > 0.9 * farthest


def test_wasserstein_forgives_what_moves_no_environment():
    arrays = draw()
    step = make_step(Linear(), arrays)
    order = np.arange(SIZE)
    for environment in (0, 1, 3):  # rows change places within their environment
        mine = np.flatnonzero(arrays["environment_ids"] == environment)
        order[mine] = np.roll(mine, 1)
    batch = dataclasses.replace(step.batch, sample_weights=None)
    moved = tf.gather(batch.logits, order)
    np.testing.assert_allclose(transport(batch, moved)[1], np.zeros(4), atol=1e-6)
    np.testing.assert_allclose(
        transport(batch, batch.logits + 0.5)[1], [0.5, 0.5, 0, 0.5], atol=1e-5
    )


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "gaussian"])
@pytest.mark.parametrize("discrepancy", ["cross_entropy", "kl", "wasserstein"])
@pytest.mark.parametrize("task", TASKS)
def test_the_gradient_is_that_of_finite_differences(task, discrepancy, kind):
    """Of the oracle in float64, in the model's kernel, for the features as they are."""
    arrays, model = draw(task), Linear(outputs(task))
    objective = built(
        "adversarial", task, epsilon=EPSILON, discrepancy=discrepancy, kind=kind
    )
    with tf.GradientTape() as tape:
        value = objective(make_step(model, arrays, task))
    gradient = tape.gradient(value, model.kernel)
    kernel = model.kernel.numpy().astype(np.float64)
    moved = model.features["dense_x"].numpy()
    way, step = np.random.default_rng(0).normal(size=kernel.shape), 1e-6
    sides = []
    for sign in (1, -1):
        other = kernel + sign * step * way
        logits = arrays["features"] @ other, moved @ other
        sides.append(oracle(task, discrepancy, *logits, arrays).mean())
    slope = (sides[0] - sides[1]) / (2 * step)
    assert np.sum(gradient * way) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "attacks"),
    [
        ({"kind": "gaussian"}, 0),
        ({"kind": "fgsm"}, 1),
        ({"kind": "pgd", "steps": 3}, 3),
        ({"kind": "pgd", "steps": 30, "discrepancy": "kl"}, 30),
    ],
)
def test_the_clean_pass_is_not_repeated(options, attacks):
    _, _, model = run(**options)
    assert model.calls == {True: 2, False: attacks}


@pytest.fixture
def network():
    """Dropout and batch normalisation: what differs in inference mode."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((WIDTH,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    hidden = keras.layers.BatchNormalization(momentum=0.5)(hidden)
    hidden = keras.layers.Dropout(0.5)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
@pytest.mark.parametrize("discrepancy", ["cross_entropy", "kl", "wasserstein"])
def test_an_attack_draws_no_dropout_and_moves_no_statistics(network, kind, discrepancy):
    seen = []

    def forward(features, training):
        if training:  # only the attacks reach the network
            seen.append(features["dense_x"].numpy())
            return network(features["dense_x"], training=False), None
        return network(features["dense_x"], training=training), None

    before = [variable.numpy() for variable in network.variables]
    for _ in range(2):
        objective = built(
            "adversarial", epsilon=EPSILON, discrepancy=discrepancy, kind=kind
        )
        objective(make_step(forward, draw()))
    for variable, old in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    clean, first, _, second = seen
    np.testing.assert_array_equal(first, second)
    assert (first != clean).all()


def test_the_perturbed_pass_is_in_training_mode_and_the_tape_sees_it(network):
    def forward(features, training):
        return network(features["dense_x"], training=training), None

    before = network.layers[2].moving_mean.numpy()
    with tf.GradientTape() as tape:
        step = make_step(forward, draw())
        value = built("adversarial", epsilon=EPSILON)(step)
    assert (network.layers[2].moving_mean.numpy() != before).any()
    gradients = tape.gradient(value, network.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[-2:])


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "gaussian"},
        {"kind": "fgsm", "random_start": True},
        {"kind": "pgd", "discrepancy": "kl", "norm": "l2"},
    ],
)
def test_every_step_and_seed_draws_other_numbers(options):
    def moved(number=0, **more):
        return run(number=number, **options, **more)[2].features["dense_x"].numpy()

    first = moved()
    np.testing.assert_array_equal(first, moved())
    assert (moved(number=1) != first).any()
    assert (moved(seed=1) != first).any()
    objective = objectives.get("adversarial", epsilon=EPSILON, **options)
    objective.build(make_shapes(seed=1))
    model = Linear()
    objective(make_step(model, draw()))
    assert (model.features["dense_x"].numpy() != first).any()


def test_frozen_ids_indicators_and_missing_values_stay():
    arrays, seen = draw(), []
    missing = (np.arange(SIZE)[:, None] % 3 == 0).astype(np.float32)
    features = {
        "numeric_a": arrays["features"][:, :1],
        "numeric_b": arrays["features"][:, 1:2],
        "missing_b": missing,
        "dense_c": arrays["features"][:, 2:],
        "bucket_d": np.ones([SIZE, 1], np.int32),
    }
    features = {name: tf.constant(value) for name, value in features.items()}

    def forward(features, training):
        seen.append(features)
        parts = [tf.cast(value, tf.float32) for value in features.values()]
        return tf.reduce_sum(tf.concat(parts, axis=1), axis=1, keepdims=True), None

    step = make_step(Linear(), arrays)
    step = dataclasses.replace(step, features=features, forward=forward)
    built("adversarial", epsilon=EPSILON, frozen=["dense_c"])(step)
    moved = {name: seen[-1][name] - value for name, value in features.items()}
    for name in ("missing_b", "dense_c", "bucket_d"):
        assert not moved[name].numpy().any()
    np.testing.assert_allclose(np.abs(moved["numeric_a"]), EPSILON, atol=1e-6)
    np.testing.assert_allclose(
        np.abs(moved["numeric_b"]), EPSILON * (1 - missing), atol=1e-6
    )
    frozen = built("adversarial", frozen=["numeric_a", "numeric_b", "dense_c"])
    with pytest.raises(ValueError, match="No feature can move"):
        frozen(step)
    with pytest.raises(ValueError, match="frozen names the feature 'a'"):
        built("adversarial", frozen=["a"])(step)


def test_logits_of_another_shape_are_refused():
    step = make_step(Linear(), draw())
    other = dataclasses.replace(step, forward=Linear(outputs=3))
    with pytest.raises(ValueError, match=r"shape \(24, 3\) .*; expected \(24, 1\)"):
        built("adversarial", kind="gaussian")(other)


def test_training_on_perturbed_features_makes_a_model_robust():
    """A strong feature within reach of the attack loses to a weaker one beyond it."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, size=(400, 1))
    signs = 2.0 * labels - 1
    flipped = np.where(random.uniform(size=(400, 1)) < 0.1, -signs, signs)
    features = np.concatenate([0.1 * signs, flipped], axis=1).astype(np.float32)
    ids = tf.zeros([400], tf.int32)

    def train(epsilon):
        kernel = tf.Variable([[0.0], [0.0]])
        objective = objectives.get("adversarial", epsilon=epsilon)
        objective.build(objectives.Shapes(1, None, 1, "binary", 0))

        def forward(features, training):
            return features["dense_x"] @ kernel, None

        @tf.function(autograph=False)
        def update(number):
            inputs = {"dense_x": tf.constant(features)}
            with tf.GradientTape() as tape:
                logits = forward(inputs, True)[0]
                batch = penalties.EnvironmentBatch(logits, labels, ids, 1)
                value = objective(objectives.Step(batch, inputs, forward, number))
            kernel.assign_sub(2.0 * tape.gradient(value, kernel))

        for number in range(300):
            update(tf.constant(number, tf.int64))
        return kernel.numpy()[:, 0]

    fragile, robust = train(0.0), train(0.2)
    assert fragile[0] > 3 * fragile[1] > 0
    assert abs(robust[0]) < 0.1 * robust[1]
