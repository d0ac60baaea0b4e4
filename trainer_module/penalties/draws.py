"""Random numbers that the batch itself decides, whatever the order of its rows.

The same batch gives the same numbers: in another order, on two replicas, with XLA. The
next batch gives others. Integers wrap around at 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer_module.penalties.batch import EnvironmentBatch, Environments, all_rows

HASHED_COLUMNS = 64


def batch_key(environments: Environments, outputs: tf.Tensor) -> tf.Tensor:
    """A number of the batch, from the side of 0 and of 1/2 that each output lies on.

    Sides change as a model learns, but hardly by rounding: a model with XLA or with
    twice the replicas draws the same numbers, and the penalty is smooth between.

    Args:
      environments: where rows of no cell are left out. The ids do not matter.
      outputs: [B, D] float32.

    Returns:
      Scalar int64.
    """
    outputs = _some_columns(outputs)
    sides = tf.cast(outputs > 0.0, tf.int64) + tf.cast(outputs > 0.5, tf.int64)
    hashes = _hashes(sides)
    hashes = tf.where(environments.ids >= 0, hashes, 0)
    return mix(environments.over_replicas(tf.reduce_sum(hashes)))


def some_rows(environments: Environments, outputs: tf.Tensor, most: int) -> tf.Tensor:
    """Rows that the batch decides on, out of those with weight.

    Args:
      environments: where rows of no cell are left out.
      outputs: [B, D] float32.
      most: how many rows at most.

    Returns:
      [R, D] with R <= most, the same on every replica, and [R] bool: whether it is a
      row with weight.
    """
    rows, there = _with_smallest_hash(outputs, environments.ids >= 0, most)
    ids = tf.where(there, 0, -1)
    batch = all_rows(
        EnvironmentBatch(rows, ids, ids, 1, gathered=environments.gathered)
    )
    if batch.logits is rows:
        return rows, there
    return _with_smallest_hash(batch.logits, batch.environment_ids >= 0, most)


def _with_smallest_hash(
    rows: tf.Tensor, there: tf.Tensor, most: int
) -> tuple[tf.Tensor, tf.Tensor]:
    total = rows.shape[0]
    if total is not None and total <= most:
        return rows, there
    bits = tf.cast(tf.bitcast(_some_columns(rows), tf.int32), tf.int64)
    order = tf.where(there, uniform(_hashes(bits)), 2.0)
    number = tf.minimum(tf.shape(rows)[0], most) if total is None else most
    chosen = tf.math.top_k(-order, number).indices
    return tf.gather(rows, chosen), tf.gather(there, chosen)


def _some_columns(rows: tf.Tensor) -> tf.Tensor:
    """Enough columns to tell rows apart, evenly spaced: less to hash."""
    width = rows.shape[1]
    columns = np.unique(np.linspace(0, width - 1, HASHED_COLUMNS).round().astype(int))
    return rows if len(columns) == width else tf.gather(rows, columns, axis=1)


def _hashes(rows: tf.Tensor) -> tf.Tensor:
    """A number of each row: [B, D] to [B] int64."""
    factors = np.random.RandomState(0).randint(2**30, 2**31, size=rows.shape[1])
    return mix(tf.reduce_sum(rows * tf.constant(2 * factors + 1, tf.int64), axis=1))


def mix(numbers: tf.Tensor) -> tf.Tensor:
    """Spreads int64 numbers over all of them, one to one."""
    for shift, factor in ((30, 0x2545F4914F6CDD1D), (27, 0x5851F42D4C957F2D)):
        numbers = _folded(numbers, shift) * tf.constant(factor, tf.int64)
    return _folded(numbers, 31)


def _folded(numbers: tf.Tensor, shift: int) -> tf.Tensor:
    """Upper bits on lower ones, as if there were no sign."""
    upper = tf.bitwise.right_shift(numbers, tf.constant(shift, tf.int64))
    upper = tf.bitwise.bitwise_and(upper, tf.constant(2 ** (64 - shift) - 1, tf.int64))
    return tf.bitwise.bitwise_xor(numbers, upper)


def uniform(numbers: tf.Tensor) -> tf.Tensor:
    """Mixed int64 numbers to float32 in (0, 1), neither end reached."""
    bits = tf.bitwise.bitwise_and(numbers, tf.constant(2**23 - 1, tf.int64))
    return (tf.cast(bits, tf.float32) + 0.5) / 2.0**23


def normal(key: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Standard normal numbers, by Box and Muller's transform.

    TensorFlow's own stateless numbers are others with XLA, whichever algorithm is
    named, unless the seed is a constant.

    Args:
      key: scalar int64.
      shape: of the result.

    Returns:
      float32.
    """
    numbers = mix(mix(tf.range(math.prod(shape), dtype=tf.int64)) + key)
    upper = tf.bitwise.right_shift(numbers, tf.constant(32, tf.int64))
    radius = tf.sqrt(-2.0 * tf.math.log(uniform(numbers)))
    return tf.reshape(radius * tf.cos(2.0 * math.pi * uniform(upper)), shape)
