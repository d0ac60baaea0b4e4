"""The bet on an AUC that the monitor does not make is a fair one."""

import numpy as np
import pytest

from benchmarks import monitoring_auc as measured


def test_the_excess_is_that_of_a_loop_over_pairs():
    rng = np.random.default_rng(1)
    one, other = (
        (rng.integers(0, 5, n).astype(float), rng.random(n) < 0.4) for n in (17, 23)
    )
    wanted = 0.0
    for s, y in zip(*one, strict=True):
        for t, z in zip(*other, strict=True):
            if y != z:
                up, down = (s, t) if y else (t, s)
                wanted += 0.7 - (1.0 if up > down else 0.5 if up == down else 0.0)
    assert measured.excess(one, other, 0.7) == pytest.approx(wanted / (17 * 23))


def test_on_its_bound_the_mean_excess_is_none():
    """AUC = Phi(d / sqrt 2) of normal scores a distance d apart."""
    rng = np.random.default_rng(2)
    days = [measured.draw(rng, 0.7) for _ in range(800)]
    pairs = zip(days[::2], days[1::2], strict=True)
    found = np.array([measured.excess(a, b, 0.7) for a, b in pairs])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))
    assert found.std() < 0.05


def test_a_season_makes_the_year_look_better_than_its_days():
    rng = np.random.default_rng(3)
    assert measured.year_auc(rng, 0.68, 0.0) == pytest.approx(0.68, abs=0.01)
    assert measured.year_auc(rng, 0.68, measured.SEASON) > measured.SEASON_BOUND
