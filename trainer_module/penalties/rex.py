"""Risk extrapolation: equal risks, or the worst affine combination of them."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    group_by_environment,
)
from trainer_module.penalties.losses import per_example_loss


@checked
def v_rex(batch: EnvironmentBatch) -> tf.Tensor:
    """Variance of the risks across environments.

    V = mean_e (R_e - mean R)^2 over the environments present in the batch.

    Args:
      batch: logits [B, K], labels, environment ids [B].

    Returns:
      Scalar float32 >= 0; 0 where all risks agree.

    References:
      Krueger et al. 2021, Out-of-Distribution Generalization via Risk Extrapolation,
      eq. 8.
    """
    environments = group_by_environment(batch)
    return environments.variance(environments.mean(per_example_loss(batch)))


@checked
def mm_rex(batch: EnvironmentBatch, *, lambda_min: float = -1.0) -> tf.Tensor:
    """The worst risk over affine combinations of the environments.

    R = max { sum_e lambda_e R_e : sum_e lambda_e = 1, lambda_e >= lambda_min }
      = (1 - E lambda_min) max_e R_e + lambda_min sum_e R_e
    over the E environments present in the batch. It replaces the mean risk.

    A negative `lambda_min` extrapolates beyond the largest risk, the further the more
    negative; 0 is the largest risk; 1 / E is the mean risk, and no combination has
    more. The gradient is shared by risks that tie for the largest.

    Args:
      batch: logits [B, K], labels, environment ids [B].
      lambda_min: least weight of an environment, any number up to 1 / E.

    Returns:
      Scalar float32; the risk itself where all agree, 0 if no environment is present.

    Raises:
      ValueError: `lambda_min` is above 1 / E for the batch's number of environments.

    References:
      Krueger et al. 2021, Out-of-Distribution Generalization via Risk Extrapolation,
      section 3.1, MM-REx.
    """
    environments = group_by_environment(batch)
    if lambda_min > 1.0 / environments.size:
        raise ValueError(
            f"lambda_min of mm_rex is {lambda_min}, but weights of "
            f"{environments.size} environments that sum to 1 can't all be that large: "
            f"expected at most 1 / {environments.size} = {1.0 / environments.size:g}"
        )
    risks = environments.mean(per_example_loss(batch))
    count = tf.reduce_sum(environments.present)
    # No loss is below 0, so that an absent environment is never the largest.
    largest = tf.reduce_max(tf.where(environments.present > 0, risks, -1.0))
    largest = tf.where(count > 0, largest, 0.0)
    return (1.0 - count * lambda_min) * largest + lambda_min * tf.reduce_sum(risks)
