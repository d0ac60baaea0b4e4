"""Sinkhorn divergences between environments, or from them to their pool."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from trainer_module.penalties.batch import Environments
from trainer_module.penalties.sinkhorn import (
    Gradient,
    Sinkhorn,
    distances,
    plan_costs,
)
from trainer_module.penalties.spread import shares

FEWEST_POINTS = 2  # of a cell, whatever `max_points` is
FEWEST_POOLED = 16  # environments in a pool, whatever `max_points` is
VECTOR = 8  # floats that a processor adds up at once


def sinkhorn_divergence(
    outputs: tf.Tensor,
    environments: Environments,
    pooled: bool,
    max_points: int,
    settings: Sinkhorn,
) -> tf.Tensor:
    """Debiased transport cost between environments, or from them to their pool.

    S(a, b) = max(0, V(a, b) - (V(a, a) + V(b, b)) / 2), where V(a, b) = <P, C> is the
    cost of the plan that minimises <P, C> + epsilon KL(P | a b^T).

    Args:
      outputs: [B, D] float32, finite.
      environments: the cells, with the rows of every replica.
      pooled: to the pooled distribution of each class; else between pairs.
      max_points: there are at most as many costs as between so many points.
      settings: how V is computed.

    Returns:
      Scalar float32 >= 0: averaged over pairs or environments within each class, then
      over the classes that are present.
    """
    size = environments.size
    # Blocks of costs between the points of two cells.
    blocks = size * (2 * size + 1) if pooled else size * (size + 1) // 2
    costs = max_points**2 // environments.classes
    most = math.isqrt(costs // blocks)
    # Rows of whole vectors are the fastest to sum.
    most = max(most - most % VECTOR if most > VECTOR else most, FEWEST_POINTS)
    points, masses = _points(outputs, environments, most)
    if pooled:
        members = _members(size, costs // most**2)
        divergences, there = _to_pool(points, masses, environments, members, settings)
    else:
        divergences, there = _between_pairs(points, masses, environments, settings)
    sums = tf.reduce_sum(tf.where(there, divergences, 0.0), axis=1)
    means = sums / tf.maximum(tf.reduce_sum(tf.cast(there, tf.float32), axis=1), 1.0)
    by_class = tf.reshape(environments.present, [-1, size])
    classes = tf.reduce_sum(tf.reduce_max(by_class, axis=1))
    return tf.reduce_sum(means) / tf.maximum(classes, 1.0)


def _between_pairs(
    points: tf.Tensor, masses: tf.Tensor, environments: Environments, settings: Sinkhorn
) -> tuple[tf.Tensor, tf.Tensor]:
    """Divergences of all pairs of a class [C, pairs], and which pairs are present."""
    size = environments.size
    present = tf.reshape(environments.present > 0, [-1, size])
    # A plan that has not converged hangs on which side comes first. Not on names, then.
    centers = tf.reduce_sum(masses[..., None] * points, axis=[2, 3])
    order = tf.argsort(centers, axis=1)
    points, masses, present = (
        tf.gather(values, order, batch_dims=1) for values in (points, masses, present)
    )
    left, right = np.triu_indices(size, k=1)
    # Each environment with itself, then the pairs.
    left, right = np.append(np.arange(size), left), np.append(np.arange(size), right)
    costs = plan_costs(
        distances(
            tf.gather(points, left, axis=1),
            tf.gather(points, right, axis=1),
            settings.order,
        ),
        tf.gather(masses, left, axis=1),
        tf.gather(masses, right, axis=1),
        settings,
    )
    own, between = costs[:, :size], costs[:, size:]
    left, right = left[size:], right[size:]
    own = (tf.gather(own, left, axis=1) + tf.gather(own, right, axis=1)) / 2.0
    there = tf.gather(present, left, axis=1) & tf.gather(present, right, axis=1)
    return tf.nn.relu(between - own), there


def _members(size: int, blocks: int) -> int:
    """How many of E environments make up a pool that takes so many blocks of costs.

    They are all, or as many as fit: P of them take E P + P^2 + E blocks. Costs grow
    with the environments and not with their square.
    """
    room = (math.isqrt(size * size + 4 * max(blocks - size, 0)) - size) // 2
    return min(size, max(room, FEWEST_POOLED))


def _to_pool(
    points: tf.Tensor,
    masses: tf.Tensor,
    environments: Environments,
    members: int,
    settings: Sinkhorn,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Divergences to the pool of a class [C, E], and which environments are present.

    The pool is the mixture of all environments, or of as many `members` as are asked
    for: those present whose points hash lowest, whatever their names.
    """
    classes, size, most, width = points.shape
    present = tf.reshape(environments.present > 0, [classes, size])
    parts = tf.reshape(shares(environments), [classes, size])
    # The pool of an absent class is what stands in for its first environment.
    there = tf.reduce_any(present, axis=1)[:, None]
    parts = tf.where(there, parts, tf.one_hot(0, size))
    flat = tf.reshape(points, [-1, width])
    hashes = tf.reduce_sum(tf.reshape(_hash(flat), [classes, size, most]), axis=2)
    ranks = tf.where(parts > 0, tf.cast(hashes, tf.int64), tf.int64.max)
    chosen = tf.argsort(ranks, axis=1)[:, :members]
    parts = tf.gather(parts, chosen, batch_dims=1)
    parts /= tf.reduce_sum(parts, axis=1, keepdims=True)
    pool_masses = tf.gather(masses, chosen, batch_dims=1) * parts[:, :, None]
    pool_masses = tf.reshape(pool_masses, [classes, 1, members * most])
    sources = chosen + size * tf.range(classes)[:, None]
    sources = most * sources[:, :, None] + tf.range(most)
    pool = _rows(flat, tf.reshape(sources, [classes, members * most]))[:, None]

    between = distances(
        tf.reshape(points, [classes, 1, -1, width]), pool, settings.order
    )
    between = tf.reshape(between, [classes, size, most, members * most])
    to_pool = plan_costs(
        between, masses, tf.repeat(pool_masses, size, axis=1), settings
    )
    itself = distances(points, points, settings.order)
    own = plan_costs(itself, masses, masses, settings)
    within = distances(pool, pool, settings.order)
    pools = plan_costs(within, pool_masses, pool_masses, settings)
    return tf.nn.relu(to_pool - (own + pools) / 2.0), present


def _points(
    outputs: tf.Tensor, environments: Environments, most: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of each cell, and their weights, which sum to 1.

    Of a cell with more rows than are asked for, those are taken whose digits hash
    lowest: as if at random, but whatever the order of the rows.

    Args:
      outputs: [B, D] float32.
      environments: the cells.
      most: how many rows of a cell, M; fewer if the batch is known to have fewer.

    Returns:
      Points [C, E, M, D] and masses [C, E, M]. Places that are left over have mass 0;
      an absent cell has one point at 0, so that transport to it is defined.
    """
    ids, cells, weights = environments.ids, environments.cells, environments.weights
    most = min(most, outputs.shape[0] or most)
    digits = tf.concat([tf.cast(outputs, tf.float32), weights[:, None]], axis=1)
    keys = tf.cast(tf.where(ids >= 0, ids, cells), tf.int64) * 2**32
    order = tf.argsort(keys + tf.cast(_hash(digits), tf.int64))
    counts = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, cells)
    starts = tf.cumsum(counts, exclusive=True)
    filled = tf.range(most) < counts[:, None]
    places = tf.where(filled, starts[:, None] + tf.range(most), 0)
    sources = tf.gather(order, places)
    points = tf.where(filled[:, :, None], _rows(outputs, sources), 0.0)
    masses = tf.where(filled, tf.gather(weights, sources), 0.0)
    stand_in = tf.one_hot(tf.zeros_like(counts), most)
    masses = tf.where(counts[:, None] > 0, masses, stand_in)
    masses /= tf.reduce_sum(masses, axis=1, keepdims=True)
    shape = [environments.classes, environments.size, most]
    return tf.reshape(points, [*shape, outputs.shape[1]]), tf.reshape(masses, shape)


def _rows(values: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """Rows of values [B, D] at sources [N, M], with a dense gradient: [N, M, D]."""

    @tf.custom_gradient
    def rows(values: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        size = tf.shape(values)[0]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(upstream, sources, size)

        return tf.gather(values, sources), gradient

    return rows(values)


def _hash(rows: tf.Tensor) -> tf.Tensor:
    """A number for the digits of each row: [B, D] float32 to [B] int32."""
    random = np.random.default_rng(0)
    odd = 2 * random.integers(-(2**30), 2**30, size=rows.shape[1], dtype=np.int32) + 1
    # Overflow is meant: these are remainders of 2^32.
    mixed = tf.reduce_sum(tf.bitcast(rows, tf.int32) * odd, axis=1)
    for _ in range(2):
        mixed = tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, 15))
        mixed *= 0x2C1B3C6D
    return mixed
