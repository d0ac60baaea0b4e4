"""Sorted rows: their order, running sums, and the way back. Without gradients."""

from __future__ import annotations

import tensorflow as tf

BLOCK = 64  # numbers that one matrix product sums up


def lexicographic_order(groups: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sorts by group [R] and then by value [P, R] float32; indices [P, R] int32."""
    bits = tf.bitcast(values, tf.int32)
    # Among negative floats the bits grow with the magnitude.
    bits = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, 2**31 - 1), bits)
    keys = tf.cast(groups, tf.int64) * 2**32 + tf.cast(bits, tf.int64)
    return tf.argsort(keys, axis=-1)


def unsorted(values: tf.Tensor, order: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Adds values [P, R] up at their places [P, R] in rows of a size: [P, size]."""
    lines = tf.shape(values)[0]
    places = order + size * tf.range(lines)[:, None]
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(values, [-1]), tf.reshape(places, [-1]), lines * size
    )
    return tf.reshape(sums, [lines, size])


def take_columns(values: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Columns of values [S, P, R] in an order [P, R], or [1, R] for all lines."""
    if order.shape[0] == 1:
        return tf.gather(values, order[0], axis=2)
    order = tf.broadcast_to(order, tf.shape(values))
    return tf.gather(values, order, batch_dims=2)


def put_columns(values: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
    """Undoes `take_columns`, by the same order."""
    if order.shape[0] == 1:
        return tf.gather(values, tf.math.invert_permutation(order[0]), axis=2)
    shape = tf.shape(values)
    order = tf.reshape(tf.broadcast_to(order, shape), [-1, shape[2]])
    return tf.reshape(
        unsorted(tf.reshape(values, [-1, shape[2]]), order, shape[2]), shape
    )


def zero_where(where: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The values, but 0 where it says."""
    return tf.where(where, tf.zeros([], values.dtype), values)


def is_first(ids: tf.Tensor) -> tf.Tensor:
    """Whether a row of sorted ids [R] is the first of its id."""
    return tf.concat([[True], ids[1:] != ids[:-1]], axis=0)


def sums_before(
    sums: tf.Tensor, ids: tf.Tensor, wanted: tf.Tensor, many: int
) -> tf.Tensor:
    """What running sums [..., R] had come to before the first row of an id.

    Args:
      sums: [..., R].
      ids: [R] int32 in [0, many], sorted.
      wanted: [N] int32 in [0, many + 1], the ids that are asked for.
      many: the largest id.

    Returns:
      [..., N]
    """
    counts = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, many + 2)
    starts = tf.gather(tf.cumsum(counts, exclusive=True), wanted)
    earlier = tf.gather(sums, tf.maximum(starts - 1, 0), axis=-1)
    return zero_where(starts == 0, earlier)


def running_sum(values: tf.Tensor) -> tf.Tensor:
    """Sums from the start along the last axis [..., R]."""
    devices = tf.config.list_logical_devices()
    if values.dtype == tf.float32 and any(d.device_type != "CPU" for d in devices):
        # In float32 an accelerator's matrix products round to fewer digits.
        return tf.cumsum(values, axis=-1)
    # In matrix products, several times as fast on a CPU, with XLA a hundred times.
    size, lines = tf.shape(values)[-1], tf.reduce_prod(tf.shape(values)[:-1])
    blocks = -(-size // BLOCK)
    padded = tf.pad(
        tf.reshape(values, [lines, size]), [[0, 0], [0, blocks * BLOCK - size]]
    )
    triangle = tf.linalg.band_part(tf.ones([BLOCK, BLOCK], values.dtype), 0, -1)
    sums = tf.matmul(tf.reshape(padded, [-1, BLOCK]), triangle)
    sums = tf.reshape(sums, [lines, blocks, BLOCK])
    sums += tf.cumsum(sums[:, :, -1], axis=1, exclusive=True)[:, :, None]
    sums = tf.reshape(sums, [lines, blocks * BLOCK])[:, :size]
    return tf.reshape(sums, tf.shape(values))
