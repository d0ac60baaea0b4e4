"""ib_erm and ib_irm against NumPy loops and closed forms."""

import numpy as np
import pytest

from trainer_module.penalties import EnvironmentBatch, ib_erm, ib_irm, irm_v1

RANDOM = np.random.default_rng(2)
IDS = np.array([0, 2, 2, 0, 2, 3, 3, 0, 3, 2, 2])  # environment 1 is absent
ROWS = len(IDS)
ARRAYS = {
    "logits": RANDOM.normal(size=(ROWS, 3)),
    "labels": RANDOM.integers(0, 3, size=ROWS),
    "environment_ids": IDS,
    "representations": RANDOM.normal(1.0, 2.0, size=(ROWS, 4)),
    "sample_weights": RANDOM.uniform(0.2, 2.0, size=ROWS),
}


def make(**changes):
    return EnvironmentBatch(**(ARRAYS | changes), num_environments=5, task="multiclass")


@pytest.mark.parametrize("on", ["representations", "logits"])
def test_it_is_the_mean_variance_within_environments(on):
    expected = []
    for index in (0, 2, 3):
        rows, weights = ARRAYS[on][index == IDS], ARRAYS["sample_weights"][index == IDS]
        for column in rows.T:
            mean = np.average(column, weights=weights)
            expected.append(np.average((column - mean) ** 2, weights=weights))
    assert float(ib_erm(make(), on=on)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_differences_between_environments_cost_nothing():
    constant = IDS[:, None] * np.ones((1, 4)) * 7.0
    assert float(ib_erm(make(representations=constant))) == pytest.approx(0.0, abs=1e-9)


def test_a_large_mean_does_not_drown_the_variance():
    # 1000 and 1000.5 have the variance 1/16.
    column = np.where(np.arange(6) % 2, 1000.5, 1000.0)[:, None]
    batch = EnvironmentBatch(
        np.zeros((6, 1)), np.zeros((6, 1)), np.zeros(6, int), 1, representations=column
    )
    assert float(ib_erm(batch)) == pytest.approx(1 / 16, rel=1e-4)


@pytest.mark.parametrize("on", ["representations", "logits"])
def test_ib_irm_is_irm_v1_and_the_weighted_bottleneck(on):
    parts = float(irm_v1(make())), float(ib_erm(make(), on=on))
    value = float(ib_irm(make(), on=on, bottleneck_weight=2.5))
    assert value == pytest.approx(parts[0] + 2.5 * parts[1], rel=1e-5)
    assert float(ib_irm(make(), bottleneck_weight=0.0)) == pytest.approx(parts[0])
