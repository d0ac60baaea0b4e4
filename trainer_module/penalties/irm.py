"""Invariant risk minimisation: one classifier that is optimal in every environment."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.penalties.batch import (
    EnvironmentBatch,
    group_by_environment,
    one_hot_labels,
)


def irm_v1(batch: EnvironmentBatch) -> tf.Tensor:
    """Squared gradient of each environment's risk in a dummy scale of the logits.

    V = mean_e (d/ds R_e(s z) at s = 1)^2 over the environments present in the batch.
    The derivative has a closed form, so no second gradient tape is needed.

    Args:
      batch: logits [B, K], labels, environment ids [B].

    Returns:
      Scalar float32 >= 0; 0 where rescaling the logits helps no environment.

    References:
      Arjovsky et al. 2019, Invariant Risk Minimization, section 3.1, eq. (IRMv1).
    """
    environments = group_by_environment(batch)
    gradients = environments.mean(_scale_derivative(batch))
    return environments.average(tf.square(gradients))


def _scale_derivative(batch: EnvironmentBatch) -> tf.Tensor:
    """Derivative of each example's loss in the scale of its logits, at 1: [B]."""
    logits = tf.cast(batch.logits, tf.float32)
    if batch.task == "multiclass":
        residuals = tf.nn.softmax(logits) - one_hot_labels(batch)
        return tf.reduce_sum(residuals * logits, axis=-1)
    logits = tf.reshape(logits, [-1])
    labels = tf.reshape(tf.cast(batch.labels, tf.float32), [-1])
    if batch.task == "binary":
        return (tf.sigmoid(logits) - labels) * logits
    return 2.0 * (logits - labels) * logits
