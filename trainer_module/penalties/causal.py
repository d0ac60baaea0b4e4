"""Causal matching: no mixture of the environments differs from another."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    Environments,
    group_by_environment,
    outputs_of,
)
from trainer_module.penalties.covariances import weighted_products
from trainer_module.penalties.draws import batch_key, mix, uniform
from trainer_module.penalties.kernels import (
    by_estimator,
    choose,
    gaussian_kernel,
    mean_features,
    squared_bandwidths,
)
from trainer_module.penalties.spread import row_shares

RANDOM_FEATURES = 512


@checked
def caus_irl(
    batch: EnvironmentBatch,
    *,
    distance: str = "mmd",
    on: str = "representations",
    bandwidths: Sequence[float] | None = None,
    seed: int = 0,
) -> tf.Tensor:
    """Distance between two random mixtures of the environments.

    For each environment e a proportion p_e in (0, 1) is drawn. With P the distribution
    of the rows under the weights w_i p_e(i), Q that under w_i (1 - p_e(i)),

    V = MMD^2(P, Q) (see `mmd`; exact up to 512 rows, 512 random features above), or
    their CORAL distance |m_P - m_Q|^2 / D + ||C_P - C_Q||_F^2 / D^2. The paper's
    authors cut each environment's rows at a random place, so that halves of one
    environment differ by chance; here rows are weighted, and V is 0 where all
    environments are equal.

    The batch decides the draw: the next batch gets other proportions.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B].
      distance: "mmd" or "coral".
      on: "representations" or "logits".
      bandwidths: of the MMD, in the unit of the outputs; None for the median rule.
      seed: of the proportions, together with the batch.

    Returns:
      Scalar float32 >= 0; 0 where all environments are equal, or only one is
      present.

    Raises:
      ValueError: the batch has no representations.

    References:
      Chevalley et al. 2022, Invariant Causal Mechanisms through Distribution Matching.
    """
    estimator = "random_features"
    if distance == "mmd":
        batch, estimator = choose(batch, "auto")
    environments = group_by_environment(batch)
    outputs = outputs_of(batch, on)
    first, second = _mixtures(environments, outputs, seed)
    if distance == "coral":
        return _coral(environments, outputs, first, second)
    gap = first - second
    variances = squared_bandwidths(environments, outputs, bandwidths)

    def exact(outputs: tf.Tensor) -> tf.Tensor:
        kernel = gaussian_kernel(environments, outputs, variances)
        rows = row_shares(environments) * environments.of_rows(gap)
        return tf.maximum(tf.tensordot(rows, tf.linalg.matvec(kernel, rows), 1), 0.0)

    def approximate(outputs: tf.Tensor) -> tf.Tensor:
        means = mean_features(environments, outputs, variances, RANDOM_FEATURES, seed)
        return tf.reduce_sum(tf.square(tf.linalg.matvec(means, gap, transpose_a=True)))

    return by_estimator(estimator, outputs, exact, approximate)


def _mixtures(
    environments: Environments, outputs: tf.Tensor, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Each environment's part in the two mixtures, [E] each; sums are 1."""
    numbers = tf.range(environments.size, dtype=tf.int64) + 1
    key = mix(batch_key(environments, outputs) + tf.convert_to_tensor(seed, tf.int64))
    proportions = uniform(mix(mix(numbers) + key))
    parts = environments.total_weight * tf.stack([proportions, 1.0 - proportions])
    total = tf.reduce_sum(parts, axis=1, keepdims=True)
    mixtures = parts / tf.where(total > 0.0, total, 1.0)
    return mixtures[0], mixtures[1]


def _coral(
    environments: Environments,
    outputs: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
) -> tf.Tensor:
    """CORAL distance of two mixtures: one product of the rows with themselves."""
    means = environments.mean(outputs)
    # Neither distance changes with the origin; near the middle less cancels.
    origin = tf.stop_gradient(tf.linalg.matvec(means, (first + second) / 2, True))
    rows, means = outputs - origin, means - origin
    weights = row_shares(environments) * environments.of_rows(first - second)
    second_moments = environments.over_replicas(weighted_products(rows, weights))
    of_first = tf.linalg.matvec(means, first, transpose_a=True)
    of_second = tf.linalg.matvec(means, second, transpose_a=True)
    covariances = (
        second_moments - of_first[:, None] * of_first + of_second[:, None] * of_second
    )
    return tf.reduce_mean(tf.square(of_first - of_second)) + tf.reduce_mean(
        tf.square(covariances)
    )
