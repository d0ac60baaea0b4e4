"""Empirical risk minimisation: the baseline that penalises nothing."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import EnvironmentBatch


@checked
def erm(batch: EnvironmentBatch) -> tf.Tensor:
    """No penalty: training minimises the mean of the environments' risks.

    V = 0.

    Args:
      batch: read by nobody.

    Returns:
      Scalar 0.

    References:
      Vapnik 1991, Principles of Risk Minimization for Learning Theory.
    """
    del batch
    return tf.zeros([], tf.float32)
