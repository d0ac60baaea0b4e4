"""Risk extrapolation: equal risks in every environment."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.penalties.batch import (
    EnvironmentBatch,
    group_by_environment,
    per_example_loss,
)


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
