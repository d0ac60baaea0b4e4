"""Calibration error and distances between scores, against scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve

from components import norms
from components.evaluator import distribution
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS

from .test_measures import draw, statistics


def coarse(y, p, blocks=None, weights=None):
    return statistics(y, p, blocks, weights).coarse


def test_the_calibration_error_is_that_of_scikit_learns_curve():
    # Ten predictions, equally often: each is a bin of its own, however cut.
    rng = np.random.default_rng(0)
    p = np.repeat(np.linspace(0.05, 0.93, 10), 200).astype(np.float32)
    y = (rng.random(len(p)) < p * 0.8).astype(float)
    truth, predicted = calibration_curve(y, p, n_bins=10, strategy="quantile")
    found = distribution.calibration_error(coarse(y, p))
    assert found.value == pytest.approx(np.mean(np.abs(truth - predicted)), abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_bins_hold_about_equal_weight_and_are_a_loops(weighted):
    y, p, blocks = draw(4_000, seed=1, slope=0.5)
    w = np.random.default_rng(2).gamma(2.0, size=len(y)) if weighted else np.ones(4_000)
    z = np.log(p.astype(float)) - np.log1p(-p.astype(float))
    bins = st.coarse_bins(z)
    part, seen = {}, 0.0
    for b in np.unique(bins):
        weight = w[bins == b].sum()
        part[b] = int((seen + weight / 2) / w.sum() * 10)
        seen += weight
    parts = np.array([part[b] for b in bins])
    shares = np.bincount(parts, w, 10) / w.sum()
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)

    def error(rows, signs=None):
        sums = np.array([np.sum((w * (p - y))[rows & (parts == b)]) for b in range(10)])
        signs = np.sign(sums) if signs is None else signs
        return signs @ sums / w[rows].sum(), signs

    found = distribution.calibration_error(coarse(y, p, blocks, w))
    value, signs = error(np.ones(len(y), bool))
    assert found.value == pytest.approx(value, abs=1e-9)
    for block in range(BLOCKS):
        assert found.replicates[block] == pytest.approx(
            error(blocks != block, signs)[0], abs=1e-9
        )


def test_noise_is_what_a_calibrated_model_shows_on_average():
    values, noises = [], []
    for seed in range(200):
        y, p, blocks = draw(600, seed=900 + seed, slope=1.0, intercept=0.0)
        found = distribution.calibration_error(coarse(y, p, blocks))
        values.append(found.value)
        noises.append(found.noise)
    # The jackknife's error of 20 blocks is 1 % low on average (E of a chi with 19).
    assert np.mean(values) == pytest.approx(np.mean(noises), rel=0.05)


def distance(a, b):
    return norms.l1(a[0] - b[0], a[1:] - b[1:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"centre": -1.0}, {"centre": -0.6}),
        ({"spread": 1.2}, {"spread": 0.4}),
        ({"centre": -5.0, "spread": 0.5}, {"centre": -5.3, "spread": 0.5}),
        ({"spread": 3.0}, {"spread": 3.5}),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_sketches_give_scipys_wasserstein_distance(one, other, weighted):
    sketches, scores, weights = [], [], []
    for seed, shape in enumerate((one, other)):
        y, p, blocks = draw(3_000, seed=seed, **shape)
        w = np.random.default_rng(seed).gamma(2.0, size=len(y))
        weights.append(w if weighted else np.ones(len(y)))
        scores.append(p.astype(float))
        sketches.append(distribution.score_sketch(coarse(y, p, blocks, weights[-1])))
    expected = stats.wasserstein_distance(*scores, *weights)
    found = distance(*sketches).value
    assert found <= expected + 1e-9
    assert found == pytest.approx(expected, rel=0.01)


def test_a_shift_is_told_exactly():
    p = np.random.default_rng(0).uniform(0.1, 0.4, 500)
    y = np.zeros(500)
    shifted = p.astype(np.float32) + np.float32(0.25)
    found = distance(
        *(distribution.score_sketch(coarse(y, x)) for x in (p, shifted))
    ).value
    assert found == pytest.approx(0.25, abs=1e-6)


def test_a_sketch_without_a_block_is_that_of_the_other_blocks():
    y, p, blocks = draw(700, seed=3)
    blocks %= 7
    found = distribution.score_sketch(coarse(y, p, blocks))
    assert found.shape == (1 + BLOCKS, distribution.SCORE_BINS)
    for block in range(7):
        rest = blocks != block
        again = distribution.score_sketch(coarse(y[rest], p[rest], blocks[rest]))
        np.testing.assert_allclose(found[1 + block], again[0], atol=1e-12)
    assert (found[8:] == found[0]).all()


def test_what_is_undefined_is_nan():
    y, p, blocks = draw(100, seed=4)
    for made in (coarse(y, p, blocks, np.zeros(100)), coarse(y, p * np.nan, blocks)):
        assert np.isnan(distribution.calibration_error(made).value)
        assert np.isnan(distribution.score_sketch(made)[0]).any()
