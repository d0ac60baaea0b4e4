"""Information bottlenecks: little variance of the outputs within an environment."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    Environments,
    group_by_environment,
    outputs_of,
)
from trainer_module.penalties.irm import irm_v1


@checked
def ib_erm(batch: EnvironmentBatch, *, on: str = "representations") -> tf.Tensor:
    """Variance of the outputs within an environment, an information bottleneck.

    V = mean_e mean_d Var_e(h_d) over the environments present in the batch and the
    columns of h, the representations or the logits. The variance is divided by n (by
    the sum of weights). For a Gaussian, less variance is less entropy.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B].
      on: "representations" or "logits".

    Returns:
      Scalar float32 >= 0; 0 where the outputs are constant in every environment.

    Raises:
      ValueError: representations are asked for, and the batch has none.

    References:
      Ahuja et al. 2021, Invariance Principle Meets Information Bottleneck for
      Out-of-Distribution Generalization, section 4.
    """
    outputs = outputs_of(batch, on)
    environments = group_by_environment(batch)
    squares = _squared_distances(environments, outputs) / outputs.shape[1]
    return environments.average(environments.mean(squares))


def _squared_distances(environments: Environments, outputs: tf.Tensor) -> tf.Tensor:
    """Squared distance of each row from its environment's mean: [B, D] to [B].

    For weighted means over the environment: their derivative in the mean is 0, so it
    is left out of the gradient, which is written out to take one pass over the rows.
    """

    @tf.custom_gradient
    def squares(outputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        centered = outputs - environments.of_rows(environments.mean(outputs))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return centered * (2.0 * upstream)[:, None]

        return tf.reduce_sum(tf.square(centered), axis=1), gradient

    return squares(outputs)


@checked
def ib_irm(
    batch: EnvironmentBatch,
    *,
    on: str = "representations",
    bottleneck_weight: float = 1.0,
) -> tf.Tensor:
    """IRMv1 and an information bottleneck.

    V = irm_v1 + bottleneck_weight * ib_erm.

    Args:
      batch: logits [B, K], labels, environment ids [B], and representations [B, D] if
        they are asked for.
      on: what the bottleneck is on, "representations" or "logits".
      bottleneck_weight: factor of the bottleneck, >= 0.

    Returns:
      Scalar float32 >= 0.

    Raises:
      ValueError: representations are asked for, and the batch has none.

    References:
      Ahuja et al. 2021, Invariance Principle Meets Information Bottleneck for
      Out-of-Distribution Generalization, section 4.
    """
    return irm_v1(batch) + bottleneck_weight * ib_erm(batch, on=on)
