"""Spectral decoupling: small logits instead of small weights."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import EnvironmentBatch, group_by_environment


@checked
def sd(batch: EnvironmentBatch) -> tf.Tensor:
    """Squared logits.

    V = mean_e E_e[ mean_k z_k^2 ] over the environments present in the batch, each
    counted alike, as the mean risk counts them. The paper's loss has lambda / 2 of it
    for one logit: its lambda is twice the method's weight.

    Args:
      batch: logits [B, K], environment ids [B].

    Returns:
      Scalar float32 >= 0; 0 where all logits are.

    References:
      Pezeshki et al. 2021, Gradient Starvation: A Learning Proclivity in Neural
      Networks, section 3.
    """
    environments = group_by_environment(batch)
    squares = tf.square(tf.cast(batch.logits, tf.float32))
    return environments.average(environments.mean(tf.reduce_mean(squares, axis=1)))
