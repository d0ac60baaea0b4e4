import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from scipy import stats

from components.invariance_validator import intervals, scales


def replicates_of_a_mean(blocks):
    """Of the mean of equal blocks, without each."""
    return (blocks.sum() - blocks) / (len(blocks) - 1)


def test_a_mean_of_equal_blocks_has_the_interval_of_the_textbook():
    # Of means of equal blocks the jackknife's error is s / sqrt(K), so the interval is
    # the t interval of the K block means, where these are symmetric.
    half = np.random.default_rng(0).normal(0.0, 0.1, 10)
    blocks = 0.7 + np.concatenate([half, -half])
    found = intervals.spread(blocks.mean(), replicates_of_a_mean(blocks))
    expected = stats.t.interval(0.95, df=19, loc=blocks.mean(), scale=stats.sem(blocks))
    assert found.limits(0.975) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_long_tail_moves_the_limit_on_its_side(sign):
    # Hall 1983: + z -> z + skewness / sqrt(n) (2 z^2 + 1) / 6; here three times.
    blocks = sign * np.random.default_rng(1).exponential(1.0, 20)
    found = intervals.spread(blocks.mean(), replicates_of_a_mean(blocks))
    t = stats.t.ppf(0.95, 19)
    more = 3 * abs(stats.skew(blocks)) / np.sqrt(20) * (2 * t**2 + 1) / 6
    low, high = np.array([t, t + more]) * stats.sem(blocks)
    if sign < 0:
        low, high = high, low
    expected = (blocks.mean() - low, blocks.mean() + high)
    assert found.limits(0.95) == pytest.approx(expected, abs=1e-9)


def test_a_ratio_has_the_limits_of_its_inverse():
    values = np.random.default_rng(2).normal(0.8, 0.02, 20)
    ratio = intervals.spread(1 / 0.8, 1 / values, scale=scales.INVERSE)
    low, high = intervals.spread(0.8, values).limits(0.95)
    assert ratio.limits(0.95) == pytest.approx((1 / high, 1 / low), abs=1e-12)


def test_a_ratio_whose_denominator_may_be_nothing_has_no_upper_limit():
    values = 0.8 + np.tile([0.2, -0.2], 10)
    low, high = intervals.spread(1 / 0.8, 1 / values, scale=scales.INVERSE).limits(0.95)
    assert 0 < low < 1.25
    assert high == np.inf


def test_the_limits_of_a_share_mirror_those_of_its_rest():
    values = np.random.default_rng(3).normal(0.97, 0.005, 20)
    low, high = intervals.spread(0.97, values, scale=scales.LOGIT).limits(0.95)
    rest = intervals.spread(0.03, 1 - values, scale=scales.LOGIT).limits(0.95)
    assert rest == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert 0 < low < 0.97 < high < 1


@pytest.mark.parametrize("hits", [0, 1, 45, 49, 50])
def test_a_share_has_at_least_the_exact_limits(make, hits):
    # Next to no spread between the blocks: what is left is Clopper and Pearson's.
    share = hits / 50
    spread = intervals.spread(share, share + 1e-6 * make.signs, units=50)
    exact = stats.binomtest(hits, 50).proportion_ci(0.95, method="exact")
    low, high = spread.limits(0.975)
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-4)


def test_a_share_of_rows_that_belong_together_is_of_fewer():
    # Korn and Graubard 1998: n p (1 - p) / (error^2 n) rows, times (z / t)^2.
    error = 2 * np.sqrt(0.99 * 0.01 / 400)
    spread = intervals.Spread(
        np.float64(0.99), np.float64(error), np.float64(19), units=400.0
    )
    size = 400 / 4 * (stats.norm.ppf(0.95) / stats.t.ppf(0.95, 19)) ** 2
    low, high = spread.limits(0.95)
    assert low == pytest.approx(stats.beta.ppf(0.05, 0.99 * size, 0.01 * size + 1))
    assert high == 1.0  # the t limit is beyond


def test_without_a_spread_a_share_is_one_of_its_blocks():
    spread = intervals.spread(1.0, np.ones(20), units=5_000, bare=20)
    low, high = spread.limits(0.95)
    assert (low, high) == (pytest.approx(0.05 ** (1 / 20)), 1.0)


def test_a_single_example_may_be_what_a_change_waits_for():
    # The rule of three: n examples without an event have at most -ln(0.05) / n.
    same = np.full(20, 0.9)
    moved = 0.9 + 0.01 * np.tile([1.0, -1.0], 10)
    found = intervals.difference(0.9, moved, 0.9, moved, step=1 / 1000)
    assert found.limits(0.95) == pytest.approx((-0.002996, 0.002996), abs=1e-6)
    assert not intervals.difference(0.9, same, 0.9, same).usable


@st.composite
def spreads(draw):
    values = draw(
        st.lists(st.floats(0.01, 0.99), min_size=20, max_size=20, unique=True)
    )
    scale = draw(st.sampled_from(scales.SCALES))
    units = draw(st.sampled_from([np.nan, 30.0, 1000.0]))
    value = draw(st.floats(0.01, 0.99))
    return intervals.spread(value, np.array(values), scale=scale, units=units)


@hypothesis.given(spreads(), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
@hypothesis.settings(deadline=None, max_examples=200)
def test_more_confidence_never_brings_limits_closer(spread, first, second):
    less, more = sorted([first, second])
    (low, high), (lower, higher) = spread.limits(less), spread.limits(more)
    assert lower <= low + 1e-9
    assert higher >= high - 1e-9
    assert low <= spread.value + 1e-9
    assert high >= spread.value - 1e-9


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
