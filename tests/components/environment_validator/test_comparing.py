"""Distances and AUCs against SciPy, scikit-learn and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from components.environment_validator import comparing
from components.environment_validator.sampled import CATEGORY, NUMBER, Feature, Sampled


def test_wasserstein_of_a_shift_is_the_shift_in_deviations():
    values = np.random.default_rng(0).normal(0, 3, 5000)
    assert comparing.wasserstein(values, values + 6) == pytest.approx(
        6 / values.std(), rel=1e-9
    )


def test_wasserstein_leaves_missing_values_out():
    a, b = np.array([0.0, np.nan, 2.0]), np.array([1.0, 3.0, np.nan])
    expected = stats.wasserstein_distance([0, 2], [1, 3])  # both deviations are 1
    assert comparing.wasserstein(a, b) == pytest.approx(expected)
    assert np.isnan(comparing.wasserstein(a, np.array([np.nan])))


def test_constants_that_differ_are_as_far_as_can_be():
    one, two = np.ones(5), np.full(5, 2.0)
    assert comparing.wasserstein(one, one) == 0
    assert comparing.wasserstein(one, two) == 1e6


def test_jensen_shannon_is_half_the_divergences_to_the_middle():
    p, q = np.array([3.0, 1.0, 0.0]), np.array([1.0, 1.0, 2.0])
    a, b = p / p.sum(), q / q.sum()
    middle = (a + b) / 2
    expected = (stats.entropy(a, middle, 2) + stats.entropy(b, middle, 2)) / 2
    assert comparing.jensen_shannon(p, q) == pytest.approx(expected)
    assert comparing.jensen_shannon(p, np.array([0.0, 0.0, 1.0])) == pytest.approx(1)


def sampled(rows=2000, seed=0):
    """Two environments, a category that tells the label and one that turns."""
    rng = np.random.default_rng(seed)
    labels, straight, turned = [], [], []
    for e in range(2):
        y = rng.random(rows) < 0.3
        agree = rng.random(rows) < 0.8
        labels.append(y)
        straight.append(np.where(agree, y, ~y).astype(np.int64))
        turned.append(np.where(agree, y ^ bool(e), ~(y ^ bool(e))).astype(np.int64))
    features = [
        Feature(n, CATEGORY, tuple(v), tuple(x + 1 for x in v), 3, ("0", "1"))
        for n, v in (("straight", straight), ("turned", turned))
    ]
    return Sampled(("a", "b"), 2, tuple(labels), tuple(features))


def test_auc_is_scikit_learns_of_the_feature_itself():
    data = sampled()
    straight, turned = comparing.compare(data)
    for e in range(2):
        value = data.features[0].values[e]
        expected = metrics.roc_auc_score(data.labels[e], value)
        assert straight.auc[1 - e, e] == pytest.approx(expected, abs=1e-12)
        # Halves of its own rows, averaged.
        assert straight.auc[e, e] == pytest.approx(expected, abs=0.02)
        learned = 1 if e == 1 else -1  # what the feature means in the other one
        opposite = metrics.roc_auc_score(
            data.labels[e], learned * data.features[1].values[e]
        )
        assert opposite < 0.25
        assert turned.auc[1 - e, e] == pytest.approx(opposite, abs=1e-12)
    assert straight.tells == pytest.approx([0.5, 0.5], abs=0.03)


def test_naive_bayes_is_the_sum_of_the_log_odds():
    data = sampled()
    (found,) = comparing.transfer(data)
    rule = []
    for f in data.features:
        rates = []
        for code in (0, 1):
            y = data.labels[0][f.values[0] == code]
            p = data.labels[0].sum() + 0.5
            p /= len(data.labels[0]) + 1
            rate = (y.sum() + 10 * p) / (len(y) + 10)
            rates.append(np.log(rate / (1 - rate)))
        rule.append(np.array(rates))
    scores = sum(r[f.values[1]] for r, f in zip(rule, data.features, strict=True))
    expected = metrics.roc_auc_score(data.labels[1], scores)
    assert found[0, 1] == pytest.approx(expected, abs=1e-12)


def test_a_feature_that_names_the_environment_tells_it():
    rng = np.random.default_rng(0)
    values = (rng.normal(0, 1, 500), rng.normal(100, 1, 500))
    bins = (np.ones(500, int), np.full(500, 2))
    labels = (rng.random(500) < 0.5, rng.random(500) < 0.5)
    data = Sampled(("a", "b"), 2, labels, (Feature("x", NUMBER, values, bins, 3),))
    assert comparing.compare(data)[0].tells == pytest.approx([1.0, 1.0])


def test_the_standard_error_is_an_upper_bound():
    """Of continuous scores of two normals, by simulation."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        y = np.repeat([0, 1], [200, 50])
        found.append(metrics.roc_auc_score(y, rng.normal(y * 1.0, 1)))
    bound = comparing.standard_error(float(np.mean(found)), 50, 200)
    assert np.std(found) < bound < 3 * np.std(found)
