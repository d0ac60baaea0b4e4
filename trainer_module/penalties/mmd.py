"""Maximum mean discrepancy: equal distributions, as far as a kernel can tell."""

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
from trainer_module.penalties.kernels import (
    by_estimator,
    choose,
    gaussian_kernel,
    mean_features,
    squared_bandwidths,
)
from trainer_module.penalties.spread import (
    pooled_mean,
    row_shares,
    scales,
    shares,
    spread,
)


@checked
def mmd(
    batch: EnvironmentBatch,
    *,
    bandwidths: Sequence[float] | None = None,
    estimator: str = "auto",
    random_features: int = 512,
    on: str = "representations",
    reference: str = "pairs",
    conditional: bool = False,
    seed: int = 0,
) -> tf.Tensor:
    """Squared maximum mean discrepancy with Gaussian kernels.

    MMD^2(P, Q) = E k(x, x') - 2 E k(x, y) + E k(y, y') with x, x' of P and y, y' of Q
    (the biased V-statistic, x = x' included), k the mean over the bandwidths s of
    exp(-|x - y|^2 / (2 s^2)). V is its mean over the pairs of environments present in
    the batch, or over the distances of each to the pool, the mixture of their rows.

    The median rule takes for s^2 the median squared distance between rows (of at most
    128 that the batch decides on); it counts as a constant in the gradient.

    "exact" computes k for all pairs of rows, which is quadratic in the batch.
    "random_features" is linear: k(x, y) is on average the product of m features, the
    cosines and sines of m / 2 random projections, drawn anew for each batch. On average
    over the draws V is exact; its standard error is that of a mean over m / 2 draws of
    |E e^(i w x) - E e^(i w y)|^2, a number in [0, 4], so at most 2 / sqrt(m / 2); in
    trials with m = 512 and 1 to 390 columns it was 3 to 7 percent of V. "auto" is exact
    up to 512 rows, where both take about the same time.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B], and labels if
        conditional.
      bandwidths: s, in the unit of the outputs; None for the median rule.
      estimator: "auto", "exact" or "random_features".
      random_features: how many features m, shared out to the bandwidths.
      on: "representations" or "logits".
      reference: distances between all "pairs" of environments, or of each to the
        "pooled" batch. Neither takes a loop over pairs.
      conditional: match within each class of the label, and average over the classes.
      seed: of the random features, together with the batch.

    Returns:
      Scalar float32 in [0, 2]; 0 where all environments have the same distribution.

    Raises:
      ValueError: the batch has no representations, or a regression is to be conditional
        on its label.

    References:
      Gretton et al. 2012, A Kernel Two-Sample Test, eq. 5. Li et al. 2018, Domain
      Generalization with Adversarial Feature Learning. Rahimi and Recht 2007, Random
      Features for Large-Scale Kernel Machines, algorithm 1.
    """
    batch, estimator = choose(batch, estimator)
    environments = group_by_environment(batch, conditional)
    outputs = outputs_of(batch, on)
    variances = squared_bandwidths(environments, outputs, bandwidths)

    def exact(outputs: tf.Tensor) -> tf.Tensor:
        kernel = gaussian_kernel(environments, outputs, variances)
        return tf.maximum(
            tf.reduce_sum(kernel * _coefficients(environments, reference)), 0.0
        )

    def approximate(outputs: tf.Tensor) -> tf.Tensor:
        means = mean_features(environments, outputs, variances, random_features, seed)
        pooled = None if reference == "pairs" else pooled_mean(environments, means)
        return spread(environments, means, pooled)

    return by_estimator(estimator, outputs, exact, approximate)


def _coefficients(environments: Environments, reference: str) -> tf.Tensor:
    """What the kernel of each pair of rows counts in the discrepancy: [B, B].

    With r_e the part of environment e in its class's centre, a sum over environments of
    squared distances to the centre is: products of rows of the same environment, less
    twice those with the centre, plus E times those of the centre with itself.
    """
    ids, size = environments.ids, environments.size
    present = tf.reshape(environments.present, [-1, size])
    count = tf.reduce_sum(present, axis=1)
    if reference == "pairs":
        centre = tf.reshape(present / tf.maximum(count, 1.0)[:, None], [-1])
    else:
        centre = shares(environments)

    def of_rows(of_classes: tf.Tensor) -> tf.Tensor:
        return environments.of_rows(tf.repeat(of_classes, size))

    own = row_shares(environments)
    in_centre = own * environments.of_rows(centre)
    scale = of_rows(scales(environments, reference))
    twice = (own - 0.5 * of_rows(count) * in_centre)[:, None] * in_centre
    classes = ids // size
    same_class = tf.where(classes[:, None] == classes, twice + tf.transpose(twice), 0.0)
    same_cell = tf.where(ids[:, None] == ids, own[:, None] * own, 0.0)
    return scale[:, None] * (same_cell - same_class)
