"""Sinkhorn divergences between environments: optimal transport with entropy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer_module.penalties.batch import Environments
from trainer_module.penalties.spread import shares

FEWEST_POINTS = 2  # a cell, whatever `max_points` is
# Over-relaxation: each update goes further by this part of itself, which takes several
# times fewer iterations. The dual objective still grows with every update, whatever its
# size, as x + OVERSHOOT min(x, MOST_GAIN) >= exp(OVERSHOOT min(x, MOST_GAIN)) - exp(-x).
OVERSHOOT = 0.6
MOST_GAIN = 1.8

Gradient = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Sinkhorn:
    """How entropic transport is solved.

    Attributes:
      order: 1 for the cost |x - y|, 2 for its square.
      epsilon: the weight of the entropy, in units of the cost.
      iterations: how often both potentials are updated, at most.
      tolerance: stop where no potential changes by more; None for all iterations.
      max_points: no more costs than between so many points, each with each.
    """

    order: int
    epsilon: float
    iterations: int
    tolerance: float | None
    max_points: int


def sinkhorn_divergence(
    outputs: tf.Tensor, environments: Environments, pooled: bool, settings: Sinkhorn
) -> tf.Tensor:
    """Debiased transport cost between environments, or from them to their pool.

    S(a, b) = max(0, V(a, b) - (V(a, a) + V(b, b)) / 2), where V(a, b) = <P, C> is the
    cost of the plan that minimises <P, C> + epsilon KL(P | a b^T).

    Args:
      outputs: [B, D] float32, finite.
      environments: the cells, with the rows of every replica.
      pooled: to the pooled distribution of each class; else between pairs.
      settings: how V is computed.

    Returns:
      Scalar float32 >= 0: averaged over pairs or environments within each class, then
      over the classes that are present.
    """
    size = environments.size
    # Blocks of costs between the points of two cells; a pool has all cells' points.
    blocks = size * (2 * size + 1) if pooled else size * (size + 1) // 2
    most = math.isqrt(settings.max_points**2 // (environments.classes * blocks))
    points, masses = _points(outputs, environments, max(most, FEWEST_POINTS))
    to = _to_pool if pooled else _between_pairs
    distances, there = to(points, masses, environments, settings)
    sums = tf.reduce_sum(tf.where(there, distances, 0.0), axis=1)
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
    # A plan that has not converged hangs on which side is first: not on names, then.
    centers = tf.reduce_sum(masses[..., None] * points, axis=[2, 3])
    order = tf.argsort(centers, axis=1)
    points, masses, present = (
        tf.gather(values, order, batch_dims=1) for values in (points, masses, present)
    )
    left, right = np.triu_indices(size, k=1)
    # Each environment with itself, then the pairs.
    left, right = np.append(np.arange(size), left), np.append(np.arange(size), right)
    distances = _distances(
        tf.gather(points, left, axis=1), tf.gather(points, right, axis=1), settings
    )
    costs = plan_costs(
        distances,
        tf.gather(masses, left, axis=1),
        tf.gather(masses, right, axis=1),
        settings,
    )
    own, between = costs[:, :size], costs[:, size:]
    left, right = left[size:], right[size:]
    own = (tf.gather(own, left, axis=1) + tf.gather(own, right, axis=1)) / 2.0
    there = tf.gather(present, left, axis=1) & tf.gather(present, right, axis=1)
    return tf.nn.relu(between - own), there


def _to_pool(
    points: tf.Tensor, masses: tf.Tensor, environments: Environments, settings: Sinkhorn
) -> tuple[tf.Tensor, tf.Tensor]:
    """Divergences to the pool of a class [C, E], and which environments are present."""
    classes, size, width = environments.classes, environments.size, points.shape[-1]
    present = tf.reshape(environments.present > 0, [classes, size])
    there = tf.reduce_any(present, axis=1)[:, None, None]
    parts = tf.reshape(shares(environments), [classes, size, 1])
    # The pool of an absent class is what stands in for its first environment.
    parts = tf.where(there, parts, tf.one_hot(0, size)[:, None])
    pool = tf.reshape(points, [classes, 1, -1, width])
    pool_masses = tf.reshape(masses * parts, [classes, 1, -1])
    within = _distances(pool, pool, settings)
    between = tf.reshape(within, [classes, size, -1, pool.shape[2]])
    own = plan_costs(_distances(points, points, settings), masses, masses, settings)
    pools = plan_costs(within, pool_masses, pool_masses, settings)
    to_pool = plan_costs(
        between, masses, tf.repeat(pool_masses, size, axis=1), settings
    )
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
        return tf.gather(
            values, sources
        ), lambda upstream: tf.math.unsorted_segment_sum(upstream, sources, size)

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


def plan_costs(
    costs: tf.Tensor, left: tf.Tensor, right: tf.Tensor, settings: Sinkhorn
) -> tf.Tensor:
    """Costs <P, C> of entropic plans P between weighted points.

    The plan is a_i b_j exp(f_i + g_j - C_ij / epsilon), and by turns f and g are made
    such that it has the masses a and b. Of the gradient, which takes in how the plan
    changes with the costs, see `_cost_gradient`.

    Args:
      costs: [C, N, M, K] float32, C for each of N problems.
      left: [C, N, M] float32 >= 0, masses a, which sum to 1.
      right: [C, N, K], masses b.
      settings: epsilon, and when to stop.

    Returns:
      [C, N] float32.
    """

    epsilon, tolerance = settings.epsilon, settings.tolerance
    scaled_tolerance = None if tolerance is None else tolerance / epsilon

    @tf.custom_gradient
    def cost(costs: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        log_plan = _log_plan(
            costs / epsilon,
            tf.math.log(left),
            tf.math.log(right),
            settings.iterations,
            scaled_tolerance,
        )
        plan = tf.exp(log_plan)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            slopes = _cost_gradient(
                costs, plan, epsilon, settings.iterations, tolerance
            )
            return upstream[:, :, None, None] * slopes

        return tf.reduce_sum(plan * costs, axis=[2, 3]), gradient

    return cost(costs)


@tf.function(autograph=False, reduce_retracing=True)
def _log_plan(
    costs: tf.Tensor,
    log_left: tf.Tensor,
    log_right: tf.Tensor,
    iterations: int,
    tolerance: float | None,
) -> tf.Tensor:
    """Logarithms of the plan's entries [C, N, M, K], of costs in units of epsilon."""
    # The last axis is the fastest to sum along.
    flipped = tf.linalg.matrix_transpose(costs)

    def of_right(right: tf.Tensor) -> tf.Tensor:
        return -_log_sum_exp((right + log_right)[:, :, None] - costs)

    def of_left(left: tf.Tensor) -> tf.Tensor:
        return -_log_sum_exp((left + log_left)[:, :, None] - flipped)

    right = _repeated(
        of_right, of_left, log_left, log_right, MOST_GAIN, iterations, tolerance
    )
    left = of_right(right)
    left, right = left + log_left, of_left(left) + log_right
    return left[..., None] + right[:, :, None] - costs


@tf.function(autograph=False, reduce_retracing=True)
def _cost_gradient(
    costs: tf.Tensor,
    plan: tf.Tensor,
    epsilon: float,
    iterations: int,
    tolerance: float | None,
) -> tf.Tensor:
    """Gradient of <P, C> in C, where P is the plan of C: [C, N, M, K].

    A change of C changes P by P (df_i + dg_j - dC_ij / epsilon), whose rows and columns
    sum to 0. So <dP, C> = <dP, C - a_i - b_j>, and if a and b are such that the rows and
    columns of P (C - a - b) sum to 0, df and dg drop out: what is left is
    P (1 - (C - a - b) / epsilon), and no step of the iteration is differentiated.
    """
    flipped = tf.linalg.matrix_transpose(plan)
    by_row = tf.math.divide_no_nan(plan, tf.reduce_sum(plan, 3, keepdims=True))
    by_column = tf.math.divide_no_nan(flipped, tf.reduce_sum(flipped, 3, keepdims=True))
    row_means = tf.reduce_sum(by_row * costs, axis=3)
    column_means = tf.reduce_sum(by_column * tf.linalg.matrix_transpose(costs), axis=3)

    def of_right(right: tf.Tensor) -> tf.Tensor:
        # Faster than a batch of small products of matrices with vectors.
        return row_means - tf.reduce_sum(by_row * right[:, :, None], axis=3)

    def of_left(left: tf.Tensor) -> tf.Tensor:
        return column_means - tf.reduce_sum(by_column * left[:, :, None], axis=3)

    right = _repeated(
        of_right, of_left, row_means, column_means, np.inf, iterations, tolerance
    )
    left = of_right(right)
    right = of_left(left)
    return plan * (1.0 - (costs - left[..., None] - right[:, :, None]) / epsilon)


def _repeated(
    of_right: Callable[[tf.Tensor], tf.Tensor],
    of_left: Callable[[tf.Tensor], tf.Tensor],
    like_left: tf.Tensor,
    like_right: tf.Tensor,
    most_gain: float,
    iterations: int,
    tolerance: float | None,
) -> tf.Tensor:
    """Makes two potentials of each other by turns, from 0, and goes too far each time.

    Args:
      of_right: makes the left one.
      of_left: makes the right one.
      like_left: of the left one's shape.
      like_right: of the right one's shape.
      most_gain: how much growth of a potential counts in going too far.
      iterations: how often, at most.
      tolerance: the largest change of the right one that counts as none; None for all
        iterations.

    Returns:
      The right one.
    """

    def beyond(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
        return new + OVERSHOOT * tf.minimum(new - old, most_gain)

    def goes_on(step: tf.Tensor, change: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        more = step < iterations
        return more if tolerance is None else more & (change > tolerance)

    def body(
        step: tf.Tensor, change: tf.Tensor, left: tf.Tensor, right: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        left = beyond(left, of_right(right))
        after = beyond(right, of_left(left))
        if tolerance is not None:
            change = tf.reduce_max(tf.abs(after - right))
        return step + 1, change, left, after

    start = tf.zeros_like(like_left), tf.zeros_like(like_right)
    begin = (tf.constant(0), tf.constant(np.inf, tf.float32), *start)
    return tf.while_loop(goes_on, body, begin)[3]


def _log_sum_exp(values: tf.Tensor) -> tf.Tensor:
    """Of the last axis, which has a finite number. -inf counts for nothing."""
    most = tf.reduce_max(values, axis=-1, keepdims=True)
    sums = tf.reduce_sum(tf.exp(values - most), axis=-1)
    return tf.math.log(sums) + most[..., 0]


def _distances(left: tf.Tensor, right: tf.Tensor, settings: Sinkhorn) -> tf.Tensor:
    """Costs |x - y|, or its square, of points [C, N, M, D] and [C, N, K, D].

    |x|^2 + |y|^2 - 2 x y cancels for points that are close: it is taken in float64.
    """

    @tf.custom_gradient
    def distances(
        left: tf.Tensor, right: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        x, y = tf.cast(left, tf.float64), tf.cast(right, tf.float64)
        lengths = (
            tf.reduce_sum(x * x, -1)[..., None] + tf.reduce_sum(y * y, -1)[:, :, None]
        )
        squares = lengths - 2.0 * tf.matmul(x, y, transpose_b=True)
        # What is left of equal points by rounding.
        squares = tf.where(squares > 1e-13 * lengths, squares, tf.zeros_like(squares))
        costs = squares if settings.order == 2 else tf.sqrt(squares)
        costs = tf.cast(costs, tf.float32)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if settings.order == 2:
                slopes = 2.0 * upstream
            else:
                slopes = tf.math.divide_no_nan(upstream, costs)
            by_row = tf.reduce_sum(slopes, axis=3)[..., None]
            by_column = tf.reduce_sum(slopes, axis=2)[..., None]
            return (
                by_row * left - tf.matmul(slopes, right),
                by_column * right - tf.matmul(slopes, left, transpose_a=True),
            )

        return costs, gradient

    return distances(left, right)
