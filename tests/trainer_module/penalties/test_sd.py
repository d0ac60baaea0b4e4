"""sd against a NumPy loop."""

import numpy as np
import pytest

from trainer_module.penalties import EnvironmentBatch, sd


def test_it_is_the_mean_of_the_environments_mean_squared_logits():
    random = np.random.default_rng(4)
    logits = random.normal(size=(9, 3))
    weights = random.uniform(0.2, 2.0, size=9)
    ids = np.array([0, 0, 0, 0, 0, 2, 2, 3, 3])  # unequal sizes, environment 1 absent
    expected = [
        np.average(np.mean(logits[ids == e] ** 2, axis=1), weights=weights[ids == e])
        for e in (0, 2, 3)
    ]
    batch = EnvironmentBatch(
        logits,
        random.integers(0, 3, size=9),
        ids,
        4,
        sample_weights=weights,
        task="multiclass",
    )
    assert float(sd(batch)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_one_logit_is_squared():
    batch = EnvironmentBatch([[3.0], [-1.0]], [[1.0], [0.0]], [0, 0], 1)
    assert float(sd(batch)) == pytest.approx(5.0)
