"""Limits of losses without an upper end, against plain formulas and search."""

import numpy as np
import pytest
from scipy import stats

from components.evaluator.results import Estimate
from components.invariance_validator import distances, intervals, scales

BLOCKS = 20


def drawn(seed, mean=2.0):
    """A mean with its replicates, of 20 skewed blocks of the same size."""
    blocks = mean * np.random.default_rng(seed).gamma(2.0, 0.5, BLOCKS)
    return blocks.mean(), (blocks.sum() - blocks) / (BLOCKS - 1)


def plain(value, replicates, confidence, there, back):
    """Limits on one scale, written out: t and three times Cornish and Fisher's term."""
    moved = there(replicates)
    deviations = moved - moved.mean()
    error = np.sqrt((BLOCKS - 1) / BLOCKS * np.sum(deviations**2))
    # scipy's skewness is of a mean square; over the root of the number of blocks.
    skew = -stats.skew(moved) / np.sqrt(BLOCKS)
    t = stats.t(BLOCKS - 1).ppf(confidence)
    below = (t + 3 * max(0, -skew) * (2 * t**2 + 1) / 6) * error
    above = (t + 3 * max(0, skew) * (2 * t**2 + 1) / 6) * error
    return sorted([back(there(value) - below), back(there(value) + above)])


def same(x):
    return x


def inverse(x):
    return 1 / x


def of_two(value, replicates, confidence):
    """The outer of both scales."""
    found = [
        plain(value, replicates, confidence, there, there) for there in (same, inverse)
    ]
    return min(low for low, _ in found), max(high for _, high in found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_outer_of_both_scales_counts(seed, confidence):
    value, replicates = drawn(seed)
    expected = of_two(value, replicates, confidence)
    found = intervals.spread(value, replicates, scale=scales.LOSS)
    np.testing.assert_allclose(found.limits(confidence), expected)
    root = intervals.spread(value**0.5, replicates**0.5, scale=scales.ROOT)
    np.testing.assert_allclose(np.square(root.limits(confidence)), expected)
    explained = intervals.spread(1 - value, 1 - replicates, scale=scales.EXPLAINED)
    low, high = explained.limits(confidence)
    np.testing.assert_allclose([1 - high, 1 - low], expected)
    stacked = intervals.stack([found, found]).limits(confidence)
    np.testing.assert_allclose(np.transpose(stacked), [expected, expected])


def test_where_the_inverse_may_be_0_there_is_no_upper_limit():
    blocks = np.full(BLOCKS, 0.1) + 0.01 * np.arange(BLOCKS)
    blocks[3] = 50.0  # nearly all of it in one block
    value, replicates = blocks.mean(), (blocks.sum() - blocks) / (BLOCKS - 1)
    found = intervals.spread(value, replicates, scale=scales.LOSS)
    assert found.limits(0.95)[1] == np.inf
    share = intervals.spread(1 - value, 1 - replicates, scale=scales.EXPLAINED)
    assert share.limits(0.95)[0] == -np.inf


def test_no_loss_at_all_is_no_certainty():
    found = intervals.spread(0.0, np.zeros(BLOCKS), scale=scales.LOSS)
    assert not found.usable
    assert np.isnan(found.limits(0.95)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_difference_is_no_surer_than_its_numbers(seed):
    """Zou's limits, from those of each and the correlation of their replicates."""
    (a, of_a), (b, of_b) = drawn(seed), drawn(seed + 50, mean=1.0)
    (low_a, high_a), (low_b, high_b) = of_two(a, of_a, 0.95), of_two(b, of_b, 0.95)
    r = np.corrcoef(of_a, of_b)[0, 1]

    def together(x, y):
        return np.sqrt(x**2 + y**2 - 2 * r * x * y)

    below, above = together(a - low_a, high_b - b), together(high_a - a, b - low_b)
    alone = intervals.difference(a, of_a, b, of_b).limits(0.95)
    found = intervals.difference(a, of_a, b, of_b, scale=scales.LOSS)
    expected = [min(alone[0], a - b - below), max(alone[1], a - b + above)]
    np.testing.assert_allclose(found.limits(0.95), expected)
    paired = intervals.difference(
        a, of_a, b, of_b, scale=scales.LOSS, paired=True
    ).limits(0.95)
    np.testing.assert_allclose(paired, alone)
    many = intervals.difference(
        a, of_a, [b, b], np.stack([of_b, of_b]), scale=scales.LOSS
    )
    np.testing.assert_allclose(np.transpose(many.limits(0.95)), [expected, expected])


def test_a_drop_is_the_difference_that_its_better_end_says():
    (a, of_a), (b, of_b), (c, of_c) = (drawn(seed) for seed in range(3))
    trained = [Estimate(a, of_a), Estimate(b, of_b)]
    mean, of_mean = (a + b) / 2, (of_a + of_b) / 2
    for better, scale in (("lower", scales.LOSS), ("higher", scales.EXPLAINED)):
        pair = [(mean, of_mean), (c, of_c)]
        if better == "higher":
            trained = [Estimate(1 - e.value, 1 - e.replicates) for e in trained]
            pair = [(1 - value, 1 - replicates) for value, replicates in pair]
        one, other = pair if better == "higher" else pair[::-1]
        expected = intervals.difference(*one, *other, scale=scale)
        found = distances.of_drop(trained, Estimate(*pair[1]), better, scale)
        np.testing.assert_allclose(found.value, [c - mean])
        np.testing.assert_allclose(
            np.ravel(found.limits(0.95)), expected.limits(0.95), rtol=1e-9
        )


def test_a_variance_reaches_as_far_as_any_direction():
    """By search over directions that sum to 0."""
    reaches = np.array([0.3, 1.0, 0.2, 0.7])
    directions = np.random.default_rng(0).normal(size=(200_000, 4))
    directions -= directions.mean(axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    farthest = np.sqrt((directions**2 * reaches**2).sum(axis=1).max() / 4)
    assert distances._farthest(reaches) == pytest.approx(farthest, rel=1e-3)
    two = distances._farthest(np.array([0.3, 0.4]))
    assert two == pytest.approx(0.25)  # the root of (0.09 + 0.16) / 4
    assert distances._farthest(np.array([0.3, np.inf])) == np.inf
    assert np.isnan(distances._farthest(np.array([0.3, np.nan])))


def test_the_variance_of_losses_takes_their_own_limits():
    estimates = [Estimate(*drawn(seed, mean)) for seed, mean in ((0, 2.0), (1, 1.0))]
    half = []
    for estimate in estimates:
        low, high = of_two(estimate.value, estimate.replicates, 0.95)
        half.append(max(high - estimate.value, estimate.value - low))
    norm = abs(estimates[0].value - estimates[1].value) / 2
    plain_limit = distances.of_variance(estimates).limits(0.95)[1][0]
    found = distances.of_variance(estimates, scales.LOSS)
    expected = max((norm + np.sqrt(np.sum(np.square(half)) / 4)) ** 2, plain_limit)
    assert found.limits(0.95)[1][0] == pytest.approx(expected)
