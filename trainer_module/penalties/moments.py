"""Equal moments in every environment: means, covariances, higher central moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    Environments,
    all_rows,
    group_by_environment,
    outputs_of,
)
from trainer_module.penalties.covariances import MOST_ENTRIES, means_and_covariances
from trainer_module.penalties.many_covariances import covariance_spread
from trainer_module.penalties.spread import (
    pool,
    pooled_mean,
    shares,
    spread,
)


@checked
def moment_matching(
    batch: EnvironmentBatch,
    *,
    orders: Sequence[int] = (1, 2),
    on: str = "logits",
    reference: str = "pairs",
    conditional: bool = False,
) -> tf.Tensor:
    """Squared differences of the outputs' moments, column by column.

    With c_1 the mean and c_m = E (x - c_1)^m the central moment of order m,
    V = sum_m mean_(e, f) mean_d (c_m(e)_d - c_m(f)_d)^2 over the pairs of environments
    present in the batch, or mean_e mean_d (c_m(e)_d - c_m(pool)_d)^2, where the pool is
    the mixture of their rows. Zellinger et al. sum the distances themselves; their
    squares are smooth where moments agree.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B], and labels if
        conditional.
      orders: which moments: 1 the mean, 2 the variance, and so on. Each counts once.
      on: "logits" or "representations".
      reference: differences between all "pairs" of environments, or of each to the
        "pooled" batch. Neither takes a loop over pairs.
      conditional: match within each class of the label, and average over the classes.

    Returns:
      Scalar float32 >= 0; 0 where all environments have the same moments.

    Raises:
      ValueError: the batch has no representations, or a regression is to be conditional
        on its label.

    References:
      Zellinger et al. 2017, Central Moment Discrepancy (CMD) for Domain-Invariant
      Representation Learning.
    """
    environments = group_by_environment(batch, conditional)
    outputs = outputs_of(batch, on)
    of_pool = None
    if reference == "pooled":
        of_pool = _moments(pool(environments), outputs, orders)
    distance = spread(environments, _moments(environments, outputs, orders), of_pool)
    return distance / outputs.shape[1]


def _moments(
    environments: Environments, outputs: tf.Tensor, orders: Sequence[int]
) -> tf.Tensor:
    """The moments of each cell, side by side: [C * E, len(orders) * D].

    Two passes, the second around the mean: sums of raw powers would cancel. So is the
    gradient written out, in fewer passes over the rows than TensorFlow's own: in a row
    x_i of weight w_i, c_m has the slope w_i / w m ((x_i - c_1)^(m - 1) - c_(m - 1)),
    where the central moment of order 0 is 1 and that of order 1 is 0.
    """
    wanted, highest = sorted(set(orders)), max(orders)
    needed = {*wanted, *(order - 1 for order in wanted)}  # the latter in the gradient
    inverse = tf.math.reciprocal_no_nan(environments.total_weight)[:, None]

    @tf.custom_gradient
    def moments(outputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        means = environments.mean(outputs)
        centered = outputs - environments.of_rows(means)
        powers, central = {1: centered}, {}
        for order in range(2, highest + 1):
            powers[order] = powers[order - 1] * centered
            if order in needed:
                central[order] = environments.mean(powers[order])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = environments.over_replicas(upstream) * inverse
            parts = tf.split(upstream, len(wanted), axis=1)
            slopes, of_cells = [], []
            for order, part in zip(wanted, parts, strict=True):
                if order == 1:
                    of_cells.append(part)
                    continue
                slopes.append(environments.of_rows(order * part) * powers[order - 1])
                if order > 2:
                    of_cells.append(-order * part * central[order - 1])
            if of_cells:
                slopes.append(environments.of_rows(tf.add_n(of_cells)))
            total = tf.add_n(slopes)
            if environments.weighted:
                total *= environments.weights[:, None]
            return total

        found = [means if order == 1 else central[order] for order in wanted]
        return tf.concat(found, axis=1), gradient

    return moments(outputs)


@checked
def coral(
    batch: EnvironmentBatch,
    *,
    on: str = "representations",
    reference: str = "pairs",
    conditional: bool = False,
) -> tf.Tensor:
    """Squared differences of the means and of the covariances.

    V = mean_(e, f) (|m_e - m_f|^2 / D + ||C_e - C_f||_F^2 / D^2) over the pairs of
    environments present in the batch, or the same of each to the pool, the mixture of
    their rows. Sun and Saenko have the covariances alone, by 1 / (4 D^2); Gulrajani and
    Lopez-Paz add the means and take the mean over entries, as here. Covariances divide
    by the weight of the environment, so a row of weight 2 is two rows.

    Few environments have their covariances side by side: [E, D, D] numbers. Where that
    is more than `covariances.MOST_ENTRIES` the squares come from products of rows, and
    memory no longer grows with the environments; the value is then a difference of
    sums, exact to about 1e-6 ||C||_F^2 / D^2.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B], and labels if
        conditional.
      on: "representations" or "logits".
      reference: differences between all "pairs" of environments, or of each to the
        "pooled" batch.
      conditional: match within each class of the label, and average over the classes.

    Returns:
      Scalar float32 >= 0; 0 where all environments have the same means and covariances.

    Raises:
      ValueError: the batch has no representations, or a regression is to be conditional
        on its label.

    References:
      Sun and Saenko 2016, Deep CORAL: Correlation Alignment for Deep Domain Adaptation,
      eq. 1. Gulrajani and Lopez-Paz 2021, In Search of Lost Domain Generalization.
    """
    batch = all_rows(batch)
    environments = group_by_environment(batch, conditional)
    outputs = outputs_of(batch, on)
    width = outputs.shape[1]
    if environments.cells * width**2 > MOST_ENTRIES:
        means = environments.mean(outputs)
        of_covariances = covariance_spread(environments, outputs, means, reference)
        pooled = pooled_mean(environments, means) if reference == "pooled" else None
    else:
        means, each = means_and_covariances(environments, outputs)
        pooled = of_pool = None
        if reference == "pooled":
            pooled = pooled_mean(environments, means)
            of_pool = _pooled_covariance(environments, each, means, pooled)
        of_covariances = spread(environments, each, of_pool)
    return spread(environments, means, pooled) / width + of_covariances / width**2


def _pooled_covariance(
    environments: Environments,
    each: tf.Tensor,
    means: tf.Tensor,
    mean_of_pool: tf.Tensor,
) -> tf.Tensor:
    """Covariance of each class's pool [C, D, D]: within environments, and between."""
    size, width = environments.size, means.shape[1]
    parts = tf.reshape(shares(environments), [-1, size])
    within = tf.matmul(parts[:, None], tf.reshape(each, [-1, size, width**2]))
    offsets = tf.reshape(means, [-1, size, width]) - mean_of_pool[:, None]
    between = tf.matmul(offsets * parts[:, :, None], offsets, transpose_a=True)
    return tf.reshape(within, [-1, width, width]) + between
