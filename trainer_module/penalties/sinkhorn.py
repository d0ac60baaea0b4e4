"""Sinkhorn's algorithm: transport with entropy, of many pairs of point sets at once.

It stays in logarithms: nothing overflows or vanishes, however small epsilon is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# Over-relaxation: every update goes further by this part of itself, and several times
# fewer are needed. The dual objective still never falls, however large an update x is:
# x + OVERSHOOT y - exp(OVERSHOOT y) + exp(-x) >= 0 for y = min(x, MOST_GAIN).
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
    """

    order: int
    epsilon: float
    iterations: int
    tolerance: float | None


def distances(left: tf.Tensor, right: tf.Tensor, order: int) -> tf.Tensor:
    """Costs of transport between points: |x - y|, or its square.

    |x|^2 + |y|^2 - 2 x y cancels for points that are close: it is taken in float64.

    Args:
      left: [C, N, M, D] float32.
      right: [C, N, K, D] float32.
      order: 1 for the distance, 2 for its square.

    Returns:
      [C, N, M, K] float32 >= 0.
    """

    @tf.custom_gradient
    def costs(
        left: tf.Tensor, right: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        x, y = tf.cast(left, tf.float64), tf.cast(right, tf.float64)
        lengths = (
            tf.reduce_sum(x * x, -1)[..., None] + tf.reduce_sum(y * y, -1)[:, :, None]
        )
        squares = lengths - 2.0 * tf.matmul(x, y, transpose_b=True)
        # What is left of equal points by rounding.
        squares = tf.where(squares > 1e-13 * lengths, squares, tf.zeros_like(squares))
        powers = squares if order == 2 else tf.sqrt(squares)
        powers = tf.cast(powers, tf.float32)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if order == 2:
                slopes = 2.0 * upstream
            else:
                slopes = tf.math.divide_no_nan(upstream, powers)
            by_row = tf.reduce_sum(slopes, axis=3)[..., None]
            by_column = tf.reduce_sum(slopes, axis=2)[..., None]
            return (
                by_row * left - tf.matmul(slopes, right),
                by_column * right - tf.matmul(slopes, left, transpose_a=True),
            )

        return powers, gradient

    return costs(left, right)


def plan_costs(
    costs: tf.Tensor, left: tf.Tensor, right: tf.Tensor, settings: Sinkhorn
) -> tf.Tensor:
    """Costs <P, C> of entropic plans P between weighted points.

    The plan is P_ij = a_i b_j exp(f_i + g_j - C_ij / epsilon), and f and g are by turns
    made such that its rows sum to a and its columns to b. The gradient takes in how the
    plan changes with the costs; see `_cost_gradient`.

    Args:
      costs: [C, N, M, K] float32, C for each of N problems.
      left: [C, N, M] float32 >= 0, masses a, which sum to 1.
      right: [C, N, K], masses b.
      settings: epsilon, and when to stop.

    Returns:
      [C, N] float32.

    References:
      Thibault et al. 2021, Overrelaxed Sinkhorn-Knopp Algorithm for Regularized Optimal
      Transport.
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

    A change of C changes P by dP = P (df_i + dg_j - dC_ij / epsilon), whose rows and
    columns sum to 0: <dP, C> = <dP, R> for every R_ij = C_ij - s_i - t_j. With s and t
    such that the rows and columns of P R sum to 0, df and dg drop out. What is left is
    the gradient P (1 - R / epsilon): no step of the iteration is differentiated.
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
    """Makes two potentials of each other by turns, each time going beyond what is due.

    Args:
      of_right: makes the left one.
      of_left: makes the right one.
      like_left: of the left one's shape.
      like_right: of the right one's shape.
      most_gain: how much of a potential's growth counts for going beyond.
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
