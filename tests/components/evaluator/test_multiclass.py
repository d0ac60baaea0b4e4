"""Metrics and replicates of several classes against scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import optimize, special
from sklearn import metrics

from components.evaluator import distribution, measures, multiclass, scaling
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS

CLASSES = 4


def draw(n=4_000, seed=0, scale=0.7, classes=CLASSES, spread=1.5):
    """Labels of a model whose logits are too large by 1 / scale."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, classes)) + np.linspace(1, -1, classes)
    shares = special.softmax(scale * logits, axis=1)
    labels = (rng.random((n, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    p = special.softmax(logits, axis=1).astype(np.float32)
    return labels.clip(0, classes - 1), p, rng.integers(0, BLOCKS, n)


def weights_of(n):
    return np.random.default_rng(1).gamma(2.0, size=n)


def statistics(y, p, blocks=None, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    blocks = np.zeros(len(y), np.int64) if blocks is None else blocks
    rows = multiclass.rows_of(y, p, weights)
    return multiclass.group(rows, blocks, np.zeros(len(y), np.int64), 1)[0]


def values(*args):
    return {n: v for n, (v, _) in multiclass.measure(statistics(*args)).items()}


def best_scale(y, p, w):
    """Maximum-likelihood scale of the logits, from raw rows by SciPy."""
    z = np.log(p.astype(np.float64))

    def loss(scale):
        found = special.log_softmax(scale * z, axis=1)[np.arange(len(y)), y]
        return -np.average(found, weights=w)

    return optimize.minimize_scalar(loss, bounds=(-4, 32), options={"xatol": 1e-10}).x


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scikit_learns(weighted):
    y, p, blocks = draw()
    w = weights_of(len(y)) if weighted else np.ones(len(y))
    found = values(y, p, blocks, w)
    exact = p.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    top = exact.argmax(axis=1)
    assert found["log_loss"] == pytest.approx(
        metrics.log_loss(y, exact, sample_weight=w), rel=1e-12
    )
    assert found["accuracy"] == pytest.approx(
        metrics.accuracy_score(y, top, sample_weight=w), rel=1e-12
    )
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(y, top, sample_weight=w), rel=1e-12
    )
    assert found["mean_confidence"] == pytest.approx(
        np.average(exact.max(axis=1), weights=w), rel=1e-12
    )
    loss = -np.log(exact[np.arange(len(y)), y])
    assert found["loss_variance"] == pytest.approx(np.cov(loss, aweights=w, ddof=0))


def test_the_gradient_is_that_of_the_loss_in_a_scale_of_the_logits():
    """Of logits that carry any constant, which the probabilities do not tell."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (500, CLASSES)) + rng.normal(0, 9, (500, 1))
    y, w = rng.integers(0, CLASSES, 500), weights_of(500)
    step = 1e-5

    def risk(scale):
        found = special.log_softmax(scale * logits, axis=1)[np.arange(500), y]
        return -np.average(found, weights=w)

    by_differences = (risk(1 + step) - risk(1 - step)) / (2 * step)
    found = values(y, special.softmax(logits, axis=1), np.zeros(500, np.int64), w)
    assert found["irm_gradient"] == pytest.approx(by_differences, rel=1e-7)
    assert found["irm_penalty"] == pytest.approx(by_differences**2, rel=1e-7)


@pytest.mark.parametrize(
    ("scale", "classes", "spread", "close"),
    [
        (1.0, 3, 1.5, 2e-5),
        (0.93, 4, 1.5, 2e-5),
        (1.2, 10, 2.0, 2e-4),
        (0.55, 3, 3.0, 2e-4),
        (0.2, 5, 4.0, 3e-3),
        (2.3, 3, 0.8, 1e-3),
        (5.0, 4, 0.4, 5e-3),
        (-0.7, 3, 1.0, 5e-3),
    ],
)
def test_the_slope_is_the_maximum_likelihood_scale(scale, classes, spread, close):
    y, p, blocks = draw(scale=scale, classes=classes, spread=spread, seed=2)
    w = weights_of(len(y))
    expected = best_scale(y, p, w)
    found = values(y, p, blocks, w)["calibration_slope"]
    assert found == pytest.approx(expected, rel=close)


def test_a_model_without_an_error_has_no_slope_and_neither_has_a_constant():
    y, p, blocks = draw(500)
    sure = np.full((500, CLASSES), 0.1, np.float32)
    sure[np.arange(500), y] = 0.7
    found = values(y, sure, blocks)
    assert np.isnan(found["calibration_slope"])
    assert found["accuracy"] == 1.0
    exact = np.zeros((500, CLASSES))
    exact[np.arange(500), y] = 1.0
    assert np.isnan(values(y, exact, blocks)["calibration_slope"])
    assert values(y, exact, blocks)["log_loss"] == 0.0
    constant = np.full((500, CLASSES), 1 / CLASSES)
    assert np.isnan(values(y, constant, blocks)["calibration_slope"])


def test_two_classes_are_the_binary_task():
    y, p, blocks = draw(3_000, classes=2)
    w = weights_of(3_000)
    rows = st.rows_of(y.astype(float), p[:, 1], w)
    (one,) = st.group(rows, blocks, np.zeros(3_000, np.int64), 1)
    binary = measures.measure(one)
    found = multiclass.measure(statistics(y, p, blocks, w))
    for name in ("log_loss", "accuracy", "irm_gradient", "irm_penalty_unbiased"):
        assert found[name][0] == pytest.approx(binary[name][0], rel=1e-5), name
        np.testing.assert_allclose(found[name][1], binary[name][1], rtol=1e-5)


def test_replicates_are_the_values_without_a_block():
    y, p, blocks = draw(3_000)
    w = weights_of(3_000)
    found = multiclass.measure(statistics(y, p, blocks, w))
    for block in (0, 7, 19):
        kept = blocks != block
        again = values(y[kept], p[kept], blocks[kept], w[kept])
        for name, (_, replicates) in found.items():
            if name != "calibration_error":  # bins and signs held fixed
                assert replicates[block] == pytest.approx(again[name], rel=1e-9), name


def test_sums_of_parts_add_up_and_large_ones_are_cut(monkeypatch):
    y, p, blocks = draw(3_000)
    w = weights_of(3_000)
    whole = multiclass.measure(statistics(y, p, blocks, w))
    monkeypatch.setattr(multiclass, "_MOST_NUMBERS", 64)
    cuts = [slice(0, 10), slice(10, 11), slice(11, 2_000), slice(2_000, None)]
    parts = [statistics(y[c], p[c], blocks[c], w[c]) for c in cuts]
    found = multiclass.measure(multiclass.merge(parts))
    for name, (value, replicates) in whole.items():
        assert found[name][0] == pytest.approx(value, rel=1e-9), name
        np.testing.assert_allclose(found[name][1], replicates, rtol=1e-7)


def test_the_calibration_error_is_that_of_the_confidence():
    """By a plain loop over bins of equal weight, of which no prediction is cut."""
    y, p, _ = draw(4_000)
    found = statistics(y, p)
    exact = p.astype(np.float64) / p.sum(axis=1, dtype=np.float64, keepdims=True)
    confidence, right = exact.max(axis=1), exact.argmax(axis=1) == y
    logits = np.log(confidence) - np.log1p(-confidence)
    bins = st.coarse_bins(logits.clip(-st.LOGIT_LIMIT, st.LOGIT_LIMIT))
    error = 0.0
    counted = np.bincount(bins, minlength=st.COARSE_BINS)
    middle = (np.cumsum(counted) - counted / 2) / len(y)
    decile = np.minimum((middle * 10).astype(int), 9)[bins]
    for part in range(10):
        mine = decile == part
        error += abs((confidence[mine] - right[mine]).sum()) / len(y)
    assert multiclass.measure(found)["calibration_error"][0] == pytest.approx(error)
    area = distribution.score_sketch(found.top.coarse)[0].sum()
    assert 1 - area == pytest.approx(confidence.mean(), rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        [np.nan, 0.5, 0.25, 0.25],
        [0.5, 0.5, 0.25, -0.25],
        [0.7, 0.302, 0.0, 0.0],
        [0.5, 0.498, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [np.inf, 0.0, 0.0, 0.0],
        [2.0, -1.0, 0.0, 0.0],
    ],
)
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_prediction_that_is_no_distribution_makes_nan_and_is_counted(wrong, weight):
    y, p, blocks = draw(300)
    w = weights_of(300)
    p[17], w[17] = wrong, weight
    found = statistics(y, p, blocks, w)
    assert found.blocks[:, multiclass.INVALID].sum() == 1
    for name, (value, replicates) in multiclass.measure(found).items():
        assert np.isnan(value), name
        assert np.isnan(replicates).all(), name


def test_what_rounding_leaves_of_a_sum_is_no_error():
    y, p, blocks = draw(300)
    found = statistics(y, p * np.float32(1.0005), blocks)
    assert found.blocks[:, multiclass.INVALID].sum() == 0
    for name, (value, _) in multiclass.measure(found).items():
        assert value == pytest.approx(values(y, p, blocks)[name], rel=1e-5), name


def test_a_label_of_probability_0_is_an_infinite_loss_unless_it_weighs_nothing():
    y, p, blocks = draw(300)
    p[5] = 0.0
    p[5, (y[5] + 1) % CLASSES] = 1.0
    found = values(y, p, blocks)
    assert found["log_loss"] == np.inf
    assert np.isfinite(found["irm_gradient"])
    weights = np.ones(300)
    weights[5] = 0.0
    without = np.arange(300) != 5
    again = values(y[without], p[without], blocks[without])
    for name, value in values(y, p, blocks, weights).items():
        assert value == pytest.approx(again[name], rel=1e-9), name


def test_balanced_accuracy_is_over_the_classes_there_and_has_no_value_without_one():
    y, p, blocks = draw(2_000)
    kept = y != 2
    top = p[kept].argmax(axis=1)
    found = values(y[kept], p[kept], blocks[kept])["balanced_accuracy"]
    recalls = [(top[y[kept] == k] == k).mean() for k in (0, 1, 3)]
    assert found == pytest.approx(np.mean(recalls), rel=1e-12)
    blocks = np.where(y == 2, 11, blocks)
    _, replicates = multiclass.measure(statistics(y, p, blocks))["balanced_accuracy"]
    assert np.isnan(replicates[11])
    assert np.isfinite(np.delete(replicates, 11)).all()


def test_the_derivatives_are_those_of_the_likelihood():
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 2, (5, 3)), rng.integers(0, 3, 5)
    found = scaling.derivatives(z, z[np.arange(5), y])
    for i, scale in enumerate(scaling.SCALES):
        for row in range(5):

            def loss(b, row=row):
                return -special.log_softmax(b * z[row])[y[row]]

            step = 1e-4
            low, here, high = loss(scale - step), loss(scale), loss(scale + step)
            assert found[row, 0, i] == pytest.approx((high - low) / 2 / step, abs=1e-5)
            curve = (high - 2 * here + low) / step**2
            assert found[row, 1, i] == pytest.approx(curve, abs=1e-5)
