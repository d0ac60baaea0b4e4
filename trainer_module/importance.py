"""Importance weights against covariate shift: ratios of densities by a classifier.

Where the environments differ in how often features occur, and not in what follows from
them, a row of environment e weighted by p_target(x) / p_e(x) stands for the target. A
classifier that tells environments apart gives that ratio, by Bayes' rule:

    p_f(x) / p_e(x) = (P(f | x) / P(f)) / (P(e | x) / P(e))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module.keras3 import keras

POOLED = "pooled"
BATCH_SIZE = 2048
LEARNING_RATE = 0.05


@dataclasses.dataclass(frozen=True)
class DensityRatio:
    """Weights of rows, from their features; fitted, and constant from then on.

    It holds arrays and no variables: it works under any distribution strategy and in
    any `tf.function`, with XLA too, and no gradient flows through it.

    Attributes:
      mean: [D], taken from the features.
      deviation: [D], that the features are then divided by.
      layers: (kernel, bias) of each layer of the classifier; ReLU between them.
      log_priors: [E] log P(e), the environments' shares of the rows.
      target: the environment that the others are to look like, or "pooled".
      clip: ratios are clipped to [1 / clip, clip].
      factors: [E], so that the weights of an environment have the mean 1.
      effective_sizes: [E] in (0, 1], the effective sample size of each environment's
        rows over their number n, (sum w)^2 / (n sum w^2); 1 for equal weights.
    """

    mean: np.ndarray
    deviation: np.ndarray
    layers: Sequence[tuple[np.ndarray, np.ndarray]]
    log_priors: np.ndarray
    target: int | str
    clip: float
    factors: np.ndarray
    effective_sizes: np.ndarray

    def __call__(self, features: Any, environment_ids: Any) -> tf.Tensor:
        """Weight of each row.

        Args:
          features: [B, D] float, the columns that it was fitted on.
          environment_ids: [B] int; rows with a negative id belong to no environment.

        Returns:
          [B] float32 > 0, with the mean 1 in each environment of the rows that it was
          fitted on; 0 for rows of no environment.
        """
        ids = tf.reshape(tf.cast(environment_ids, tf.int32), [-1])
        own = tf.maximum(ids, 0)
        weights = self.clipped_ratios(features, own) * tf.gather(self.factors, own)
        return tf.stop_gradient(tf.where(ids >= 0, weights, 0.0))

    def clipped_ratios(self, features: Any, environment_ids: Any) -> tf.Tensor:
        """p_target(x) / p_e(x) of each row, clipped: [B] float32."""
        densities = self._logits(features) - self.log_priors  # log p_e(x) + const(x)
        own = tf.gather(densities, environment_ids, batch_dims=1)
        if self.target == POOLED:
            pooled = tf.reduce_logsumexp(densities, axis=1)
            ratios = pooled - math.log(len(self.log_priors)) - own
        else:
            ratios = densities[:, int(self.target)] - own
        bound = math.log(self.clip)
        return tf.exp(tf.clip_by_value(ratios, -bound, bound))

    def _logits(self, features: Any) -> tf.Tensor:
        """The classifier's logits [B, E]."""
        values = (tf.cast(features, tf.float32) - self.mean) / self.deviation
        for kernel, bias in self.layers[:-1]:
            values = tf.nn.relu(tf.matmul(values, kernel) + bias)
        kernel, bias = self.layers[-1]
        return tf.matmul(values, kernel) + bias


def fit_density_ratio(
    features: Any,
    environment_ids: Any,
    num_environments: int,
    *,
    target: int | str = POOLED,
    clip: float = 10.0,
    hidden: Sequence[int] = (),
    steps: int = 500,
    l2: float = 1e-4,
    seed: int = 0,
) -> DensityRatio:
    """Fits importance weights between environments.

    A classifier of the environment is trained on standardised features: multinomial
    logistic regression, or a multilayer perceptron. Its posteriors give the ratio
    w(x) = p_target(x) / p_e(x) for rows of environment e; "pooled" is the mixture in
    which each environment counts alike. Ratios are clipped and then divided by their
    mean over the environment's rows.

    Training is by Adam with a rate that falls to 0, on batches of `BATCH_SIZE` rows
    drawn with replacement, or on all rows if they are fewer.

    Args:
      features: [N, D] finite numbers.
      environment_ids: [N] int in [0, num_environments); rows with a negative id are
        left out.
      num_environments: how many environments there are, E; each needs a row.
      target: id of the environment that all others are weighted to look like, or
        "pooled".
      clip: least and largest ratio are 1 / clip and clip; at least 1, which gives all
        rows the weight 1.
      hidden: units of each hidden layer; none for logistic regression.
      steps: of training.
      l2: factor of the sum of squared kernels, added to the mean cross-entropy.
      seed: of the initial kernels and the batches.

    Returns:
      The weights, a function of a batch's features and environment ids.

    Raises:
      ValueError: the shapes don't fit together, features are not finite, an id is out
        of range, an environment is empty, or the target, clip, steps or l2 is illegal.

    References:
      Bickel et al. 2009, Discriminative Learning Under Covariate Shift, JMLR.
      Sugiyama et al. 2012, Density Ratio Estimation in Machine Learning, chapter 4.
    """
    _check_options(target, num_environments, clip, steps, l2)
    rows, ids = _rows_of_environments(features, environment_ids, num_environments)
    counts = np.bincount(ids, minlength=num_environments)
    if not counts.all():
        raise ValueError(
            f"Environment {int(np.argmin(counts))} has no rows: importance weights "
            f"need some of each of the {num_environments} environments"
        )
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    deviation = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)
    layers = _fit_classifier(
        ((rows - mean) / deviation).astype(np.float32),
        ids,
        [*hidden, num_environments],
        steps,
        l2,
        seed,
    )
    ratio = DensityRatio(
        mean=mean.astype(np.float32),
        deviation=deviation.astype(np.float32),
        layers=layers,
        log_priors=np.log(counts / counts.sum()).astype(np.float32),
        target=target if target == POOLED else int(target),
        clip=float(clip),
        factors=np.ones(num_environments, np.float32),
        effective_sizes=np.ones(num_environments),
    )
    ratios = np.concatenate(
        [
            ratio.clipped_ratios(rows[part], ids[part]).numpy().astype(np.float64)
            for part in _slices(len(rows), 16 * BATCH_SIZE)
        ]
    )
    sums = np.bincount(ids, ratios)
    squares = np.bincount(ids, ratios**2)
    return dataclasses.replace(
        ratio,
        factors=(counts / sums).astype(np.float32),
        effective_sizes=sums**2 / (counts * squares),
    )


def _check_options(
    target: int | str, num_environments: int, clip: float, steps: int, l2: float
) -> None:
    is_id = isinstance(target, (int, np.integer)) and not isinstance(target, bool)
    if target != POOLED and not (is_id and 0 <= int(target) < num_environments):
        raise ValueError(
            f"The target of importance weights is {target!r}; expected {POOLED!r} or "
            f"the id of an environment, 0 to {num_environments - 1}"
        )
    if not (math.isfinite(clip) and clip >= 1):
        raise ValueError(
            f"clip of importance weights is {clip}; expected a finite number, at "
            "least 1: ratios are clipped to [1 / clip, clip]"
        )
    if steps < 1 or not (math.isfinite(l2) and l2 >= 0):
        raise ValueError(
            f"steps and l2 of importance weights are {steps} and {l2}; expected at "
            "least 1 step and a finite l2 >= 0"
        )


def _rows_of_environments(
    features: Any, environment_ids: Any, num_environments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] and ids [N] of the rows that belong to an environment."""
    rows = np.asarray(features, np.float32)
    ids = np.asarray(environment_ids).reshape(-1).astype(np.int64)
    if rows.ndim != 2 or len(rows) != len(ids):
        raise ValueError(
            f"Features have the shape {rows.shape} and there are {len(ids)} "
            "environment ids; expected [N, D] and N"
        )
    if len(ids) and ids.max() >= num_environments:
        raise ValueError(
            f"Environment id {ids.max()} is out of range: expected 0 to "
            f"{num_environments - 1}"
        )
    rows, ids = rows[ids >= 0], ids[ids >= 0]
    finite = np.isfinite(rows).all(axis=0)
    if not finite.all():
        raise ValueError(
            f"Column {int(np.argmin(finite))} of the features holds NaN or infinity: "
            "importance weights need finite features"
        )
    return rows, ids


def _fit_classifier(
    rows: np.ndarray,
    ids: np.ndarray,
    units: Sequence[int],
    steps: int,
    l2: float,
    seed: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases of a classifier of the ids, trained on rows."""
    *hidden, outputs = units
    layers = [
        keras.layers.Dense(
            size,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=seed + index),
        )
        for index, size in enumerate(hidden)
    ]
    # Zeros: training starts at equal densities.
    layers.append(keras.layers.Dense(outputs, kernel_initializer="zeros"))
    model = keras.Sequential([keras.Input((rows.shape[1],)), *layers])
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer = keras.optimizers.Adam(rate)
    variables = model.trainable_variables
    optimizer.build(variables)
    inputs, labels = tf.constant(rows), tf.constant(ids, tf.int32)

    @tf.function(autograph=False)
    def train(step: tf.Tensor) -> None:
        x, y = inputs, labels
        if len(rows) > BATCH_SIZE:
            drawn = tf.random.stateless_uniform(
                [BATCH_SIZE], [seed, step], maxval=len(rows), dtype=tf.int32
            )
            x, y = tf.gather(inputs, drawn), tf.gather(labels, drawn)
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x))
            squares = [tf.reduce_sum(tf.square(layer.kernel)) for layer in layers]
            loss = tf.reduce_mean(losses) + l2 * tf.add_n(squares)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for step in range(steps):
        train(tf.constant(step))
    return [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers]


def _slices(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
