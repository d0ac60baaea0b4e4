"""Metrics and replicates of regression against scikit-learn, SciPy and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import linear_model, metrics

from components.evaluator import moments, regression
from components.evaluator.blocks import BLOCKS


def draw(n=4_000, seed=0, centre=0.0):
    """Labels of a model that is off by a slope of 0.8 and an intercept of 0.3."""
    rng = np.random.default_rng(seed)
    f = rng.normal(centre, 2.0, n)
    y = 0.3 + 0.8 * f + rng.standard_t(5, n)
    return y, f, rng.integers(0, BLOCKS, n), rng.gamma(2.0, size=n)


def statistics(y, f, blocks=None, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    blocks = np.zeros(len(y), np.int64) if blocks is None else blocks
    rows = regression.rows_of(np.asarray(y, float), np.asarray(f), weights)
    return regression.group(rows, blocks, np.zeros(len(y), np.int64), 1)[0]


def values(*args):
    return {n: v for n, (v, _) in regression.measure(statistics(*args)).items()}


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scikit_learns(weighted):
    y, f, blocks, w = draw()
    w = w if weighted else np.ones(len(y))
    found = values(y, f, blocks, w)
    squared = metrics.mean_squared_error(y, f, sample_weight=w)
    assert found["mean_squared_error"] == pytest.approx(squared, rel=1e-12)
    assert found["root_mean_squared_error"] == pytest.approx(squared**0.5, rel=1e-12)
    assert found["mean_absolute_error"] == pytest.approx(
        metrics.mean_absolute_error(y, f, sample_weight=w), rel=1e-12
    )
    assert found["r_squared"] == pytest.approx(
        metrics.r2_score(y, f, sample_weight=w), rel=1e-12
    )
    fit = linear_model.LinearRegression().fit(f[:, None], y, sample_weight=w)
    assert found["calibration_slope"] == pytest.approx(fit.coef_[0], rel=1e-10)
    assert found["calibration_intercept"] == pytest.approx(fit.intercept_, abs=1e-10)
    assert found["mean_label"] == pytest.approx(np.average(y, weights=w), rel=1e-12)
    assert found["mean_prediction"] == pytest.approx(np.average(f, weights=w))
    loss = (f - y) ** 2
    assert found["loss_variance"] == pytest.approx(np.cov(loss, aweights=w, ddof=0))


def test_the_gradient_is_that_of_the_loss_in_a_scale():
    y, f, blocks, w = draw()
    found = values(y, f, blocks, w)
    step = 1e-5

    def risk(scale):
        return np.average((scale * f - y) ** 2, weights=w)

    by_differences = (risk(1 + step) - risk(1 - step)) / (2 * step)
    assert found["irm_gradient"] == pytest.approx(by_differences, rel=1e-8)
    assert found["irm_penalty"] == pytest.approx(by_differences**2, rel=1e-8)


def test_the_unbiased_penalty_is_the_mean_over_pairs_of_blocks():
    y, f, blocks, w = draw(300)
    g = 2 * (f - y) * f
    pairs = [
        (w[i] * w[j], g[i] * g[j])
        for i, j in itertools.combinations(range(300), 2)
        if blocks[i] != blocks[j]
    ]
    weights, products = np.array(pairs).T
    assert values(y, f, blocks, w)["irm_penalty_unbiased"] == pytest.approx(
        np.average(products, weights=weights)
    )


def test_replicates_are_the_values_without_a_block():
    y, f, blocks, w = draw(2_000)
    found = regression.measure(statistics(y, f, blocks, w))
    for block in (0, 7, 19):
        kept = blocks != block
        again = values(y[kept], f[kept], blocks[kept], w[kept])
        for name, (_, replicates) in found.items():
            assert replicates[block] == pytest.approx(again[name], rel=1e-9), name


def test_a_block_without_examples_leaves_the_value_exactly():
    y, f, blocks, w = draw(500)
    blocks = np.minimum(blocks, 17)
    for name, (value, replicates) in regression.measure(
        statistics(y, f, blocks, w)
    ).items():
        assert replicates[18] == replicates[19] == value, name


def test_sums_of_parts_add_up_whatever_the_order():
    y, f, blocks, w = draw(3_000)
    whole = regression.measure(statistics(y, f, blocks, w))
    cuts = [slice(0, 10), slice(10, 11), slice(11, 2_000), slice(2_000, None)]
    parts = [statistics(y[c], f[c], blocks[c], w[c]) for c in cuts]
    for order in (parts, parts[::-1]):
        found = regression.measure(regression.merge(order))
        for name, (value, replicates) in whole.items():
            assert found[name][0] == pytest.approx(value, rel=1e-9)
            np.testing.assert_allclose(found[name][1], replicates, rtol=1e-9)


def test_a_mean_far_from_0_loses_no_digits():
    """Sums of squares would: of 1e12 with 16 digits they leave a variance of 1 four."""
    y, f, blocks, _ = draw(4_000, centre=1e6)
    found = values(y, f, blocks)
    fit = stats.linregress(f - 1e6, y - 1e6)
    assert found["calibration_slope"] == pytest.approx(fit.slope, rel=1e-8)
    centred = metrics.r2_score(y - 1e6, f - 1e6)
    assert found["r_squared"] == pytest.approx(centred, rel=1e-8)


def test_groups_are_apart_and_minus_one_is_in_none():
    y, f, blocks, w = draw(900)
    groups = np.arange(900) % 3 - 1
    rows = regression.rows_of(y, f, w)
    found = regression.group(rows, blocks, groups, 2)
    for number, one in enumerate(found):
        mine = groups == number
        again = regression.measure(statistics(y[mine], f[mine], blocks[mine], w[mine]))
        for name, (value, _) in regression.measure(one).items():
            assert value == pytest.approx(again[name][0], rel=1e-12), name


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_makes_nan_and_is_counted(wrong):
    y, f, blocks, w = draw(500)
    f[17] = wrong
    found = statistics(y, f, blocks, w)
    assert found.blocks[:, regression.INVALID].sum() == 1
    measured = regression.measure(found)
    assert np.isfinite(measured["mean_label"][0])
    assert all(np.isnan(v) for n, (v, _) in measured.items() if n != "mean_label")


def test_what_is_constant_has_no_slope_and_no_r_squared():
    y, f, blocks, w = draw(500)
    rounded = np.float32(1 / 3) * (1 + 1e-7 * (np.arange(500) % 2))
    found = values(y, rounded, blocks, w)
    assert np.isnan(found["calibration_slope"])
    assert np.isnan(found["calibration_intercept"])
    assert np.isfinite(found["r_squared"])
    assert np.isnan(values(np.full(500, 3.7), f, blocks, w)["r_squared"])


def test_no_weight_at_all_is_undefined():
    y, f, blocks, _ = draw(50)
    assert all(np.isnan(v) for v in values(y, f, blocks, np.zeros(50)).values())


def test_moments_are_numpys():
    rng = np.random.default_rng(3)
    y, x, w = rng.normal(5, 1, 400), rng.normal(-2, 3, 400), rng.gamma(1.0, size=400)
    cell = rng.integers(0, 7, 400)
    found = moments.merge(moments.of_rows(y, x, w, cell, 9))  # 7 and 8 are empty
    covariance = np.cov(y, x, aweights=w, ddof=0) * w.sum()
    expected = [w.sum(), np.average(y, weights=w), np.average(x, weights=w)]
    expected += [covariance[0, 0], covariance[1, 1], covariance[0, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
