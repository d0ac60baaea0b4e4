"""Gaussian kernels: exact or by random features, and the median rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer_module.penalties.batch import EnvironmentBatch, Environments, all_rows
from trainer_module.penalties.draws import batch_key, mix, normal, some_rows

Gradient = Callable[..., tf.Tensor]

EXACT_UP_TO = 512  # rows
MEDIAN_OF_ROWS = 128


def squared_distances(rows: tf.Tensor, there: tf.Tensor) -> tf.Tensor:
    """Squared Euclidean distances between rows.

    The gradient is written out, because distances are symmetric: one product instead
    of two.

    Args:
      rows: [B, D] float32.
      there: [B] bool: the others are put in the middle, where they do no harm.

    Returns:
      [B, B] float32 >= 0.
    """
    # Far from the origin, the difference of large squares would lose digits.
    count = tf.maximum(tf.reduce_sum(tf.cast(there, tf.float32)), 1.0)
    kept = tf.where(there[:, None], rows, 0.0)
    middle = tf.stop_gradient(tf.reduce_sum(kept, axis=0) / count)
    rows = tf.where(there[:, None], rows - middle, 0.0)

    @tf.custom_gradient
    def distances(rows: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        squares = tf.reduce_sum(tf.square(rows), axis=1)
        products = tf.matmul(rows, rows, transpose_b=True)
        result = squares[:, None] + squares - 2.0 * products
        result = tf.linalg.set_diag(tf.maximum(result, 0.0), tf.zeros_like(squares))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            both = upstream + tf.transpose(upstream)
            sums = tf.reduce_sum(both, axis=1, keepdims=True)
            return 2.0 * (sums * rows - tf.matmul(both, rows))

        return result, gradient

    return distances(rows)


def gaussian_kernel(
    environments: Environments, rows: tf.Tensor, variances: tf.Tensor
) -> tf.Tensor:
    """Mean over bandwidths of exp(-|x - y|^2 / (2 s^2)), of all pairs of rows.

    Args:
      environments: the cells; rows of none do no harm.
      rows: [B, D] float32.
      variances: [N] float32, the bandwidths squared.

    Returns:
      [B, B] float32 in [0, 1].
    """
    distances = squared_distances(rows, environments.ids >= 0)
    kernels = [
        tf.exp(distances * (-0.5 / variances[index]))
        for index in range(variances.shape[0])
    ]
    return tf.add_n(kernels) / len(kernels)


def mean_features(
    environments: Environments,
    rows: tf.Tensor,
    variances: tf.Tensor,
    number: int,
    seed: int,
) -> tf.Tensor:
    """Means by cell of features whose products are the Gaussian kernel on average.

    Cosines and sines of the rows along random directions, drawn anew for each batch:
    fixed ones would leave differences in all other directions unseen.

    Args:
      environments: the cells.
      rows: [B, D] float32.
      variances: [N] float32, the bandwidths squared.
      number: how many features, shared out to the bandwidths; at least 2 for each.
      seed: decides the draw together with the batch.

    Returns:
      [C * E, F] float32; each row's features have length 1.
    """
    bandwidths = variances.shape[0]
    each = max(number // (2 * bandwidths), 1)
    key = mix(batch_key(environments, rows) + tf.convert_to_tensor(seed, tf.int64))
    directions = normal(key, [rows.shape[1], bandwidths * each])
    phases = tf.matmul(rows, directions / tf.repeat(tf.sqrt(variances), each))
    means = tf.concat([environments.mean(part) for part in _waves(phases)], axis=1)
    return means * (bandwidths * each) ** -0.5


def _waves(phases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosines and sines; for the gradient each serves as the other's slope."""

    @tf.custom_gradient
    def waves(phases: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Gradient]:
        cosines, sines = tf.cos(phases), tf.sin(phases)

        def gradient(to_cosines: tf.Tensor, to_sines: tf.Tensor) -> tf.Tensor:
            return cosines * to_sines - sines * to_cosines

        return (cosines, sines), gradient

    return waves(phases)


def choose(batch: EnvironmentBatch, estimator: str) -> tuple[EnvironmentBatch, str]:
    """Settles what "auto" is where the size of the batch is known.

    Args:
      batch: this replica's rows.
      estimator: "auto", "exact" or "random_features".

    Returns:
      The batch, with the rows of every replica if all pairs of rows may be needed, and
      the estimator: "auto" where the size of the batch decides when it runs.
    """
    rows = batch.logits.shape[0]
    if estimator == "auto" and rows is not None:
        replica = tf.distribute.get_replica_context()
        if replica is not None and not batch.gathered:
            rows *= replica.num_replicas_in_sync
        estimator = "exact" if rows <= EXACT_UP_TO else "random_features"
    return batch if estimator == "random_features" else all_rows(batch), estimator


def by_estimator(
    estimator: str,
    rows: tf.Tensor,
    exact: Callable[[tf.Tensor], tf.Tensor],
    approximate: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """The one function of the rows or the other; for "auto" their number decides."""
    if estimator != "auto":
        return exact(rows) if estimator == "exact" else approximate(rows)

    def with_slopes(
        function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = function(rows)
        return value, tape.gradient(value, rows)

    # Each branch takes its own gradient: TensorFlow logs a warning where it is to take
    # that of branches which have nothing in common.
    @tf.custom_gradient
    def either(rows: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        value, slopes = tf.cond(
            tf.shape(rows)[0] <= EXACT_UP_TO,
            lambda: with_slopes(exact, rows),
            lambda: with_slopes(approximate, rows),
        )
        return value, lambda upstream: upstream * slopes

    return either(rows)


def squared_bandwidths(
    environments: Environments, rows: tf.Tensor, bandwidths: Sequence[float] | None
) -> tf.Tensor:
    """Bandwidths squared [N] float32; None for the median rule."""
    if bandwidths is None:
        return _median_of_squared_distances(environments, rows)[None]
    return tf.square(tf.constant(bandwidths, tf.float32))


def _median_of_squared_distances(
    environments: Environments, rows: tf.Tensor
) -> tf.Tensor:
    """Median squared distance between rows; their mean where most rows coincide."""
    rows, there = some_rows(environments, tf.stop_gradient(rows), MEDIAN_OF_ROWS)
    distances = squared_distances(rows, there)
    index = tf.range(tf.shape(rows)[0])
    pairs = there[:, None] & there & (index[:, None] < index)
    count = tf.reduce_sum(tf.cast(pairs, tf.float32))
    mean = tf.reduce_sum(tf.where(pairs, distances, 0.0)) / tf.maximum(count, 1.0)
    ordered = tf.sort(tf.reshape(tf.where(pairs, distances, distances.dtype.max), [-1]))
    number = tf.cast(count, tf.int32)
    middle = tf.stack([tf.maximum(number - 1, 0) // 2, number // 2])
    median = tf.reduce_mean(tf.gather(ordered, middle))
    # Rounding leaves a little between rows that are equal.
    found = tf.where((count > 0) & (median > 1e-6 * mean), median, mean)
    return tf.stop_gradient(tf.where(found > 0.0, found, 1.0))
