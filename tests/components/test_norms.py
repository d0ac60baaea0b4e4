"""Norms: NumPy's values, and replicates that never promise too much."""

import itertools

import numpy as np
import pytest

from components import norms


def draw(rng, truth, blocks=20, errors=0.1):
    """Means of [blocks, M] draws around the truth, with their replicates."""
    parts = truth + rng.normal(size=(blocks, len(truth))) * errors * np.sqrt(blocks)
    total = parts.sum(axis=0)
    return total / blocks, (total - parts) / (blocks - 1)


@pytest.mark.parametrize(("norm", "order"), [(norms.l1, 1), (norms.l2, 2)])
def test_values_are_numpys(norm, order):
    vectors = np.random.default_rng(0).normal(size=(4, 7))
    found = norm(vectors, np.zeros((4, 20, 7)))
    expected = np.linalg.norm(vectors, ord=order, axis=1)
    np.testing.assert_allclose(found.value, expected, rtol=1e-14)


@pytest.mark.parametrize("norm", [norms.l1, norms.l2])
def test_replicates_touch_the_norm_and_lie_below_it(norm):
    rng = np.random.default_rng(1)
    vector = rng.normal(size=6)
    others = vector + rng.normal(size=(20, 6))
    order = 1 if norm is norms.l1 else 2
    found = norm(vector, np.vstack([others, vector]))
    assert found.replicates[-1] == pytest.approx(found.value)
    assert (
        found.replicates[:-1] <= np.linalg.norm(others, ord=order, axis=1) + 1e-12
    ).all()


def test_errors_are_those_of_the_mean():
    # Of a mean of K parts the jackknife is the usual standard error.
    rng = np.random.default_rng(2)
    parts = rng.normal(size=(20, 3))
    without = (parts.sum(axis=0) - parts) / 19
    expected = parts.std(axis=0, ddof=1) / np.sqrt(20)
    np.testing.assert_allclose(norms.jackknife_error(without), expected, rtol=1e-12)


@pytest.mark.parametrize("norm", [norms.l1, norms.l2])
@pytest.mark.parametrize("size", [1, 2, 10])
def test_noise_is_at_least_what_chance_gives(norm, size):
    rng = np.random.default_rng(3)
    found = [norm(*draw(rng, np.zeros(size))) for _ in range(1_000)]
    mean, noise = (np.mean([getattr(f, a) for f in found]) for a in ("value", "noise"))
    # Errors from 20 blocks are 1.3 % low on average; the mean is known to 3 %.
    assert mean < 1.05 * noise
    assert noise < 1.4 * mean


@pytest.mark.parametrize("size", [1, 2, 5])
def test_reach_bounds_the_error_of_every_touching_function(size):
    rng = np.random.default_rng(4)
    mixed = rng.normal(size=(size, size))
    _, replicates = draw(rng, np.zeros(size))
    replicates = replicates @ mixed
    covariance = np.atleast_2d(np.cov(replicates.T, ddof=0)) * 19  # the jackknife's

    def error(direction):
        return np.sqrt(direction @ covariance @ direction)

    signs = [np.array(s) for s in itertools.product([-1.0, 1.0], repeat=size)]
    most = max(map(error, signs))
    reach = norms.l1(replicates[0], replicates).reach
    assert most - 1e-12 <= reach <= sum(np.sqrt(np.diag(covariance))) + 1e-12
    largest = np.sqrt(np.linalg.eigvalsh(covariance)[-1])
    assert norms.l2(replicates[0], replicates).reach == pytest.approx(largest)


def test_no_difference_is_no_norm():
    for norm in (norms.l1, norms.l2):
        found = norm(np.zeros(3), np.zeros((20, 3)))
        assert found.value == found.noise == found.reach == 0
        assert (found.replicates == 0).all()
