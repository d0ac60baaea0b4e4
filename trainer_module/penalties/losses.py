"""The loss of each example, and its derivative in the logits."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.penalties.batch import EnvironmentBatch, one_hot_labels


def per_example_loss(batch: EnvironmentBatch) -> tf.Tensor:
    """Loss of each example, in float32 whatever the model computes in.

    Binary: logistic loss log(1 + exp(z)) - y z. Multiclass: cross-entropy of
    softmax(z). Regression: squared error (z - y)^2.

    Args:
      batch: logits [B, K], labels as `EnvironmentBatch` says.

    Returns:
      [B] float32 >= 0.
    """
    logits = tf.cast(batch.logits, tf.float32)
    if batch.task == "multiclass":
        return tf.nn.softmax_cross_entropy_with_logits(one_hot_labels(batch), logits)
    logits = tf.reshape(logits, [-1])
    labels = tf.reshape(tf.cast(batch.labels, tf.float32), [-1])
    if batch.task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    return tf.square(logits - labels)


def logit_gradients(batch: EnvironmentBatch) -> tf.Tensor:
    """Derivative of each example's loss in its logits, in float32.

    Binary: sigmoid(z) - y. Multiclass: softmax(z) - onehot(y). Regression: 2 (z - y).

    Args:
      batch: logits [B, K], labels as `EnvironmentBatch` says.

    Returns:
      [B, K] float32.
    """
    logits = tf.cast(batch.logits, tf.float32)
    if batch.task == "multiclass":
        return tf.nn.softmax(logits) - one_hot_labels(batch)
    logits = tf.reshape(logits, [-1, 1])
    labels = tf.reshape(tf.cast(batch.labels, tf.float32), [-1, 1])
    if batch.task == "binary":
        return tf.sigmoid(logits) - labels
    return 2.0 * (logits - labels)
