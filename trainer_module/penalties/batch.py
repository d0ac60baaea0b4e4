"""A batch as penalties see it, its loss an example, and the one place that groups.

Every penalty is a function of an `EnvironmentBatch`; every sum over an environment
goes through `group_by_environment`. Nothing else in the package knows how.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

TASKS = ("binary", "multiclass", "regression")


@dataclasses.dataclass(frozen=True)
class EnvironmentBatch:
    """Outputs of a model on one batch, with where each example came from.

    Can be made inside a `tf.function`, or passed into one: the tensors are traced,
    the numbers of environments and the task are part of the signature.

    Attributes:
      logits: [B, K] float; K = 1 for binary and regression.
      labels: [B, 1] for binary and regression; [B] or [B, 1] class ids or [B, K]
        one-hot for multiclass.
      environment_ids: [B] int in [0, num_environments). Rows with a negative id belong
        to no environment and are left out.
      num_environments: how many environments there are, present in the batch or not.
      sample_weights: [B] or [B, 1] float >= 0, or None for equal weights. A row of
        weight 0 counts as absent.
      representations: [B, D] float, the last hidden layer, or None.
      task: "binary", "multiclass" or "regression".
      group_ids: [B] int in [0, num_groups), or None: match over these instead of the
        environments.
      num_groups: how many groups there are; given with `group_ids` and only then.

    Raises:
      ValueError: unknown task, fewer than one environment, or only one of `group_ids`
        and `num_groups` was given.
    """

    logits: tf.Tensor
    labels: tf.Tensor
    environment_ids: tf.Tensor
    num_environments: int
    sample_weights: tf.Tensor | None = None
    representations: tf.Tensor | None = None
    task: str = "binary"
    group_ids: tf.Tensor | None = None
    num_groups: int | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(
                f"Unknown task {self.task!r}: expected one of {', '.join(TASKS)}"
            )
        if self.num_environments < 1:
            raise ValueError(
                f"num_environments is {self.num_environments}; expected at least 1"
            )
        if (self.group_ids is None) != (self.num_groups is None):
            raise ValueError("Give group_ids and num_groups together, or neither")

    def __tf_flatten__(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Splits into what is static and what is traced (TensorFlow's protocol)."""
        static = (self.num_environments, self.task, self.num_groups)
        tensors = (
            self.logits,
            self.labels,
            self.environment_ids,
            self.sample_weights,
            self.representations,
            self.group_ids,
        )
        return static, tensors

    @classmethod
    def __tf_unflatten__(
        cls, static: tuple[Any, ...], tensors: tuple[Any, ...]
    ) -> EnvironmentBatch:
        """Undoes `__tf_flatten__`."""
        num_environments, task, num_groups = static
        logits, labels, ids, weights, representations, group_ids = tensors
        return cls(
            logits=logits,
            labels=labels,
            environment_ids=ids,
            num_environments=num_environments,
            sample_weights=weights,
            representations=representations,
            task=task,
            group_ids=group_ids,
            num_groups=num_groups,
        )


@dataclasses.dataclass(frozen=True)
class Environments:
    """Weighted sums over the environments of one batch.

    Attributes:
      ids: [B] int32, the environment of each row; negative for none.
      weights: [B] float32 >= 0.
      size: how many environments there are, E.
      total_weight: [E] float32, summed over the rows of each environment.
    """

    ids: tf.Tensor
    weights: tf.Tensor
    size: int
    total_weight: tf.Tensor

    @property
    def present(self) -> tf.Tensor:
        """[E] float32: 1 where the batch holds weight of the environment, else 0."""
        return tf.cast(self.total_weight > 0, tf.float32)

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """Weighted mean of values in each environment.

        Args:
          values: [B] float, one for each row.

        Returns:
          [E] float32; 0 for an absent environment.
        """
        values = tf.math.multiply_no_nan(tf.cast(values, tf.float32), self.weights)
        sums = _segment_sum(values, self.ids, self.size)
        safe = tf.where(self.total_weight > 0, self.total_weight, 1.0)
        return sums / safe

    def average(self, values: tf.Tensor) -> tf.Tensor:
        """Unweighted mean over the environments that are present.

        Args:
          values: [E] float, one for each environment; absent ones are left out.

        Returns:
          Scalar float32; 0 if no environment is present.
        """
        count = tf.maximum(tf.reduce_sum(self.present), 1.0)
        return tf.reduce_sum(values * self.present) / count

    def variance(self, values: tf.Tensor) -> tf.Tensor:
        """Population variance over the environments that are present.

        Args:
          values: [E] float, one for each environment; absent ones are left out.

        Returns:
          Scalar float32 >= 0; 0 if fewer than two environments are present.
        """
        return self.average(tf.square(values - self.average(values)))


def group_by_environment(batch: EnvironmentBatch) -> Environments:
    """Groups a batch by environment, or by `group_ids` where they are given.

    The sums are vectorised (a segment sum, no loop over environments). Under a
    distribution strategy they run over all replicas, so that a penalty sees the whole
    batch.

    Args:
      batch: the batch; only ids, weights and the numbers of them are read.

    Returns:
      Means, and statistics over the environments that are present.
    """
    if batch.group_ids is None:
        ids, size = batch.environment_ids, batch.num_environments
    else:
        ids, size = batch.group_ids, int(batch.num_groups or 0)
    ids = tf.reshape(tf.cast(ids, tf.int32), [-1])
    if batch.sample_weights is None:
        weights = tf.ones_like(ids, tf.float32)
    else:
        weights = tf.reshape(tf.cast(batch.sample_weights, tf.float32), [-1])
    return Environments(ids, weights, size, _segment_sum(weights, ids, size))


def per_example_loss(batch: EnvironmentBatch) -> tf.Tensor:
    """Loss of each example, in float32 whatever the model computes in.

    Binary: logistic loss log(1 + exp(z)) - y z. Multiclass: cross-entropy of
    softmax(z). Regression: squared error (z - y)^2.

    Args:
      batch: logits [B, K], labels as `EnvironmentBatch` says.

    Returns:
      [B] float32 >= 0.
    """
    logits = tf.cast(batch.logits, tf.float32)
    if batch.task == "multiclass":
        return tf.nn.softmax_cross_entropy_with_logits(one_hot_labels(batch), logits)
    logits = tf.reshape(logits, [-1])
    labels = tf.reshape(tf.cast(batch.labels, tf.float32), [-1])
    if batch.task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    return tf.square(logits - labels)


def one_hot_labels(batch: EnvironmentBatch) -> tf.Tensor:
    """Multiclass labels as [B, K] float32, from ids or from one-hot rows."""
    classes = batch.logits.shape[-1]
    labels = tf.convert_to_tensor(batch.labels)
    if labels.shape.rank == 2 and labels.shape[-1] == classes:
        return tf.cast(labels, tf.float32)
    return tf.one_hot(tf.reshape(tf.cast(labels, tf.int32), [-1]), classes)


def _segment_sum(values: tf.Tensor, ids: tf.Tensor, size: int) -> tf.Tensor:
    """Sums values by id over the batch of every replica: [B], [B] -> [size]."""
    sums = tf.math.unsorted_segment_sum(values, ids, size)
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return sums
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, sums)
