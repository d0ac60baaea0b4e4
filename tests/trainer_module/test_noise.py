"""Random numbers against their distributions; the same with XLA as without it."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from trainer_module import noise


def test_uniform_numbers_are():
    values = noise.uniform([40_000], 3).numpy()
    uniform = scipy.stats.uniform(-1, 2)
    assert scipy.stats.kstest(values, uniform.cdf).pvalue > 0.01
    assert np.abs(values).max() < 1


def test_normal_numbers_are_and_do_not_hang_on_each_other():
    values = noise.normal(8000, 5, 3).numpy()
    assert values.shape == (8000, 5)
    assert scipy.stats.kstest(values.reshape(-1), "norm").pvalue > 0.01
    np.testing.assert_allclose(np.corrcoef(values.T), np.eye(5), atol=0.05)
    np.testing.assert_allclose(np.corrcoef(np.square(values.T)), np.eye(5), atol=0.05)


def test_another_seed_gives_other_numbers():
    draws = [noise.uniform([4], seed).numpy() for seed in (0, 1, [0, 1], [1, 1])]
    for index, draw in enumerate(draws):
        assert all((draw != other).all() for other in draws[:index])
    np.testing.assert_array_equal(draws[1], noise.uniform([4], [1, 0]))


@pytest.mark.parametrize("seed", [[0, 0], [5, 2**30], [2**40, 2**50 + 1]])
def test_xla_gives_the_same_numbers(seed):
    def draw(seed):
        return noise.uniform([30, 7], seed), noise.normal(30, 7, seed)

    seed = tf.constant(seed, tf.int64)
    compiled = tf.function(draw, jit_compile=True)(seed)
    for found, expected in zip(compiled, draw(seed), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
