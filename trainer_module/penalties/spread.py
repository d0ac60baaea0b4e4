"""How far apart environments are: between all pairs, or from their pool.

Neither takes a loop over pairs: within a class of E environments the mean over pairs
of |v_e - v_f|^2 is 2 / (E - 1) times the sum over e of |v_e - mean v|^2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from trainer_module.penalties.batch import Environments


def pool(environments: Environments) -> Environments:
    """All environments of a class as one: the mixture of their rows, as weighted."""
    ids, size = environments.ids, environments.size
    return dataclasses.replace(
        environments,
        ids=tf.where(ids >= 0, tf.maximum(ids, 0) // size, -1),
        size=1,
        total_weight=tf.reduce_sum(_by_class(environments.total_weight, size), axis=1),
    )


def pooled_mean(environments: Environments, means: tf.Tensor) -> tf.Tensor:
    """Means of cells [C * E, D] to the mean of each class's pool [C, D]."""
    weights = _by_class(shares(environments), environments.size)
    means = _by_class(means, environments.size)
    return tf.reduce_sum(weights[:, :, None] * means, axis=1)


def shares(environments: Environments) -> tf.Tensor:
    """Each cell's part [C * E] of the weight of its class; 0 where that is 0."""
    weights = _by_class(environments.total_weight, environments.size)
    total = tf.reduce_sum(weights, axis=1, keepdims=True)
    return tf.reshape(weights / tf.where(total > 0, total, 1.0), [-1])


def row_shares(environments: Environments) -> tf.Tensor:
    """Each row's part [B] of the weight of its cell; 0 in rows of no cell."""
    total = environments.total_weight
    inverse = 1.0 / tf.where(total > 0, total, 1.0)
    return environments.weights * environments.of_rows(inverse)


def scales(environments: Environments, reference: str) -> tf.Tensor:
    """What makes a sum of squared distances to a centre the spread: [C].

    "pairs": 2 / (E - 1) of the environments present in the class, over the number of
    classes present; "pooled": 1 / E instead.
    """
    count = tf.reduce_sum(_by_class(environments.present, environments.size), axis=1)
    classes = tf.reduce_sum(tf.cast(count > 0, tf.float32))
    each = (count - 1.0) / 2.0 if reference == "pairs" else count
    return tf.where(each > 0, 1.0 / tf.where(each > 0, each, 1.0), 0.0) / tf.maximum(
        classes, 1.0
    )


def spread(
    environments: Environments, values: tf.Tensor, pooled: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean squared distance between pairs of environments, or to their pool.

    Args:
      environments: which cells are present.
      values: [C * E, ...] float, one for each cell; 0 for absent ones.
      pooled: [C, ...] the same of each class's pool, or None for pairs.

    Returns:
      Scalar float32 >= 0: squares summed over all other dimensions, averaged over the
      pairs or the environments of each class, then over the classes present; 0 if
      fewer than two environments are (for pairs).
    """
    present = _by_class(environments.present, environments.size)
    width = math.prod(values.shape[1:])
    values = tf.reshape(values, [environments.classes, environments.size, width])
    if pooled is None:
        count = tf.maximum(tf.reduce_sum(present, axis=1), 1.0)
        # Around the mean the sum of squares is least: no gradient through it.
        centers = tf.stop_gradient(
            (tf.reduce_sum(values, axis=1) / count[:, None])[:, None]
        )
    else:
        centers = tf.reshape(pooled, [environments.classes, 1, width])
    scale = scales(environments, "pairs" if pooled is None else "pooled")
    return _sum_of_squares(values - centers, scale[:, None] * present)


def _sum_of_squares(vectors: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Weighted sum of squared lengths: [C, E, N] and constant [C, E] to a scalar.

    TensorFlow's own gradient takes three times the passes over memory.
    """
    roots = tf.sqrt(weights)[:, :, None]

    @tf.custom_gradient
    def total(vectors: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        scaled = vectors * roots
        return 2.0 * tf.nn.l2_loss(scaled), lambda up: scaled * (2.0 * up * roots)

    return total(vectors)


def _by_class(values: tf.Tensor, size: int) -> tf.Tensor:
    """[C * E, ...] to [C, E, ...]."""
    return tf.reshape(values, [-1, size, *values.shape[1:]])
