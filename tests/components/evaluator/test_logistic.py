"""Logistic regression against closed forms."""

import numpy as np
import pytest

from components.evaluator import logistic


def fit(x, weights, positives):
    x, weights, positives = (np.atleast_2d(a) for a in (x, weights, positives))
    return logistic.fit(x, weights, positives, (x * positives).sum(axis=1))


def test_of_a_binary_regressor_it_is_the_log_odds_ratio():
    weights = np.array([[40.0, 60.0], [10.0, 90.0], [50.0, 50.0]])
    positives = np.array([[10.0, 45.0], [9.0, 1.0], [25.0, 25.0]])
    slopes, intercepts = fit(np.tile([-1.0, 3.0], (3, 1)), weights, positives)
    logits = np.log(positives / (weights - positives))
    expected = (logits[:, 1] - logits[:, 0]) / 4
    np.testing.assert_allclose(slopes, expected, atol=1e-11)
    np.testing.assert_allclose(intercepts, logits[:, 0] + expected, atol=1e-11)


def test_exact_probabilities_give_back_their_own_line():
    x = np.linspace(-14, 12, 200)
    weights = np.random.default_rng(0).gamma(1.0, size=200)
    for slope, intercept in [(0.3, -2.0), (1.0, 0.0), (-2.5, 7.0)]:
        p = 1 / (1 + np.exp(-(intercept + slope * x)))
        found = fit(x, weights, weights * p)
        assert found[0][0] == pytest.approx(slope, abs=1e-9)
        assert found[1][0] == pytest.approx(intercept, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "positives"),
    [
        ([0.0, 1.0, 2.0], [0.0, 0.0, 0.0]),
        ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]),
        ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0]),
        ([0.0, 1.0, 2.0], [1.0, 1.0, 0.0]),
        ([0.0, 1.0, 2.0], [0.0, 0.5, 1.0]),
        ([1.0, 1.0, 1.0], [0.2, 0.5, 0.9]),
    ],
)
def test_without_a_maximum_it_is_nan(x, positives):
    slopes, intercepts = fit(np.array(x), np.ones(3), np.array(positives))
    assert np.isnan(slopes).all()
    assert np.isnan(intercepts).all()


def test_a_problem_without_solution_leaves_the_others_alone():
    positives = np.array([[0.0, 0.0, 1.0], [0.2, 0.6, 0.7]])
    slopes, _ = fit(np.tile([0.0, 1.0, 2.0], (2, 1)), np.ones((2, 3)), positives)
    alone, _ = fit(np.array([0.0, 1.0, 2.0]), np.ones(3), positives[1])
    assert np.isnan(slopes[0])
    assert slopes[1] == pytest.approx(alone[0], abs=1e-12)


def test_nearly_separable_classes_converge():
    x = np.tile([-2.0, -1.0, 1.0, 2.0], (1, 1))
    odds = 1e-7
    p = np.array([[odds**2, odds, 1 - odds, 1 - odds**2]])
    slopes, intercepts = fit(x, np.ones((1, 4)), p)
    # ln(odds^2 / (1 - odds^2)) = -2 s at -2, and ln(odds / (1 - odds)) = -s at -1
    assert slopes[0] == pytest.approx(-np.log(odds), rel=1e-5)
    assert intercepts[0] == pytest.approx(0.0, abs=1e-5)
