import numpy as np
import pytest
from scipy import stats

from components.invariance_validator import intervals


def test_a_mean_of_equal_blocks_has_the_interval_of_the_textbook():
    # Of means of equal blocks the jackknife's error is s / sqrt(K), so the interval is
    # the t interval of the K block means.
    blocks = np.random.default_rng(0).normal(0.7, 0.1, 20)
    replicates = (blocks.sum() - blocks) / 19
    found = intervals.spread(blocks.mean(), replicates)
    low, high = stats.t.interval(
        0.95, df=19, loc=blocks.mean(), scale=stats.sem(blocks)
    )
    half = found.half_width(0.975)
    assert found.value - half == pytest.approx(low, abs=1e-12)
    assert found.value + half == pytest.approx(high, abs=1e-12)


def test_quantiles_are_those_of_the_t_table(make):
    found = intervals.spread(0.7, make.estimate(0.7, 1.0).replicates)
    assert found.half_width(0.95) == pytest.approx(1.729, abs=5e-4)  # 19 dof
    assert found.half_width(0.99) == pytest.approx(2.539, abs=5e-4)
    assert found.half_width(0.5) == pytest.approx(0.0, abs=1e-12)


def test_blocks_without_examples_give_no_degrees_of_freedom(make):
    signs = np.where(np.arange(20) < 4, make.signs, 0.0)
    found = intervals.spread(0.7, make.estimate(0.7, 0.02, signs).replicates)
    assert found.dof == 3


@pytest.mark.parametrize(
    "replicates",
    [
        np.full(20, 1.0),  # without a single error
        np.full(20, 0.9),  # all alike, but not the value
        np.full(20, np.nan),
        np.append(np.full(19, 0.8), np.nan),
        np.append(np.full(19, 0.8), np.inf),
        np.append(np.full(19, 1.0), 0.9),  # one block varies
        np.array([0.9]),
        np.array([]),
    ],
)
def test_no_spread_is_not_certainty(replicates):
    found = intervals.spread(1.0, replicates)
    assert not found.usable
    assert np.isnan(found.half_width(0.95))


def test_what_two_slices_share_cancels(make):
    first, second = make.estimate(0.7, 0.05), make.estimate(0.6, 0.05)
    same = intervals.difference(0.7, first.replicates, 0.6, second.replicates)
    assert same.error == pytest.approx(0.0, abs=1e-12)
    assert same.usable
    against = make.estimate(0.6, 0.05, -make.signs)
    apart = intervals.difference(0.7, first.replicates, 0.6, against.replicates)
    assert apart.error == pytest.approx(0.1)


def test_other_blocks_cannot_be_compared(make):
    replicates = make.estimate(0.7).replicates
    with pytest.raises(ValueError, match="20 and 10 blocks"):
        intervals.difference(0.7, replicates, 0.6, replicates[:10])
