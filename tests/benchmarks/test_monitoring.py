"""A short version of the year of daily looks."""

import numpy as np
import pytest
import scipy.stats

from benchmarks import monitoring


def test_false_alarms_are_as_rare_as_the_confidence_asks():
    runs = 150
    alarms = monitoring.false_alarms(runs, 1.0, seed=1, days=150)
    least = scipy.stats.beta.ppf(0.001, alarms, runs - alarms + 1) if alarms else 0.0
    assert least <= 1 - monitoring.CONFIDENCE


@pytest.mark.parametrize("kind", ["risk", "errors", "gap"])
@pytest.mark.parametrize("good_days", [0, 60])
def test_drift_is_found(kind, good_days):
    """In more days than a bet of 0.9 could take, and in fewer than docs tell."""
    size = 0.2 if kind == "gap" else 1.0
    found = monitoring.days_to_alarm(kind, 60, size, good_days, seed=2, days=60)
    assert np.isfinite(found).mean() == 1
    assert 5 <= np.median(found) <= 40


@pytest.mark.parametrize("kind", list(monitoring.KINDS))
def test_the_draws_have_the_means_that_they_say(kind):
    draw, bound = monitoring.KINDS[kind]
    values = draw(np.random.default_rng(3), 4_000, bound)
    days = (values[0] - values[1] if kind == "gap" else values).mean(axis=1)
    error = days.std() / np.sqrt(len(days))
    assert days.mean() == pytest.approx(bound, abs=4 * error)
