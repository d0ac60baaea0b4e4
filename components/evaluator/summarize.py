"""From batches of evaluated examples to statistics by slice.

Values stay columns throughout; only the distinct slice values are ever looked at one by
one.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluator.pooling import Kept, pool
from components.evaluator.tasks import BINARY, Task

# TFMA's slice key: (feature, value) pairs sorted by feature; () is overall.
SliceKey = tuple[tuple[str, Any], ...]
Summary = dict[SliceKey, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Slicing:
    """Which slices to make in a split.

    Attributes:
      slices: features of each slicing spec; () is overall.
      kept: values that are not pooled, see `pooling.kept_slices`.
      environment: feature that is never pooled.
    """

    slices: tuple[tuple[str, ...], ...]
    kept: Kept | None
    environment: str

    @property
    def features(self) -> list[str]:
        """The features that some slice needs, each once."""
        return list(dict.fromkeys(f for features in self.slices for f in features))


@dataclasses.dataclass(frozen=True)
class Batch:
    """Columns of N evaluated examples.

    Attributes:
      labels: [N], as `tasks.Task.labels` gives them.
      weights: float64 [N], >= 0.
      blocks: int64 [N], jackknife blocks.
      predictions: model name -> [N], or [N, K] of several classes.
      values: slice feature -> [N], numbers, or objects with None where missing.
    """

    labels: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray
    predictions: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def numbers(self) -> int:
        """How many predictions there are, over all models and classes."""
        return sum(found.size for found in self.predictions.values())


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of all; at least one is given."""
    first = batches[0]
    return Batch(
        np.concatenate([b.labels for b in batches]),
        np.concatenate([b.weights for b in batches]),
        np.concatenate([b.blocks for b in batches]),
        {
            m: np.concatenate([b.predictions[m] for b in batches])
            for m in first.predictions
        },
        {f: np.concatenate([b.values[f] for b in batches]) for f in first.values},
    )


def summarize(batch: Batch, slicing: Slicing, task: Task = BINARY) -> Summary:
    """Statistics of every slice that has an example in the batch.

    An example where a feature of a slicing spec is missing belongs to none of its
    slices, as in TFMA.

    Args:
      batch: the examples.
      slicing: the slices to make.
      task: what is summed up.

    Returns:
      slice key -> model -> statistics of the task.
    """
    codes = {f: _encode(batch.values[f]) for f in slicing.features}
    rows = {
        model: task.rows_of(batch.labels, predictions, batch.weights)
        for model, predictions in batch.predictions.items()
    }
    summary: Summary = {}
    for features in slicing.slices:
        keys, groups = _slice_keys(features, codes, slicing, len(batch))
        for model, row in rows.items():
            found = task.group(row, batch.blocks, groups, len(keys))
            for key, statistics in zip(keys, found, strict=True):
                summary.setdefault(key, {})[model] = statistics
    return summary


def merge(summaries: Sequence[dict[str, Any]], task: Task = BINARY) -> dict[str, Any]:
    """Adds up the statistics of one slice, model by model."""
    models = dict.fromkeys(model for summary in summaries for model in summary)
    return {
        model: task.merge(s[model] for s in summaries if model in s) for model in models
    }


def _encode(values: np.ndarray) -> tuple[np.ndarray, list[Any]]:
    """Codes int64 [N] into the list of distinct values; -1 where missing."""
    encoded = pa.array(values, from_pandas=True).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64), encoded.dictionary.to_pylist()


def _slice_keys(
    features: tuple[str, ...],
    codes: dict[str, tuple[np.ndarray, list[Any]]],
    slicing: Slicing,
    rows: int,
) -> tuple[list[SliceKey], np.ndarray]:
    """The slices of one spec, pooled, and which of them each example is in."""
    joint, present = np.zeros(rows, np.int64), np.ones(rows, bool)
    for feature in features:
        column, values = codes[feature]
        joint = joint * max(len(values), 1) + column
        present &= column >= 0
    distinct, index = np.unique(joint[present], return_inverse=True)
    keys: dict[SliceKey, int] = {}
    group_of = np.empty(len(distinct), np.int64)
    for i, code in enumerate(distinct.tolist()):
        values_of_row = []
        for feature in reversed(features):
            values = codes[feature][1]
            code, position = divmod(code, len(values))
            values_of_row.append(_plain(values[position]))
        found = tuple(reversed(values_of_row))
        found = pool(found, features, slicing.kept, slicing.environment)
        key = tuple(sorted(zip(features, found, strict=True)))
        group_of[i] = keys.setdefault(key, len(keys))
    groups = np.full(rows, -1, np.int64)
    groups[present] = group_of[index.reshape(-1)]
    return list(keys), groups


def _plain(value: Any) -> Any:
    """A slice value as TFMA's keys hold it: text, int or float."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
