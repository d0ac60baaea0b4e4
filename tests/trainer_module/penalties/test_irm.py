"""irm_v1 against finite differences in the scale, and where its value is known."""

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
