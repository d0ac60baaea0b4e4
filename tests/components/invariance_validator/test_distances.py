"""How often a norm at its bound passes, or at nothing fails: simulated days.

A PASS may come with a probability of at most 1 - confidence where the truth is the
bound, a FAIL where the truth is 0 and the bound above it.
"""

import numpy as np
import pytest
from scipy import stats

from components.evaluator import distribution
from components.evaluator import statistics as st
from components.evaluator.results import Estimate, SliceResult
from components.invariance_validator import distances
from components.invariance_validator.decision import decide

TRIALS = 300
DAYS, A_DAY = 73, 20
PASS, FAIL = "PASS", "FAIL"


def at_most(found, probability=0.05):
    """Whether a count is compatible with a probability of at most so much."""
    return found <= stats.binom.ppf(0.9995, TRIALS, probability)


def undecided(found):
    """Whether PASS and FAIL are both as rare as they must be at the bound."""
    return at_most(found.count(PASS)) and at_most(found.count(FAIL))


def slice_of(name, labels, scores, days, block_of_day, split="eval"):
    """What the Evaluator would measure on these examples."""
    rows = st.rows_of(labels, scores, np.ones(len(labels)))
    blocks = block_of_day[days]
    made = st.group(rows, blocks, np.zeros(len(labels), np.int64), 1)[0]
    error = distribution.calibration_error(made.coarse)
    scores = distribution.score_sketch(made.coarse)
    means = 1 - scores.sum(axis=1)  # the area above a distribution function
    return SliceResult(
        split=split,
        slice=(("environment", name),),
        model="candidate",
        examples=len(labels),
        positives=int(labels.sum()),
        metrics={
            "calibration_error": Estimate(
                error.value, error.replicates, error.noise, error.reach
            ),
            "mean_prediction": Estimate(means[0], means[1:]),
        },
        calibration=(),
        scores=scores,
    )


def world(rng, shift=0.0, offset=0.0, swing=0.1, shock=0.0):
    """Two environments: the second's scores `shift` higher, labels off by `offset`.

    Every day moves all of its scores by up to `swing`, both environments alike by half,
    and the chance of its labels by up to `shock`.
    """
    block_of_day = rng.integers(0, 20, DAYS)
    days = np.repeat(np.arange(DAYS), A_DAY)
    common = rng.uniform(-swing / 2, swing / 2, DAYS)
    results = []
    for i, name in enumerate(("A", "B")):
        own = rng.uniform(-swing / 2, swing / 2, DAYS)
        scores = 0.4 + (common + own)[days] + rng.uniform(-0.2, 0.2, len(days))
        scores += shift * i
        chance = scores + offset + rng.uniform(-shock, shock, DAYS)[days]
        labels = (rng.random(len(days)) < chance).astype(float)
        results.append(slice_of(name, labels, scores, days, block_of_day))
    return results


def verdicts(checks, **shape):
    rng = np.random.default_rng(7)
    return [decide(world(rng, **shape), {}, checks).verdict for _ in range(TRIALS)]


@pytest.mark.parametrize("distance", [0.005, 0.01, 0.04])
def test_a_score_distance_at_the_bound_rarely_passes_or_fails(distance):
    # A shift moves every quantile alike: the distance is the shift.
    checks = {"score_distance": {"max": distance, "over": "environment"}}
    assert undecided(verdicts(checks, shift=distance))


def test_scores_that_agree_rarely_fail_and_pass_a_wide_bound():
    strict = {"score_distance": {"max": 1e-6, "over": "environment"}}
    assert at_most(verdicts(strict).count(FAIL))
    wide = {"score_distance": {"max": 0.04, "over": "environment"}}
    assert verdicts(wide).count(PASS) > 0.9 * TRIALS


def test_scores_far_apart_fail():
    checks = {"score_distance": {"max": 0.01, "over": "environment"}}
    assert verdicts(checks, shift=0.06).count(FAIL) > 0.9 * TRIALS


@pytest.mark.parametrize(
    ("error", "shock"), [(0.03, 0.0), (0.08, 0.0), (0.03, 0.15), (0.05, 0.15)]
)
def test_a_calibration_error_at_the_bound_rarely_passes_or_fails(error, shock):
    # Labels are off by the same everywhere: that is the error of every bin. A bad day
    # moves all bins at once.
    checks = {"calibration_error": {"max": error, "over": "environment"}}
    assert undecided(verdicts(checks, offset=error, shock=shock))


def test_a_calibrated_model_rarely_fails_and_passes_a_wide_bound():
    strict = {"calibration_error": {"max": 1e-6, "over": "environment"}}
    assert at_most(verdicts(strict, shock=0.15).count(FAIL))
    wide = {"calibration_error": {"max": 0.1, "over": "environment"}}
    assert verdicts(wide).count(PASS) > 0.9 * TRIALS


def risks(rng, truth, trials, error=0.02):
    """Means of 20 blocks around each environment's risk: [trials, E, 21]."""
    noise = rng.normal(size=(trials, len(truth), 20)) * error * np.sqrt(20)
    parts = np.asarray(truth)[:, None] + noise
    total = parts.sum(axis=-1, keepdims=True)
    return np.concatenate([total / 20, (total - parts) / 19], axis=-1)


def risk_verdicts(truth, bound):
    checks = {"risk_variance": {"max": bound, "over": "environment"}}
    found = []
    for trial in risks(np.random.default_rng(3), truth, TRIALS):
        results = [
            SliceResult(
                split="eval",
                slice=(("environment", str(i)),),
                model="candidate",
                examples=1000,
                positives=500,
                metrics={"log_loss": Estimate(float(row[0]), row[1:])},
                calibration=(),
            )
            for i, row in enumerate(trial)
        ]
        found.append(decide(results, {}, checks).verdict)
    return found


@pytest.mark.parametrize("truth", [[0.5, 0.55], [0.5, 0.5, 0.6], [0.4, 0.45, 0.5, 0.5]])
def test_a_variance_at_the_bound_rarely_passes_or_fails(truth):
    assert undecided(risk_verdicts(truth, np.var(truth)))


def test_risks_that_agree_rarely_fail_and_pass_a_wide_bound():
    truth = [0.5] * 4
    assert at_most(risk_verdicts(truth, 1e-8).count(FAIL))
    assert risk_verdicts(truth, 0.05**2).count(PASS) > 0.9 * TRIALS


def test_risks_far_apart_fail():
    assert risk_verdicts([0.3, 0.5, 0.7], 0.1**2).count(FAIL) > 0.9 * TRIALS


def test_the_variance_is_numpys_and_its_error_the_delta_methods():
    (trial,) = risks(np.random.default_rng(4), [0.2, 0.5, 0.9], 1, error=0.01)
    estimates = [Estimate(row[0], row[1:]) for row in trial]
    found = distances.of_variance(estimates)
    assert found.value[0] == pytest.approx(np.var(trial[:, 0]), rel=1e-12)
    # Of the root: gradient (R_e - mean R) / (E sd) times independent errors.
    errors = np.array([np.std(row[1:] * 19, ddof=1) / np.sqrt(20) for row in trial])
    gradient = (trial[:, 0] - trial[:, 0].mean()) / 3 / np.sqrt(found.value[0])
    # The draws of 20 blocks are not exactly uncorrelated.
    expected = np.sqrt(np.sum((gradient * errors) ** 2))
    assert found.error[0] == pytest.approx(expected, rel=0.3)
    low, high = found.limits(0.95)
    assert low[0] < found.value[0] < high[0]


def test_a_distance_to_itself_is_nothing_and_certain():
    one, _ = world(np.random.default_rng(5))
    found = distances.of_scores(one, [one])
    assert found.value[0] == found.noise[0] == 0
    assert found.usable[0]
    low, high = found.limits(0.95)
    assert low[0] == high[0] == 0
