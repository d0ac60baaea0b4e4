"""caus_irl against two mixtures written out as samples of their own."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from trainer_module.penalties import EnvironmentBatch, caus_irl, causal
from trainer_module.penalties.batch import group_by_environment

SIZE, ENVIRONMENTS = 80, 4


def draw(seed=0):
    random = np.random.default_rng(seed)
    ids = random.choice([0, 1, 3], size=SIZE, p=[0.5, 0.3, 0.2]).astype(np.int32)
    outputs = random.normal(size=(SIZE, 3)) * (1 + ids[:, None]) + ids[:, None]
    weights = random.uniform(0.2, 2.0, size=SIZE)
    return outputs.astype(np.float32), ids, weights.astype(np.float32)


def batch_of(outputs, ids, weights):
    outputs = tf.constant(outputs)
    return EnvironmentBatch(
        outputs[:, :1],
        tf.zeros([len(ids), 1]),
        tf.constant(ids),
        ENVIRONMENTS,
        sample_weights=tf.constant(weights),
        representations=outputs,
    )


def mixtures(batch, seed=0):
    """Weights of the rows in the two mixtures."""
    environments = group_by_environment(batch)
    parts = causal._mixtures(environments, batch.representations, seed)
    own = batch.sample_weights / environments.of_rows(environments.total_weight)
    return [(own * environments.of_rows(part)).numpy() for part in parts]


def test_the_mixtures_share_out_each_row():
    outputs, ids, weights = draw()
    batch = batch_of(outputs, ids, weights)
    first, second = mixtures(batch)
    assert first.sum() == pytest.approx(1) == second.sum()
    # first = w p / a and second = w (1 - p) / b with constants a, b: solve for them
    # on one row of two environments, and find p in (0, 1) the same for all their rows.
    ratios = [first[ids == index] / second[ids == index] for index in (0, 1, 3)]
    for ratio in ratios:
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert len({round(float(ratio[0]), 4) for ratio in ratios}) == 3
    for rows in (first, second):
        shares = [rows[ids == index] / weights[ids == index] for index in (0, 1, 3)]
        for share in shares:
            np.testing.assert_allclose(share, share[0], rtol=1e-5)


@pytest.mark.parametrize("bandwidths", [None, [0.5, 2.0]], ids=["median", "list"])
def test_mmd_is_that_of_the_mixtures_as_samples(bandwidths):
    outputs, ids, weights = draw()
    batch = batch_of(outputs, ids, weights)
    first, second = mixtures(batch, seed=3)
    if bandwidths is None:
        variances = [np.median(pdist(outputs.astype(float), "sqeuclidean"))]
    else:
        variances = [s**2 for s in bandwidths]
    kernel = np.mean([rbf_kernel(outputs, outputs, 1 / (2 * v)) for v in variances], 0)
    expected = (
        first @ kernel @ first - 2 * first @ kernel @ second + second @ kernel @ second
    )
    result = caus_irl(batch, bandwidths=bandwidths, seed=3)
    assert float(result) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_coral_is_that_of_the_mixtures_as_samples():
    outputs, ids, weights = draw()
    batch = batch_of(outputs, ids, weights)
    means, covariances = [], []
    for share in mixtures(batch):
        means.append(np.average(outputs, axis=0, weights=share))
        covariances.append(np.cov(outputs.T, aweights=share, ddof=0))
    expected = np.mean((means[0] - means[1]) ** 2) + np.mean(
        (covariances[0] - covariances[1]) ** 2
    )
    result = caus_irl(batch, distance="coral")
    assert float(result) == pytest.approx(expected, rel=1e-4)


def test_random_features_take_over_above_the_limit(monkeypatch):
    batch = batch_of(*draw())
    exact = float(caus_irl(batch))
    monkeypatch.setattr("trainer_module.penalties.kernels.EXACT_UP_TO", 10)
    approximate = float(caus_irl(batch))
    assert approximate != pytest.approx(exact, rel=1e-6)
    assert approximate == pytest.approx(exact, rel=0.3)


def test_the_next_batch_and_another_seed_get_other_mixtures():
    outputs, ids, weights = draw()
    firsts = [
        mixtures(batch_of(*arrays), seed)[0]
        for arrays, seed in (
            ((outputs, ids, weights), 0),
            ((outputs, ids, weights), 1),
            ((draw(seed=1)[0], ids, weights), 0),
        )
    ]
    for index in range(3):
        other = firsts[(index + 1) % 3]
        assert np.abs(firsts[index] - other).max() > 1e-3


def test_proportions_are_uniform_over_batches():
    """The first of two equal environments: its part of the first mixture."""
    shares = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        outputs = random.normal(size=(20, 2)).astype(np.float32)
        batch = batch_of(outputs, np.arange(20) % 2, np.ones(20, np.float32))
        environments = group_by_environment(batch)
        first, _ = causal._mixtures(environments, batch.representations, 0)
        shares.append(float(first[0]))
    # p / (p + q) of independent uniform p and q: mean 1/2, median 1/2, a quarter of
    # it below 1/3 (p < q / 2), and it is never the same for long.
    shares = np.array(shares)
    assert shares.mean() == pytest.approx(0.5, abs=0.06)
    assert np.mean(shares < 1 / 3) == pytest.approx(0.25, abs=0.1)
    assert len(np.unique(shares)) > 250


def test_rounding_does_not_change_the_draw():
    outputs, ids, weights = draw()
    expected = mixtures(batch_of(outputs, ids, weights))[0]
    rounded = np.float32(outputs * np.float32(1.0000005))
    np.testing.assert_allclose(
        mixtures(batch_of(rounded, ids, weights))[0], expected, rtol=1e-6
    )
