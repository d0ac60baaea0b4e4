"""Pooling of small slices, by the counts that came with the examples.

A verdict must not hang on six flights: a slice with fewer than `min_examples` gives up
its values (the environment's excepted) for `other`. Crosses are pooled by their own
counts, so `environment=EWR,carrier=HA` may be pooled where `carrier=HA` is not.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from components.errors import DataError

OTHER = "other"

# Slice features -> the joint values, as text, that stay on their own.
Kept = dict[tuple[str, ...], frozenset[tuple[str, ...]]]


def text(value: Any) -> str:
    """A slice value as text, the way the counts write it.

    Args:
      value: bytes, str, int or float (float32 precision, as tf.Examples store it).
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (float, np.floating)):
        return str(np.float32(value))
    return str(value)


def kept_slices(
    counts: Iterable[str],
    split: str,
    slices: Sequence[tuple[str, ...]],
    environment: str,
    min_examples: int,
) -> Kept | None:
    """The joint values that are large enough to stay on their own.

    Args:
      counts: the `counts` property of each examples artifact (JSON).
      split: the split to look at.
      slices: features of each slicing spec.
      environment: feature that is never pooled.
      min_examples: smallest number of examples.

    Returns:
      For each spec with a feature besides the environment, the values kept; None where
      nothing is pooled.

    Raises:
      DataError: the counts do not tell about a spec in this split.
    """
    if min_examples <= 0:
        return None
    totals = [json.loads(part).get("slices", {}).get(split, {}) for part in counts]
    kept: Kept = {}
    for features in slices:
        if set(features) <= {environment}:
            continue
        numbers: dict[tuple[str, ...], int] = {}
        found = [_lookup(part, features) for part in totals]
        if not any(f is not None for f in found):
            raise DataError(
                f"the counts on the examples say nothing of slice {list(features)} in"
                f" split {split!r}; let MultiEnvExampleGen count it (its slices), or"
                " set the Evaluator's min_examples to 0"
            )
        for values, number in (entry for part in found for entry in part or []):
            key = tuple(text(value) for value in values)
            numbers[key] = numbers.get(key, 0) + int(number)
        kept[features] = frozenset(k for k, n in numbers.items() if n >= min_examples)
    return kept


def pool(
    values: tuple[Any, ...],
    features: tuple[str, ...],
    kept: Kept | None,
    environment: str,
) -> tuple[Any, ...]:
    """The values under which an example is evaluated.

    Args:
      values: joint values of `features`.
      features: features of the slicing spec.
      kept: from `kept_slices`.
      environment: feature that is never pooled.

    Returns:
      `values`, or with `other` for all but the environment where they are too few.
    """
    if kept is None or features not in kept:
        return values
    if tuple(text(value) for value in values) in kept[features]:
        return values
    return tuple(
        value if feature == environment else OTHER
        for feature, value in zip(features, values, strict=True)
    )


def _lookup(
    slices: dict[str, Any], features: tuple[str, ...]
) -> list[tuple[list[Any], int]] | None:
    """Counts of a spec, whatever the order in which the counts name its features."""
    for key, entries in slices.items():
        names = json.loads(key)
        if sorted(names) == sorted(features):
            order = [names.index(feature) for feature in features]
            return [([values[i] for i in order], number) for values, number in entries]
    return None
