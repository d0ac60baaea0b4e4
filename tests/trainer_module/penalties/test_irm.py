"""irm_v1 against finite differences in the scale, and where its value is known."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.penalties import EnvironmentBatch, irm_v1, per_example_loss

RANDOM = np.random.default_rng(3)
IDS = np.array([0, 1, 1, 0, 2, 2, 1, 0])
CASES = {
    "binary": (RANDOM.normal(size=(8, 1)), RANDOM.integers(0, 2, size=(8, 1))),
    "multiclass": (RANDOM.normal(size=(8, 4)), RANDOM.integers(0, 4, size=8)),
    "regression": (RANDOM.normal(size=(8, 1)), RANDOM.normal(size=(8, 1))),
}


@pytest.mark.parametrize("task", CASES)
def test_it_is_the_mean_squared_slope_of_the_risks(task):
    logits, labels = CASES[task]

    def risks(scale):
        batch = EnvironmentBatch(tf.constant(logits * scale), labels, IDS, 3, task=task)
        losses = per_example_loss(batch).numpy().astype(np.float64)
        return np.array([losses[index == IDS].mean() for index in range(3)])

    step = 1e-2  # wide, for losses are float32; the error is of its square
    slopes = (risks(1 + step) - risks(1 - step)) / (2 * step)
    batch = EnvironmentBatch(tf.constant(logits), labels, IDS, 3, task=task)
    assert float(irm_v1(batch)) == pytest.approx(np.mean(slopes**2), rel=2e-3)


def test_it_is_zero_where_the_scale_is_right_in_every_environment():
    # Logit log 3 says 3/4; three of four labels are 1 in both environments.
    logits = np.full((8, 1), np.log(3.0))
    labels = np.array([1, 1, 1, 0, 0, 1, 1, 1])[:, None]
    batch = EnvironmentBatch(logits, labels, np.repeat([0, 1], 4), 2)
    assert float(irm_v1(batch)) == pytest.approx(0.0, abs=1e-12)


def test_environments_cannot_make_up_for_each_other():
    # Says 3/4 where one environment holds 1/2 and the other 1: the slopes are z / 4 and
    # -z / 4, so that the pooled one is 0.
    logits = np.full((8, 1), np.log(3.0))
    labels = np.array([1, 1, 0, 0, 1, 1, 1, 1])[:, None]
    pooled = EnvironmentBatch(logits, labels, np.zeros(8, int), 1)
    assert float(irm_v1(pooled)) == pytest.approx(0.0, abs=1e-12)
    apart = EnvironmentBatch(logits, labels, np.repeat([0, 1], 4), 2)
    assert float(irm_v1(apart)) == pytest.approx((np.log(3.0) / 4) ** 2, rel=1e-5)


def test_multiclass_is_zero_where_the_chances_are_the_shares_of_the_labels():
    # Log shares as logits: 1/2, 1/4, 1/4 in the first environment, 1/4, 1/4, 1/2 in the
    # second.
    shares = np.repeat([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], 4, axis=0)
    labels = np.array([0, 0, 1, 2, 0, 1, 2, 2])
    ids = np.repeat([0, 1], 4)
    right = EnvironmentBatch(np.log(shares), labels, ids, 2, task="multiclass")
    assert float(irm_v1(right)) == pytest.approx(0.0, abs=1e-12)
    swapped = EnvironmentBatch(np.log(shares[::-1]), labels, ids, 2, task="multiclass")
    # The slope is the sum of (chance - share) times logit: log(2) / 4 in both.
    assert float(irm_v1(swapped)) == pytest.approx((np.log(2) / 4) ** 2, rel=1e-5)


def test_regression_is_zero_at_the_least_squares_scale():
    values = np.array([1.0, 2.0, -1.0, 0.5])[:, None]
    targets = np.array([2.0, 1.0, -3.0, 0.0])[:, None]
    scale = np.sum(values * targets) / np.sum(values**2)
    batch = EnvironmentBatch(
        scale * values, targets, np.zeros(4, int), 1, task="regression"
    )
    assert float(irm_v1(batch)) == pytest.approx(0.0, abs=1e-10)
    # Off by 1 in the scale, the slope is 2 mean(v^2) times the new scale.
    batch = EnvironmentBatch(
        (scale + 1) * values, targets, np.zeros(4, int), 1, task="regression"
    )
    slope = 2 * (scale + 1) * np.mean(values**2)
    assert float(irm_v1(batch)) == pytest.approx(slope**2, rel=1e-5)


def slopes_of(task, logits, labels):
    """Slope of each row's loss in the scale, by central differences in float64."""

    def losses(scale):
        values = np.asarray(logits, np.float64) * scale
        truth = np.asarray(labels)
        if task == "multiclass":
            rows = np.arange(len(truth))
            return np.log(np.exp(values).sum(axis=1)) - values[rows, truth]
        if task == "binary":
            return (np.log1p(np.exp(values)) - truth * values)[:, 0]
        return ((values - truth) ** 2)[:, 0]

    step = 1e-5
    return (losses(1 + step) - losses(1 - step)) / (2 * step)


@pytest.mark.parametrize("task", CASES)
def test_unbiased_is_the_mean_over_pairs_of_different_rows(task):
    logits, labels = CASES[task]
    weights = np.array([0.5, 2.0, 1.0, 1.5, 0.7, 1.2, 0.0, 3.0])
    slopes = slopes_of(task, logits, labels)
    estimates = []
    for index in range(3):
        total = count = 0.0
        for i, j in itertools.permutations(np.flatnonzero(index == IDS), 2):
            total += weights[i] * weights[j] * slopes[i] * slopes[j]
            count += weights[i] * weights[j]
        estimates.append(total / count)
    batch = EnvironmentBatch(
        tf.constant(logits), labels, IDS, 5, sample_weights=weights, task=task
    )
    value = float(irm_v1(batch, unbiased=True))
    assert value == pytest.approx(np.mean(estimates), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("task", CASES)
def test_unbiased_is_right_on_average_over_all_small_batches(task):
    # Every batch of three rows, drawn with replacement, is an environment of its own:
    # their mean is the expectation, and the truth is the squared slope of all eight.
    logits, labels = CASES[task]
    batches = np.array(list(itertools.product(range(8), repeat=3)))
    ids = np.repeat(np.arange(len(batches)), 3)
    rows = batches.ravel()
    batch = EnvironmentBatch(
        tf.constant(logits[rows]), labels[rows], ids, len(batches), task=task
    )
    slopes = slopes_of(task, logits, labels)
    truth = slopes.mean() ** 2
    assert float(irm_v1(batch, unbiased=True)) == pytest.approx(truth, rel=1e-3)
    # The square of a mean is too large by the mean's variance.
    assert float(irm_v1(batch)) == pytest.approx(truth + slopes.var() / 3, rel=1e-3)
    assert slopes.var() / 3 > 0.05 * truth


def test_unbiased_may_be_negative_and_leaves_out_single_rows():
    # At z = log 3 the chance is 3/4: slopes 3 z / 4 and -z / 4, whose product is the
    # estimate; the second environment has one row.
    z = np.log(3.0)
    logits, labels = np.full((3, 1), z), np.array([[0], [1], [1]])
    batch = EnvironmentBatch(logits, labels, [0, 0, 1], 2)
    assert float(irm_v1(batch, unbiased=True)) == pytest.approx(-3 / 16 * z**2)
    alone = EnvironmentBatch(logits, labels, [0, 1, 2], 3)
    assert float(irm_v1(alone, unbiased=True)) == 0.0
