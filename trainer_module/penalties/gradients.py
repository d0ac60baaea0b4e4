"""Gradients of the last layer, by environment: equal means, or equal variances.

The last layer is linear, logits = h W + b, and h are the batch's representations. An
example's gradient is then known in closed form: r_k h_d in W and r_k in b, where r is
the derivative of its loss in its logits.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    Environments,
    group_by_environment,
)
from trainer_module.penalties.losses import logit_gradients

PRODUCT_UP_TO = 32  # environments


@checked
def fishr(batch: EnvironmentBatch) -> tf.Tensor:
    """Differences of the variances of the last layer's gradients.

    V = mean_e || v_e - mean v ||^2 over the environments present in the batch, where
    v_e [K D + K] is the variance over the examples of environment e of the gradient of
    the loss in each weight and bias of the last layer.

    The variance is divided by n (by the sum of weights), as in the authors' code; the
    paper divides by n - 1. As in the paper the square is summed over the weights, where
    the code averages, and each batch stands for itself, where the code keeps a moving
    average.

    Args:
      batch: logits [B, K], labels, environment ids [B], and representations [B, D],
        which must be the inputs of the last layer.

    Returns:
      Scalar float32 >= 0; 0 where all variances agree.

    Raises:
      ValueError: there are no representations, or they are no rows.

    References:
      Rame et al. 2022, Fishr: Invariant Gradient Variances for Out-of-Distribution
      Generalization, section 3.
    """
    environments = group_by_environment(batch)
    residuals, inputs = logit_gradients(batch), _last_inputs(batch, "fishr")
    biases = _variances(environments, residuals, tf.ones_like(residuals[:, :1]))
    if _as_product(environments, residuals):
        means = _mean_products(environments, residuals, inputs)
        squares = _mean_products(environments, tf.square(residuals), tf.square(inputs))
        weights = squares - tf.square(means)
    else:
        weights = _variances(environments, residuals, inputs)
    return _spread(environments, weights) + _spread(environments, biases)


@checked
def iga(batch: EnvironmentBatch) -> tf.Tensor:
    """Variance of the environments' gradients in the last layer.

    V = mean_e || g_e - mean g ||^2 over the environments present in the batch, where
    g_e [K D + K] is the gradient of the risk of environment e in the weights and biases
    of the last layer. The paper takes all layers: that needs a gradient of a gradient,
    this none.

    Args:
      batch: logits [B, K], labels, environment ids [B], and representations [B, D],
        which must be the inputs of the last layer.

    Returns:
      Scalar float32 >= 0; 0 where all gradients agree.

    Raises:
      ValueError: there are no representations, or they are no rows.

    References:
      Koyama and Yamaguchi 2020, When is invariance useful in an Out-of-Distribution
      Generalization problem?, Inter-environmental Gradient Alignment.
    """
    environments = group_by_environment(batch)
    residuals, inputs = logit_gradients(batch), _last_inputs(batch, "iga")
    weights = _mean_products(environments, residuals, inputs)
    biases = environments.mean(residuals)
    return _spread(environments, weights) + _spread(environments, biases)


def _last_inputs(batch: EnvironmentBatch, name: str) -> tf.Tensor:
    """The inputs of the last layer, [B, D] float32."""
    if batch.representations is None:
        raise ValueError(
            f"{name} needs the inputs of the last layer as representations, but the "
            "batch has none: let the model return (logits, representations)"
        )
    inputs = tf.cast(batch.representations, tf.float32)
    if inputs.shape.rank != 2:
        raise ValueError(
            f"{name} needs the inputs of the last layer as representations [B, D], but "
            f"they have the shape {inputs.shape}: flatten them in the model"
        )
    return inputs


def _as_product(environments: Environments, residuals: tf.Tensor) -> bool:
    """Whether sums of r_k h_d are best a product of matrices, without [B, K * D]."""
    return residuals.shape[1] > 1 and environments.cells <= PRODUCT_UP_TO


def _mean_products(
    environments: Environments, left: tf.Tensor, right: tf.Tensor
) -> tf.Tensor:
    """Means of l_k r_d over each environment's rows: [B, K], [B, D] to [E, K * D]."""
    if not _as_product(environments, left):
        return environments.mean(_outer_rows(left, right))
    there = environments.ids[:, None] >= 0
    left, right = tf.where(there, left, 0.0), tf.where(there, right, 0.0)
    total = environments.total_weight
    weights = tf.math.divide_no_nan(environments.weights, environments.of_rows(total))
    cells = tf.one_hot(environments.ids, environments.cells)
    lefts = _outer_rows(cells, left * weights[:, None])  # [B, E * K]
    sums = tf.matmul(lefts, right, transpose_a=True)
    size = left.shape[1] * right.shape[1]
    return environments.over_replicas(tf.reshape(sums, [environments.cells, size]))


def _outer_rows(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Each row's outer product, laid flat: [B, K], [B, D] to [B, K * D]."""
    if left.shape[1] == 1:
        return left * right
    products = left[:, :, None] * right[:, None, :]
    return tf.reshape(products, [-1, left.shape[1] * right.shape[1]])


def _variances(
    environments: Environments, left: tf.Tensor, right: tf.Tensor
) -> tf.Tensor:
    """Variances of l_k r_d in each environment: [B, K], [B, D] to [E, K * D].

    The gradient is written out, with the weights on [B, K]: a third fewer passes over
    [B, K * D]. The mean has no part in it, for the sum of squares is least there.
    """
    twice = 2.0 * environments.weights[:, None]
    cells = tf.maximum(environments.ids, 0)  # rows of none are left out by the sums
    inverse = tf.math.reciprocal_no_nan(environments.total_weight)[:, None]
    own = dataclasses.replace(environments, gathered=True)  # this replica's rows

    @tf.custom_gradient
    def squares(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, Any]:
        rows = _outer_rows(left, right)
        centered = rows - tf.gather(environments.sum(rows) * inverse, cells)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            slopes = centered * tf.gather(upstream, cells)
            in_left, in_right = _outer_gradient(slopes, twice * left, right)
            return twice * in_left, in_right

        return own.sum(tf.square(centered)), gradient

    return environments.over_replicas(squares(left, right)) * inverse


def _outer_gradient(
    slopes: tf.Tensor, left: tf.Tensor, right: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """From slopes in the outer rows [B, K * D] to those in left and in right."""
    if left.shape[1] == 1:
        in_left = tf.reduce_sum(slopes * right, axis=1, keepdims=True)
        with tf.control_dependencies([in_left]):  # the last one may work in place
            return in_left, slopes * left
    slopes = tf.reshape(slopes, [-1, left.shape[1], right.shape[1]])
    in_left = tf.reduce_sum(slopes * right[:, None, :], axis=2)
    return in_left, tf.reduce_sum(slopes * left[:, :, None], axis=1)


def _spread(environments: Environments, values: tf.Tensor) -> tf.Tensor:
    """mean_e || x_e - mean x ||^2 for [E, P]; without the mean's gradient, as above."""
    present = environments.present
    share = present / tf.maximum(tf.reduce_sum(present), 1.0)

    @tf.custom_gradient
    def spread(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        centered = values - tf.linalg.matvec(values, share, transpose_a=True)
        squares = tf.reduce_sum(tf.square(centered), axis=1)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return centered * (2.0 * upstream * share)[:, None]

        return tf.reduce_sum(squares * share), gradient

    return spread(values)
