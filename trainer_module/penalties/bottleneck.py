"""Information bottlenecks: little variance of the outputs within an environment."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
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
    # The variance has no derivative in the mean.
    means = tf.stop_gradient(environments.mean(outputs))
    squares = tf.square(outputs - environments.of_rows(means))
    return environments.average(environments.mean(tf.reduce_mean(squares, axis=1)))


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
