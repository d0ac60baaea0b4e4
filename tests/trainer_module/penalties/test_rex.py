"""v_rex against a NumPy loop and a closed form."""

import numpy as np
import pytest

from trainer_module.penalties import EnvironmentBatch, v_rex


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
