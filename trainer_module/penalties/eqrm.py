"""Quantile risk minimisation: a risk that most environments stay under."""

from __future__ import annotations

import math
import statistics

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    group_by_environment,
)
from trainer_module.penalties.losses import per_example_loss

ROUNDS = 5  # each cuts the bracket into SECTIONS: 1e-6 of it is left
SECTIONS = 16


@checked
def eqrm(batch: EnvironmentBatch, *, alpha: float = 0.75) -> tf.Tensor:
    """The alpha-quantile of the environments' risks, smoothed by a kernel density.

    Over the E environments present in the batch,
    F(q) = mean_e Phi((q - R_e) / h) = alpha, solved for q, with the standard normal
    distribution function Phi and Silverman's bandwidth for a normal density,
    h = (4 / (3 E))^(1/5) s, where s^2 is the risks' sample variance (divided by E - 1).
    Where all risks agree, or one environment is present, q is that risk.

    It replaces the mean risk. With alpha near 1 it is above the largest risk; with E
    environments the tail beyond 1 - 1 / E is the kernel's rather than the data's.

    The root is found without gradient. The quantile's own gradient follows from
    F(q) = alpha: dq = sum_e p_e (dR_e + z_e dh) with z_e = (q - R_e) / h and weights
    p_e in proportion to exp(-z_e^2 / 2).

    Args:
      batch: logits [B, K], labels, environment ids [B].
      alpha: which quantile, in (0, 1).

    Returns:
      Scalar float32, the smoothed quantile; 0 if no environment is present. With a
      small alpha it may be below the smallest risk, and below 0.

    References:
      Eastwood et al. 2022, Probable Domain Generalization via Quantile Risk
      Minimization, section 4 (EQRM).
      Silverman 1986, Density Estimation for Statistics and Data Analysis, section 3.4.
    """
    environments = group_by_environment(batch)
    risks = environments.mean(per_example_loss(batch))
    present = environments.present
    # An absent environment stands at the mean, where it widens no bracket.
    risks = tf.where(present > 0, risks, environments.average(risks))
    bandwidth = _silverman_bandwidth(risks, present)
    distances = tf.stop_gradient(_kernel_distances(risks, present, bandwidth, alpha))
    logits = tf.where(present > 0, -0.5 * tf.square(distances), -1e9)
    weights = tf.stop_gradient(tf.nn.softmax(logits))
    return tf.reduce_sum(weights * (risks + distances * bandwidth))


def _silverman_bandwidth(risks: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Bandwidth for the risks that are present; 0, without gradient, if all agree."""
    count = tf.reduce_sum(present)
    mean = tf.reduce_sum(risks * present) / tf.maximum(count, 1.0)
    squares = tf.reduce_sum(present * tf.square(risks - mean))
    variance = squares / tf.maximum(count - 1.0, 1.0)
    spread = tf.sqrt(tf.where(variance > 0, variance, 1.0))
    factor = tf.pow(4.0 / (3.0 * tf.maximum(count, 1.0)), 0.2)
    return tf.where(variance > 0, factor * spread, 0.0)


def _kernel_distances(
    risks: tf.Tensor, present: tf.Tensor, bandwidth: tf.Tensor, alpha: float
) -> tf.Tensor:
    """How far the quantile is from each risk, in bandwidths: [E]; 0 without any.

    The quantile of one kernel around the smallest risk is too low, around the largest
    too high; the bracket between them is cut into sections at once.
    """
    count = tf.maximum(tf.reduce_sum(present), 1.0)
    scale = tf.where(bandwidth > 0, bandwidth, 1.0)
    lowest = tf.reduce_min(risks)
    positions = (risks - lowest) / scale
    low = tf.constant(statistics.NormalDist().inv_cdf(alpha), tf.float32)
    width = tf.reduce_max(positions)
    steps = tf.range(1, SECTIONS, dtype=tf.float32)
    for _ in range(ROUNDS):
        width /= SECTIONS
        points = low + width * steps
        errors = tf.math.erf((points[:, None] - positions) / math.sqrt(2.0))
        shares = tf.linalg.matvec(0.5 + 0.5 * errors, present) / count
        below = shares < alpha
        low += width * tf.reduce_sum(tf.cast(below, tf.float32))
    return tf.where(bandwidth > 0, low + width / 2.0 - positions, 0.0)
