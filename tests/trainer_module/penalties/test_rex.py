"""v_rex against NumPy and a closed form; mm_rex against a linear program."""

import numpy as np
import pytest
import scipy.optimize

from trainer_module.penalties import EnvironmentBatch, mm_rex, v_rex


def test_it_is_the_variance_of_the_risks():
    random = np.random.default_rng(5)
    logits = random.normal(size=12)
    labels = random.integers(0, 2, size=12)
    weights = random.uniform(0.1, 2.0, size=12)
    ids = np.arange(12) % 3
    losses = np.log1p(np.exp(-np.where(labels == 1, logits, -logits)))
    risks = [
        np.average(losses[ids == index], weights=weights[ids == index])
        for index in range(3)
    ]
    batch = EnvironmentBatch(
        logits[:, None], labels[:, None], ids, 3, sample_weights=weights
    )
    assert float(v_rex(batch)) == pytest.approx(np.var(risks), rel=1e-4)


def test_two_regression_risks_have_a_quarter_of_their_squared_difference():
    # Errors 1 and 3: risks 1 and 9, variance ((9 - 1) / 2)^2.
    batch = EnvironmentBatch(
        np.array([[1.0], [3.0]]), np.zeros((2, 1)), [0, 1], 2, task="regression"
    )
    assert float(v_rex(batch)) == pytest.approx(16.0)


def risks_as_batch(risks, size=None, ids=None):
    """A regression in which environment e has the risk risks[e]."""
    logits = np.sqrt(risks)[:, None]
    ids = np.arange(len(risks)) if ids is None else ids
    size = size or len(risks)
    return EnvironmentBatch(logits, 0 * logits, ids, size, task="regression")


@pytest.mark.parametrize("lambda_min", [-3.0, -1.0, 0.0, 0.1, 0.25])
def test_mm_rex_is_the_worst_affine_combination(lambda_min):
    risks = np.array([0.4, 1.7, 0.9, 1.1])
    program = scipy.optimize.linprog(
        -risks,
        A_eq=np.ones((1, 4)),
        b_eq=[1],
        bounds=[(lambda_min, None)] * 4,
    )
    value = float(mm_rex(risks_as_batch(risks), lambda_min=lambda_min))
    assert value == pytest.approx(-program.fun, rel=1e-5)


def test_mm_rex_counts_the_environments_that_are_present():
    risks = np.array([0.4, 1.7, 0.9])
    absent = risks_as_batch(risks, size=7, ids=[5, 0, 3])
    assert float(mm_rex(absent)) == pytest.approx(4 * 1.7 - risks.sum(), rel=1e-5)


def test_mm_rex_is_the_mean_risk_at_one_over_the_environments_and_no_more():
    risks = np.array([0.4, 1.7, 0.9])
    batch = risks_as_batch(risks)
    assert float(mm_rex(batch, lambda_min=1 / 3)) == pytest.approx(risks.mean())
    with pytest.raises(ValueError, match=r"lambda_min.*0\.34.*at most 1 / 3 = 0\.333"):
        mm_rex(batch, lambda_min=0.34)


def test_mm_rex_of_equal_risks_is_the_risk():
    assert float(mm_rex(risks_as_batch(np.full(3, 0.7)))) == pytest.approx(0.7)
