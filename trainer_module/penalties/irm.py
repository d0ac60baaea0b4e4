"""Invariant risk minimisation: one classifier that is optimal in every environment."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    group_by_environment,
)
from trainer_module.penalties.losses import logit_gradients


@checked
def irm_v1(batch: EnvironmentBatch, *, unbiased: bool = False) -> tf.Tensor:
    """Squared gradient of each environment's risk in a dummy scale of the logits.

    V = mean_e (d/ds R_e(s z) at s = 1)^2 over the environments present in the batch.
    The derivative has a closed form, so no second gradient tape is needed.

    The square of a mean over few rows is too large by the variance of that mean. The
    U-statistic leaves out the products of a row with itself and so estimates the square
    of the expected gradient without bias:
    ((sum_i w_i g_i)^2 - sum_i w_i^2 g_i^2) / ((sum_i w_i)^2 - sum_i w_i^2),
    which for equal weights is ((sum g)^2 - sum g^2) / (n (n - 1)). An environment with
    a single row of weight is left out.

    Args:
      batch: logits [B, K], labels, environment ids [B].
      unbiased: take the U-statistic.

    Returns:
      Scalar float32 >= 0; 0 where rescaling the logits helps no environment. If
      `unbiased`, it is 0 there only on average over batches, and may be below 0.

    References:
      Arjovsky et al. 2019, Invariant Risk Minimization, section 3.1, eq. (IRMv1).
    """
    environments = group_by_environment(batch)
    derivatives = _scale_derivative(batch)
    if not unbiased:
        return environments.average(tf.square(environments.mean(derivatives)))
    weighted = environments.weights * derivatives
    sums = environments.sum(tf.stack([derivatives, weighted * derivatives], axis=1))
    own = environments.sum(environments.weights)
    products = tf.square(environments.total_weight) - own
    # Rounding leaves a little where the weight is all one row's.
    usable = products > 1e-6 * own
    squares = tf.square(sums[:, 0]) - sums[:, 1]
    estimates = tf.where(usable, squares / tf.where(usable, products, 1.0), 0.0)
    counted = tf.reduce_sum(tf.cast(usable, tf.float32))
    return tf.reduce_sum(estimates) / tf.maximum(counted, 1.0)


def _scale_derivative(batch: EnvironmentBatch) -> tf.Tensor:
    """Derivative of each example's loss in the scale of its logits, at 1: [B]."""
    gradients = logit_gradients(batch)
    logits = tf.reshape(tf.cast(batch.logits, tf.float32), tf.shape(gradients))
    return tf.reduce_sum(gradients * logits, axis=1)
