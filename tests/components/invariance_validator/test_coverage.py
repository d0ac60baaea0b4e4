"""How often a model that just misses its bound passes all the same: simulated days.

Each trial draws days with their own difficulty, hashes them to 20 blocks and makes
delete-one-block replicates the way that the Evaluator does.
"""

import numpy as np
import pytest
from scipy import stats

from components.evaluator.results import Estimate, SliceResult
from components.invariance_validator.decision import decide

TRIALS = 1500
DAYS = 73  # a fifth of a year


def simulate(rng, slices, trials=TRIALS, shared=0.0, skewed=False):
    """Means over days as (values [trials, slices], replicates [trials, slices, 20]).

    The truth is 0.7 in every slice. `shared` of a day's deviation is common to slices.
    Skewed days deviate as an exponential law does, most a little down, few far up.
    """
    block = rng.integers(0, 20, (trials, 1, DAYS))
    sizes = rng.poisson(50, (trials, slices, DAYS)) + 1
    common = rng.normal(0, 0.1 * np.sqrt(shared), (trials, 1, DAYS))
    own = rng.normal(0, 0.1 * np.sqrt(1 - shared), (trials, slices, DAYS))
    if skewed:
        own = 0.1 * (rng.exponential(1.0, (trials, slices, DAYS)) - 1)
    sums = sizes * (0.7 + common + own)
    inside = block[..., None] == np.arange(20)  # [trials, 1, DAYS, 20]
    by_block = np.einsum("tsd,tudk->tsk", sums, inside)
    size_by_block = np.einsum("tsd,tudk->tsk", sizes.astype(float), inside)
    total, size = by_block.sum(-1), size_by_block.sum(-1)
    without = (total[..., None] - by_block) / (size[..., None] - size_by_block)
    return total / size, without


def share_of(verdict, values, replicates, checks, confidence, metric="auc"):
    found = 0
    for value, rows in zip(values, replicates, strict=True):
        results = [
            SliceResult(
                split="eval",
                slice=(("environment", str(i)),),
                model="candidate",
                examples=1000,
                positives=500,
                metrics={metric: Estimate(float(value[i]), rows[i])},
                calibration=(),
            )
            for i in range(len(value))
        ]
        rule = {"confidence": confidence}
        found += decide(results, {}, checks, rule).verdict == verdict
    return found


def at_most(found, probability):
    """Whether a count is compatible with a probability of at most so much."""
    return found <= stats.binom.ppf(0.9995, TRIALS, probability)


@pytest.mark.parametrize("bound", [{"min": 0.7}, {"max": 0.7}])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_one_slice_at_the_bound_passes_as_often_as_the_confidence_says(
    bound, confidence
):
    values, replicates = simulate(np.random.default_rng(1), 1)
    checks = {"worst": {"auc": {**bound, "over": "environment"}}}
    found = share_of("PASS", values, replicates, checks, confidence)
    assert at_most(found, 1 - confidence)
    # Not by being so careful that nothing ever passes.
    assert found >= stats.binom.ppf(0.0005, TRIALS, 1 - confidence)


def test_skewed_days_do_not_break_the_promise():
    # A t limit alone passes 7.9 % of these.
    values, replicates = simulate(np.random.default_rng(5), 1, skewed=True)
    checks = {"worst": {"log_loss": {"max": 0.7, "over": "environment"}}}
    found = share_of("PASS", values, replicates, checks, 0.95, "log_loss")
    assert at_most(found, 0.05)
    assert found >= stats.binom.ppf(0.0005, TRIALS, 0.025)


def test_a_gap_at_the_bound_passes_as_often_as_the_confidence_says():
    # Days are mostly shared; the second slice lies 0.05 below the first.
    values, replicates = simulate(np.random.default_rng(2), 2, shared=0.8)
    values[:, 1] -= 0.05
    replicates[:, 1] -= 0.05
    checks = {"gap": {"auc": {"max": 0.05, "over": "environment"}}}
    found = share_of("PASS", values, replicates, checks, 0.95)
    assert at_most(found, 0.05)
    assert found >= stats.binom.ppf(0.0005, TRIALS, 0.05)


def test_with_many_slices_one_at_the_bound_is_enough_to_hold_it():
    values, replicates = simulate(np.random.default_rng(3), 8)
    values[:, 1:] += 0.3
    replicates[:, 1:] += 0.3
    checks = {"worst": {"auc": {"min": 0.7, "over": "environment"}}}
    assert at_most(share_of("PASS", values, replicates, checks, 0.95), 0.05)


def test_false_fails_of_many_slices_stay_rare():
    values, replicates = simulate(np.random.default_rng(4), 8)
    checks = {"worst": {"auc": {"min": 0.7, "over": "environment"}}}
    assert at_most(share_of("FAIL", values, replicates, checks, 0.95), 0.05)
