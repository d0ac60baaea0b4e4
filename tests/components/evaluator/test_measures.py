"""Metrics and replicates against scikit-learn, SciPy and closed forms."""

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn import metrics

from components.evaluator import measures
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS


def draw(n, seed=0, slope=0.8, intercept=0.2, spread=1.2, centre=-1.0):
    """Labels of a model that is off by a known slope and intercept."""
    rng = np.random.default_rng(seed)
    z = rng.normal(centre, spread, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(intercept + slope * z)))).astype(float)
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    return y, p, rng.integers(0, BLOCKS, n)


def statistics(y, p, blocks=None, weights=None):
    weights = np.ones(len(y)) if weights is None else weights
    blocks = np.zeros(len(y), np.int64) if blocks is None else blocks
    rows = st.rows_of(np.asarray(y, float), np.asarray(p, np.float32), weights)
    return st.group(rows, blocks, np.zeros(len(y), np.int64), 1)[0]


def measured(*args, **kwargs):
    return measures.measure(statistics(*args, **kwargs))


def fit(y, p, weights=None):
    """Calibration intercept and slope from raw rows, by SciPy."""
    z = np.log(p.astype(float)) - np.log1p(-p.astype(float))
    weights = np.ones(len(y)) if weights is None else weights

    def loss(point):
        eta = point[0] + point[1] * z
        slack = weights * (1 / (1 + np.exp(-eta)) - y)
        value = np.sum(weights * (np.logaddexp(0, eta) - y * eta))
        return value / len(y), np.array([slack.sum(), slack @ z]) / len(y)

    start = np.zeros(2)
    return optimize.minimize(loss, start, jac=True, method="BFGS", tol=1e-12).x


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scikit_learns(weighted):
    y, p, blocks = draw(6_000)
    w = (
        np.random.default_rng(1).gamma(2.0, size=len(y))
        if weighted
        else np.ones(len(y))
    )
    found = {k: v for k, (v, _) in measured(y, p, blocks, w).items()}
    assert found["auc"] == pytest.approx(
        metrics.roc_auc_score(y, p, sample_weight=w), abs=1e-4
    )
    loss = metrics.log_loss(y, p.astype(float), sample_weight=w)
    assert found["log_loss"] == pytest.approx(loss, abs=1e-6)
    accuracy = metrics.accuracy_score(y, p > 0.5, sample_weight=w)
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert found["mean_label"] == pytest.approx(np.average(y, weights=w), abs=1e-12)
    mean = np.average(p.astype(float), weights=w)
    assert found["mean_prediction"] == pytest.approx(mean, abs=1e-12)
    assert found["calibration"] == pytest.approx(
        mean / np.average(y, weights=w), abs=1e-12
    )
    intercept, slope = fit(y, p, w)
    assert found["calibration_slope"] == pytest.approx(slope, abs=1e-5)
    assert found["calibration_intercept"] == pytest.approx(intercept, abs=1e-5)


def losses(y, p):
    p = p.astype(float)
    return -np.log(np.where(y == 1, p, 1 - p))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_losses_variance_is_numpys(weighted):
    y, p, blocks = draw(3_000, seed=20)
    w = np.random.default_rng(1).gamma(2.0, size=len(y)) if weighted else None
    found = measured(y, p, blocks, w)["loss_variance"]
    expected = np.cov(losses(y, p), aweights=w, ddof=0)
    assert found[0] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_the_risk_in_a_dummy_scale(weighted):
    # IRMv1's definition, by central differences of the risk itself.
    y, p, blocks = draw(3_000, seed=21)
    w = np.ones(len(y))
    if weighted:
        w = np.random.default_rng(1).gamma(2.0, size=len(y))
    z = np.log(p.astype(float)) - np.log1p(-p.astype(float))

    def risk(scale):
        return np.average(np.logaddexp(0, scale * z) - y * scale * z, weights=w)

    slope = (risk(1 + 1e-5) - risk(1 - 1e-5)) / 2e-5
    found = measured(y, p, blocks, w)
    assert found["irm_gradient"][0] == pytest.approx(slope, abs=1e-8)
    assert found["irm_penalty"][0] == pytest.approx(slope**2, abs=1e-8)


def test_the_unbiased_penalty_is_the_mean_over_pairs_from_different_blocks():
    y, p, blocks = draw(60, seed=22)
    w = np.random.default_rng(1).gamma(2.0, size=len(y))
    z = np.log(p.astype(float)) - np.log1p(-p.astype(float))
    g = (p - y) * z

    def mean_over_pairs(rows):
        total, weight = 0.0, 0.0
        for i in rows:
            for j in rows:
                if blocks[i] != blocks[j]:
                    total += w[i] * w[j] * g[i] * g[j]
                    weight += w[i] * w[j]
        return total / weight

    value, replicates = measured(y, p, blocks, w)["irm_penalty_unbiased"]
    assert value == pytest.approx(mean_over_pairs(range(60)), abs=1e-9)
    rest = np.flatnonzero(blocks != 3)
    assert replicates[3] == pytest.approx(mean_over_pairs(rest), abs=1e-9)


def test_the_unbiased_penalty_of_a_calibrated_model_is_zero_on_average():
    found = np.array(
        [
            [
                measured(*draw(400, seed=500 + i, slope=1.0, intercept=0.0))[name][0]
                for name in ("irm_penalty", "irm_penalty_unbiased")
            ]
            for i in range(300)
        ]
    )
    mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(300)
    assert abs(mean[1]) < 3.5 * error[1]
    assert mean[0] > 10 * error[0]  # the plain one is not


def test_a_penalty_of_a_single_block_has_no_pairs():
    y, p, _ = draw(50, seed=23)
    value, replicates = measured(y, p)["irm_penalty_unbiased"]
    assert np.isnan(value)
    assert np.isnan(replicates).all()


@pytest.mark.parametrize(
    ("spread", "centre"), [(0.05, -1.5), (0.5, -4.0), (2.0, 0.0), (3.0, 1.0)]
)
def test_slopes_are_right_for_flat_and_for_sharp_models(spread, centre):
    y, p, _ = draw(20_000, seed=3, spread=spread, centre=centre, intercept=0.1)
    found = measured(y, p)
    intercept, slope = fit(y, p)
    assert found["calibration_slope"][0] == pytest.approx(slope, abs=1e-5)
    assert found["calibration_intercept"][0] == pytest.approx(intercept, abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_replicates_are_the_metrics_without_the_block(weighted):
    y, p, blocks = draw(3_000, seed=5)
    w = (
        np.random.default_rng(2).gamma(2.0, size=len(y))
        if weighted
        else np.ones(len(y))
    )
    found = measured(y, p, blocks, w)
    for block in range(0, BLOCKS, 3):
        rest = blocks != block
        again = measured(y[rest], p[rest], blocks[rest], w[rest])
        exact = ("log_loss", "accuracy", "calibration", "mean_label")
        for name in (*exact, "loss_variance", "irm_gradient", "irm_penalty"):
            assert found[name][1][block] == pytest.approx(again[name][0], abs=1e-12)
        auc = metrics.roc_auc_score(y[rest], p[rest], sample_weight=w[rest])
        assert found["auc"][1][block] == pytest.approx(auc, abs=1e-4)
        intercept, slope = fit(y[rest], p[rest], w[rest])
        assert found["calibration_slope"][1][block] == pytest.approx(slope, abs=1e-5)
        assert found["calibration_intercept"][1][block] == pytest.approx(
            intercept, abs=1e-5
        )


def test_a_block_without_examples_repeats_the_value_exactly():
    y, p, blocks = draw(500, seed=6)
    blocks = blocks % 7
    for value, replicates in measured(y, p, blocks).values():
        assert (replicates[7:] == value).all()
        assert (replicates[:7] != value).all()


def jackknife_variance(replicates):
    return (BLOCKS - 1) / BLOCKS * np.sum((replicates - replicates.mean()) ** 2)


def delong_variance(y, p):
    """DeLong, DeLong and Clarke-Pearson 1988, by placement values."""
    positives, negatives = p[y == 1], p[y == 0]
    m, n = len(positives), len(negatives)
    ranks = stats.rankdata(np.concatenate([positives, negatives]))
    v10 = (ranks[:m] - stats.rankdata(positives)) / n
    v01 = 1 - (ranks[m:] - stats.rankdata(negatives)) / m
    return np.var(v10, ddof=1) / m + np.var(v01, ddof=1) / n


def test_jackknife_agrees_with_delong_and_the_binomial_formula():
    # 20 blocks tell a variance to within sqrt(2 / 19) = 32 %; its mean over 100 data
    # sets to within 3.2 %, so 10 % is three standard deviations.
    ratios = {"auc": [], "accuracy": []}
    for seed in range(100):
        y, p, blocks = draw(1_500, seed=100 + seed)
        found = measured(y, p, blocks)
        accuracy = found["accuracy"][0]
        expected = {
            "auc": delong_variance(y, p),
            "accuracy": accuracy * (1 - accuracy) / len(y),
        }
        for name, value in expected.items():
            ratios[name].append(jackknife_variance(found[name][1]) / value)
    assert np.mean(ratios["auc"]) == pytest.approx(1.0, abs=0.1)
    assert np.mean(ratios["accuracy"]) == pytest.approx(1.0, abs=0.1)


def test_copies_within_a_block_do_not_shrink_the_standard_error():
    y, p, blocks = draw(800, seed=8)
    once = measured(y, p, blocks)
    often = measured(np.repeat(y, 9), np.repeat(p, 9), np.repeat(blocks, 9))
    for name, (value, replicates) in once.items():
        assert often[name][0] == pytest.approx(value, abs=1e-9)
        np.testing.assert_allclose(often[name][1], replicates, atol=1e-9)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_what_one_class_leaves_undefined_is_nan(label):
    p = np.linspace(0.1, 0.9, 40)
    found = measured(np.full(40, label), p, np.arange(40) % BLOCKS)
    for name in ("auc", "calibration_slope", "calibration_intercept"):
        assert np.isnan(found[name][0])
        assert np.isnan(found[name][1]).all()
    assert np.isnan(found["calibration"][0]) == (label == 0)
    assert found["mean_label"][0] == label
    mean_loss = -np.log(np.where(label, p, 1 - p)).mean()
    assert found["log_loss"][0] == pytest.approx(mean_loss, abs=1e-6)


def test_a_replicate_that_loses_a_class_is_nan_alone():
    y = np.array([1, 1, 0, 0, 0, 0, 1, 0.0])
    p = np.array([0.9, 0.4, 0.5, 0.3, 0.2, 0.6, 0.7, 0.1])
    blocks = np.array([0, 0, 1, 1, 1, 2, 0, 2])
    value, replicates = measured(y, p, blocks)["auc"]
    assert value == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-4)
    assert np.isnan(replicates[0])
    assert np.isfinite(replicates[1:]).all()


def test_slopes_without_a_maximum_are_nan():
    separable = measured(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.2, 0.7, 0.8]))
    assert separable["auc"][0] == 1.0
    assert np.isnan(separable["calibration_slope"][0])
    constant = measured(np.array([0, 1, 1, 0.0]), np.full(4, 0.3))
    assert constant["auc"][0] == 0.5
    assert np.isnan(constant["calibration_slope"][0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5])
def test_one_invalid_prediction_makes_nan_of_all_that_predictions_enter(wrong):
    y, p, blocks = draw(400, seed=9)
    p[17] = wrong
    for name, (value, replicates) in measured(y, p, blocks).items():
        if name == "mean_label":
            assert value == y.mean()
        else:
            assert np.isnan(value), name
            assert np.isnan(replicates).all(), name


def test_certain_predictions_cost_nothing_or_everything():
    right = measured(np.array([0, 1, 1.0]), np.array([0, 1, 0.5]))
    assert right["log_loss"][0] == pytest.approx(np.log(2) / 3, abs=1e-7)
    wrong = measured(np.array([0, 1, 1.0]), np.array([1, 1, 0.5]))
    assert wrong["log_loss"][0] == np.inf


def test_an_example_of_weight_zero_changes_no_weighted_metric():
    y, p, blocks = draw(500, seed=10)
    weights = np.ones(len(y))
    weights[::5] = 0.0
    some = weights > 0
    with_zeros = measured(y, p, blocks, weights)
    without = measured(y[some], p[some], blocks[some])
    for name, (value, replicates) in without.items():
        assert with_zeros[name][0] == pytest.approx(value, abs=1e-12)
        np.testing.assert_allclose(with_zeros[name][1], replicates, atol=1e-9)


def test_no_weight_at_all_is_nan():
    y, p, blocks = draw(50, seed=11)
    for value, _ in measured(y, p, blocks, np.zeros(50)).values():
        assert np.isnan(value)


def test_binned_auc_counts_pairs():
    positives, negatives = np.array([1.0, 0, 2, 3]), np.array([2.0, 1, 2, 0])
    wins = 0.0
    for i, a in enumerate(positives):
        for j, b in enumerate(negatives):
            wins += a * b * ((i > j) + 0.5 * (i == j))
    assert measures.binned_auc(positives, negatives) == pytest.approx(wins / 6 / 5)
    assert np.isnan(measures.binned_auc(positives, np.zeros(4)))


def test_the_curve_adds_up_and_lies_in_its_bins():
    y, p, _ = draw(5_000, seed=12)
    curve = measures.curve(statistics(y, p).fine)
    assert curve.edges.tolist()[1:-1] == [i / 20 for i in range(21)]
    bins = np.digitize(p.astype(float), curve.edges) - 1
    for i, (weight, label, prediction) in enumerate(curve.sums):
        assert weight == np.sum(bins == i)
        assert label == y[bins == i].sum()
        assert prediction == pytest.approx(p[bins == i].astype(float).sum(), abs=1e-9)
