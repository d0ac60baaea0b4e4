"""Batches to devices: every replica gets its part of the same global batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainer_module.data import Split


def feed(
    split: Split,
    batch_size: int,
    seed: int,
    strategy: tf.distribute.Strategy,
    start: int = 0,
) -> Any:
    """An endless iterator of packed batches, for `strategy.run`.

    Replica k of R takes the rows k, k + R, k + 2 R, ... of each global batch. Rows lie
    by environment, so each replica has its part of every environment; and together they
    have what one device alone would have, on one machine or on several.

    Args:
      split: the training split.
      batch_size: rows of a global batch.
      seed: the same seed gives the same batches, however many replicas there are.
      strategy: says how many there are, and which of them are here.
      start: how many batches to leave out.

    Raises:
      ValueError: an environment has no rows, or there are fewer rows than replicas.
    """
    batches = split.balanced(batch_size, seed, start)
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return iter(batches)
    if batch_size < replicas:
        raise ValueError(
            f"batch_size is {batch_size}, but there are {replicas} devices, each of "
            "which needs a row of every batch: raise batch_size"
        )

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * here

        def parts(floats: tf.Tensor, ids: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.range(first, first + here).map(
                lambda replica: (floats[replica::replicas], ids[replica::replicas])
            )

        return batches.flat_map(parts).prefetch(2 * here)

    return iter(strategy.distribute_datasets_from_function(of_worker))
