"""A batch as penalties see it, and the one place that groups.

Every penalty is a function of an `EnvironmentBatch`; every sum over an environment
goes through `group_by_environment`. Nothing else in the package knows how.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
      gathered: the rows are those of every replica; `all_rows` sets it.

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
    gathered: bool = False

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
        static = (self.num_environments, self.task, self.num_groups, self.gathered)
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
        num_environments, task, num_groups, gathered = static
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
            gathered=gathered,
        )


@dataclasses.dataclass(frozen=True)
class Environments:
    """Weighted sums over the environments of one batch.

    Where they are given the label, an environment and a class make a cell of their
    own, class by class, and statistics over environments are taken within each class
    and then averaged over the classes. Else a cell is an environment.

    Attributes:
      ids: [B] int32, the cell of each row; negative for none.
      weights: [B] float32 >= 0; 0 for rows of no cell.
      size: how many environments there are, E.
      classes: how many classes the environments are split into, C; 1 for no split.
      total_weight: [C * E] float32, summed over the rows of each cell.
      gathered: the rows are those of every replica.
      weighted: whether some row of a cell may have another weight than 1.
    """

    ids: tf.Tensor
    weights: tf.Tensor
    size: int
    classes: int
    total_weight: tf.Tensor
    gathered: bool = False
    weighted: bool = True

    @property
    def cells(self) -> int:
        """How many cells there are, C * E."""
        return self.classes * self.size

    @property
    def present(self) -> tf.Tensor:
        """[C * E] float32: 1 where the batch holds weight of the cell, else 0."""
        return tf.cast(self.total_weight > 0, tf.float32)

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """Weighted sum of values in each cell.

        Args:
          values: [B] or [B, D] float, one row for each example.

        Returns:
          [C * E] or [C * E, D] float32; 0 for an absent cell.
        """
        values = tf.cast(values, tf.float32)
        if self.weighted:
            values *= _like(self.weights, values)
        return _cell_sum(values, self.ids, self.cells, self.gathered)

    def over_replicas(self, sums: tf.Tensor) -> tf.Tensor:
        """Adds up what each replica has summed over its own rows."""
        return _over_replicas(sums, self.gathered)

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """Weighted mean of values in each cell.

        Args:
          values: [B] or [B, D] float, one row for each example.

        Returns:
          [C * E] or [C * E, D] float32; 0 for an absent cell.
        """
        sums = self.sum(values)
        safe = tf.where(self.total_weight > 0, self.total_weight, 1.0)
        return sums / _like(safe, sums)

    def of_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Each row's cell's value: [C * E, ...] to [B, ...]; 0 for rows of no cell."""
        return _rows_of(values, self.ids)

    def average(self, values: tf.Tensor) -> tf.Tensor:
        """Unweighted mean over the environments that are present.

        Args:
          values: [C * E, ...] float, one for each cell; absent ones are left out.

        Returns:
          [...] float32: the mean within each class, averaged over the classes that are
          present; 0 if no environment is.
        """
        means, count = self._within(values)
        there = _like(tf.cast(count > 0, tf.float32), means)
        return tf.reduce_sum(means * there, axis=0) / tf.maximum(
            tf.reduce_sum(there, axis=0), 1.0
        )

    def variance(self, values: tf.Tensor) -> tf.Tensor:
        """Population variance over the environments that are present.

        Args:
          values: [C * E, ...] float, one for each cell; absent ones are left out.

        Returns:
          [...] float32 >= 0: the variance within each class, averaged over the classes
          that are present; 0 if fewer than two environments are.
        """
        means, _ = self._within(values)
        centered = values - tf.repeat(means, self.size, axis=0)
        return self.average(tf.square(centered))

    def _within(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Means within each class [C, ...], and numbers of environments [C]."""
        kept = tf.where(_like(self.present > 0, values), values, 0.0)
        shape = [self.classes, self.size, *values.shape[1:]]
        count = tf.reduce_sum(
            tf.reshape(self.present, [self.classes, self.size]), axis=1
        )
        sums = tf.reduce_sum(tf.reshape(kept, shape), axis=1)
        return sums / _like(tf.maximum(count, 1.0), sums), count


def group_by_environment(
    batch: EnvironmentBatch, conditional: bool = False
) -> Environments:
    """Groups a batch by environment, or by `group_ids` where they are given.

    The sums are vectorised (no loop over environments). Under a distribution strategy
    they run over all replicas, so that a penalty sees the whole batch.

    Args:
      batch: the batch; read are ids, weights, the numbers of them, and the labels if
        asked for.
      conditional: given the label: an environment is split by class.

    Returns:
      Means, and statistics over the environments that are present.

    Raises:
      ValueError: conditional on the label of a regression.
    """
    if batch.group_ids is None:
        ids, size = batch.environment_ids, batch.num_environments
    else:
        ids, size = batch.group_ids, int(batch.num_groups or 0)
    ids = tf.reshape(tf.cast(ids, tf.int32), [-1])
    ids = tf.where(ids < size, ids, -1)
    if batch.sample_weights is None:
        weights = tf.ones_like(ids, tf.float32)
    else:
        weights = tf.reshape(tf.cast(batch.sample_weights, tf.float32), [-1])
    weights = tf.where(ids >= 0, weights, 0.0)
    ids = tf.where(weights > 0, ids, -1)
    classes = 1
    if conditional:
        labels, classes = class_ids(batch)
        ids = tf.where(ids >= 0, labels * size + ids, -1)
    total = _cell_sum(weights, ids, classes * size, batch.gathered)
    weighted = batch.sample_weights is not None
    return Environments(ids, weights, size, classes, total, batch.gathered, weighted)


def all_rows(batch: EnvironmentBatch) -> EnvironmentBatch:
    """The batch with the rows of every replica, for what is not a sum over rows.

    Outside a distribution strategy, or with one replica, it is the batch itself.
    Gradients flow back to the replica that a row came from.

    Args:
      batch: this replica's rows.

    Returns:
      A batch whose `group_by_environment` no longer sums over replicas.
    """
    replica = tf.distribute.get_replica_context()
    if batch.gathered or replica is None or replica.num_replicas_in_sync == 1:
        return dataclasses.replace(batch, gathered=True)
    fields = {
        field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)
    }
    gathered = {
        # Gathering forgets the width.
        name: tf.ensure_shape(
            replica.all_gather(tensor, axis=0), [None, *tensor.shape[1:]]
        )
        for name, tensor in fields.items()
        if tf.is_tensor(tensor)
    }
    return dataclasses.replace(batch, gathered=True, **gathered)


def outputs_of(batch: EnvironmentBatch, on: str) -> tf.Tensor:
    """The outputs that a penalty is on.

    Args:
      batch: the batch.
      on: "logits" or "representations".

    Returns:
      [B, K] logits or [B, D] representations, float32.

    Raises:
      ValueError: representations are asked for, and the batch has none; or the outputs
        are no matrix of a known width.
    """
    outputs = batch.logits if on == "logits" else batch.representations
    if outputs is None:
        raise ValueError(
            "The penalty is on representations, but the batch has none: let the model "
            "return (logits, representations), or choose on='logits'"
        )
    outputs = tf.cast(outputs, tf.float32)
    if outputs.shape.rank != 2 or outputs.shape[1] is None:
        raise ValueError(
            f"The {on} have the shape {outputs.shape}; expected [batch, width] with a "
            "known width: flatten them in the model"
        )
    return outputs


def class_ids(batch: EnvironmentBatch) -> tuple[tf.Tensor, int]:
    """Labels as ids [B] int32, and how many classes there are.

    Raises:
      ValueError: the task is a regression.
    """
    if batch.task == "regression":
        raise ValueError(
            "Labels of a regression are no classes to condition on: choose "
            "conditional=False"
        )
    if batch.task == "binary":
        labels = tf.reshape(tf.cast(batch.labels, tf.float32), [-1])
        return tf.cast(labels > 0.5, tf.int32), 2
    labels = tf.argmax(one_hot_labels(batch), axis=-1, output_type=tf.int32)
    return labels, int(batch.logits.shape[-1])


def one_hot_labels(batch: EnvironmentBatch) -> tf.Tensor:
    """Multiclass labels as [B, K] float32, from ids or from one-hot rows."""
    classes = batch.logits.shape[-1]
    labels = tf.convert_to_tensor(batch.labels)
    if labels.shape.rank == 2 and labels.shape[-1] == classes:
        return tf.cast(labels, tf.float32)
    return tf.one_hot(tf.reshape(tf.cast(labels, tf.int32), [-1]), classes)


def _cell_sum(
    values: tf.Tensor, ids: tf.Tensor, size: int, gathered: bool
) -> tf.Tensor:
    """Sums values by id over the batch of every replica: [B, ...] to [size, ...]."""
    return _over_replicas(_segment_sum(values, ids, size), gathered)


def _over_replicas(sums: tf.Tensor, gathered: bool) -> tf.Tensor:
    replica = tf.distribute.get_replica_context()
    if gathered or replica is None or replica.num_replicas_in_sync == 1:
        return sums
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, sums)


def _segment_sum(values: tf.Tensor, ids: tf.Tensor, size: int) -> tf.Tensor:
    """Sums values by id; rows with a negative id are left out, whatever they hold.

    Its gradient is `_rows_of`, half the passes over memory of TensorFlow's own.
    """

    @tf.custom_gradient
    def total(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        sums = tf.math.unsorted_segment_sum(values, ids, size)
        return sums, lambda upstream: _rows_of(upstream, ids)

    return total(values)


def _rows_of(values: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Each row's value by its id, 0 where that is negative: [size, ...] to [B, ...]."""
    size = values.shape[0]

    @tf.custom_gradient
    def rows(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        padded = tf.concat([values, tf.zeros_like(values[:1])], axis=0)
        taken = tf.gather(padded, tf.where(ids < 0, size, ids))
        return taken, lambda upstream: _segment_sum(upstream, ids, size)

    return rows(values)


def _like(vector: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """A vector with as many trailing dimensions of 1 as it takes to broadcast."""
    return tf.reshape(vector, [-1] + [1] * (values.shape.rank - 1))
