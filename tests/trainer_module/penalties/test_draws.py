"""Numbers that a batch decides: their distribution, by scipy's tests."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from trainer_module.penalties import draws

COUNT = 20_000


def key(number):
    return tf.constant(number, tf.int64)


def test_uniform_numbers_are_uniform_and_never_reach_an_end():
    numbers = draws.uniform(draws.mix(tf.range(COUNT, dtype=tf.int64))).numpy()
    assert scipy.stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert numbers.min() > 0
    assert numbers.max() < 1
    ends = draws.uniform(tf.constant([0, -1], tf.int64)).numpy()
    assert 0 < ends[0] < ends[1] < 1


def test_normal_numbers_are_normal_and_independent():
    numbers = draws.normal(key(5), [COUNT // 100, 100]).numpy()
    assert scipy.stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    other = draws.normal(key(6), [COUNT // 100, 100]).numpy()
    for left, right in (
        (numbers, other),
        (numbers[1:], numbers[:-1]),
        (numbers[:, 1:], numbers[:, :-1]),
    ):
        correlation = np.corrcoef(left.ravel(), right.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(COUNT)


def test_they_are_the_same_with_xla():
    compiled = tf.function(lambda k: draws.normal(k, [20, 3]), jit_compile=True)
    np.testing.assert_allclose(
        compiled(key(7)), draws.normal(key(7), [20, 3]), rtol=1e-5, atol=1e-6
    )


def test_mixing_is_one_to_one():
    numbers = draws.mix(tf.range(COUNT, dtype=tf.int64) * 2**40).numpy()
    assert len(np.unique(numbers)) == COUNT


@pytest.mark.parametrize("bit", [0, 17, 62])
def test_each_bit_moves_half_of_the_others(bit):
    numbers = np.random.default_rng(0).integers(-(2**62), 2**62, size=2000)
    changed = numbers ^ (1 << bit)
    mixed, other = (draws.mix(tf.constant(n)).numpy() for n in (numbers, changed))
    moved = [np.mean((mixed ^ other) >> place & 1) for place in range(64)]
    assert np.all(np.abs(np.array(moved) - 0.5) < 0.07)
