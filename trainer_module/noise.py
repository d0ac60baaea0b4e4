"""Random numbers that hang on a seed alone, and are the same with XLA as without it.

TensorFlow's own stateless floats are other ones under XLA. Its random bits are the same
as long as the seed fits in 31 bits, and floats are made from those here.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf


def uniform(shape: Any, seed: Any) -> tf.Tensor:
    """Uniform numbers.

    Args:
      shape: of the result.
      seed: an int, or two of them: [2], as numbers or as a tensor.

    Returns:
      float32 in (-1, 1).
    """
    seed = tf.math.floormod(pair(seed), 2**31)
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox")
    # Bits round to float32's 24, and so to 2^31 too: the factor keeps that below 1.
    return tf.cast(bits, tf.float32) * (2.0**-31 * (1 - 2.0**-24))


def normal(rows: Any, columns: int, seed: Any) -> tf.Tensor:
    """Standard normal numbers, by pairs (Box and Muller 1958).

    Args:
      rows: an int or a scalar tensor.
      columns: how many numbers a row.
      seed: as for `uniform`.

    Returns:
      [rows, columns] float32.
    """
    first, second = tf.unstack(uniform([2, rows, (columns + 1) // 2], seed))
    length = tf.sqrt(-2.0 * tf.math.log(0.5 - 0.5 * first))
    angle = math.pi * second
    pairs = [length * tf.cos(angle), length * tf.sin(angle)]
    return tf.concat(pairs, axis=1)[:, :columns]


def pair(seed: Any) -> tf.Tensor:
    """A seed, an int or two of them, as [2] int64."""
    seed = tf.cast(seed, tf.int64)
    return tf.stack([seed, tf.zeros_like(seed)]) if seed.shape.rank == 0 else seed
