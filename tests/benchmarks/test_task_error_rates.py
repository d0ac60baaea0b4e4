"""Models right on a bound pass at most as often as the confidence allows."""

import math
import zlib

import numpy as np
import pytest
from scipy import stats

from benchmarks import task_error_rates as rates

TRIALS = 400
# 5 % and three standard errors of so many trials.
MOST = 0.05 + 3 * math.sqrt(0.05 * 0.95 / TRIALS)
EVAL = {"split": "eval", "over": "environment"}


def rng_of(*what):
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def test_regressions_right_on_a_bound():
    law = rates.ERRORS["lognormal 0.75"]
    found = rates.regression(law, 300, TRIALS, False, rng_of("regression"))
    assert len(found) == 12
    assert {n: p for n, p in found.items() if p > MOST} == {}


def test_classes_right_on_a_bound():
    found = rates.multiclass(0.0, 300, TRIALS, 0.6, rng_of("classes"))
    assert {"worst.accuracy", "gap.log_loss", "calibration_slope"} <= set(found)
    assert {n: p for n, p in found.items() if p > MOST} == {}


def test_what_clearly_keeps_its_bound_passes():
    """Else a rule that passes nothing would do; a loss 25 % above the truth."""
    errors = rates.ERRORS["lognormal 0.5"]
    rng = rng_of("power")
    trial, blocks, _ = rates._blocks(rng, 100, 1_000, False)
    predictions = rng.normal(0, 1.5, len(trial))
    labels = predictions + errors.draw(rng, len(trial))
    rows = rates.Rows(labels, predictions, blocks, trial)
    results = list(rates.results_of("regression", rows, 100, "a"))
    checks = {"worst": {"mean_squared_error": {"max": 1.25 * errors.square, **EVAL}}}
    found = rates.pass_rates("regression", [results], checks)
    assert found["worst.mean_squared_error"] > 0.9


@pytest.mark.parametrize(
    ("law", "by"),
    [
        ("normal", stats.norm()),
        ("student 5", stats.t(5)),
        ("lognormal 0.75", None),
    ],
)
def test_the_truths_are_scipys(law, by):
    errors = rates.ERRORS[law]
    if by is None:  # the sign changes neither
        by = stats.lognorm(0.75)
    assert errors.square == pytest.approx(by.moment(2))
    assert errors.absolute == pytest.approx(by.expect(abs), rel=1e-5)
