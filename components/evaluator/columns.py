"""Columns out of TFMA's batched extracts, checked as they are taken."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components import buckets as bucketing
from components.errors import DataError


def dense(value: Any, rows: int, name: str, split: str) -> np.ndarray:
    """A feature of a batch as one value a row.

    Args:
      value: TFMA's VarLenTensorValue, or an array [N] or [N, 1], or None if no example
        of the batch has the feature.
      rows: N.
      name: the feature, for messages.
      split: the split, for messages.

    Returns:
      [N] numbers where every row has one, else objects with None where it is missing.

    Raises:
      DataError: an example has several values.
    """
    if value is None:
        return np.full(rows, None, dtype=object)
    if isinstance(value, np.ndarray):
        values, index = value.reshape(-1), np.arange(rows)
    else:
        values, index = np.asarray(value.values), np.asarray(value.indices)[:, 0]
    if len(values) > rows or (len(index) > 1 and np.any(np.diff(index) == 0)):
        raise DataError(
            f"feature {name!r} in split {split!r}: an example has several values, where"
            " label, weight, slices and cluster keys take one"
        )
    if len(values) == rows:
        return values
    column = np.full(rows, None, dtype=object)
    column[index] = values
    return column


def labels(column: np.ndarray, name: str, split: str) -> np.ndarray:
    """The label column as float64 [N] of 0 and 1.

    Raises:
      DataError: one is missing or anything else.
    """
    wrong = [value for value in _distinct(column) if value not in (0, 1)]
    if wrong:
        found = "none" if wrong[0] is None else repr(wrong[0])
        raise DataError(
            f"label {name!r} in split {split!r}: found {found} in an example, expected"
            " 0 or 1; make the label (data.label) or drop such rows"
        )
    return column.astype(np.float64)


def classes(column: np.ndarray, name: str, split: str, number: int) -> np.ndarray:
    """The label column as int64 [N] in [0, number).

    Raises:
      DataError: one is missing or anything else.
    """
    legal = range(number)  # holds 1.0 as well as 1
    wrong = [value for value in _distinct(column) if value not in legal]
    if wrong:
        found = "none" if wrong[0] is None else repr(wrong[0])
        raise DataError(
            f"label {name!r} in split {split!r}: found {found} in an example, expected"
            f" a class from 0 to {number - 1}; name every class (data.label.classes) or"
            " drop such rows"
        )
    return column.astype(np.int64)


def numbers(column: np.ndarray, name: str, split: str) -> np.ndarray:
    """The label column as finite float64 [N].

    Raises:
      DataError: one is missing, no number or not finite.
    """
    if column.dtype == object or column.dtype.kind not in "iuf":
        raise DataError(
            f"label {name!r} in split {split!r}: an example has none, or no number;"
            " give every example a number or drop such rows"
        )
    found = column.astype(np.float64)
    wrong = found[~np.isfinite(found)]
    if len(wrong):
        raise DataError(
            f"label {name!r} in split {split!r}: found {wrong[0]} in an example,"
            " expected a finite number; mend the label or drop such rows"
        )
    return found


def weights(column: np.ndarray, name: str, split: str) -> np.ndarray:
    """The weight column as float64 [N].

    Raises:
      DataError: one is missing, not finite or negative.
    """
    if column.dtype == object or column.dtype.kind not in "iuf":
        raise DataError(
            f"weight {name!r} in split {split!r}: an example has none, or no number;"
            " give every example a number >= 0"
        )
    found = column.astype(np.float64)
    wrong = found[~(np.isfinite(found) & (found >= 0))]
    if len(wrong):
        raise DataError(
            f"weight {name!r} in split {split!r}: found {wrong[0]}, expected a finite"
            " number >= 0"
        )
    return found


def buckets(
    column: np.ndarray, edges: Sequence[float], name: str, split: str
) -> np.ndarray:
    """A feature's buckets as objects [N]: text, None where it is missing.

    Raises:
      DataError: it holds no numbers.
    """
    values = pa.array(column, from_pandas=True)
    try:
        found = bucketing.label(values, edges)
    except ValueError as error:
        raise DataError(
            f"feature {name!r} in split {split!r}: buckets need numbers, found"
            f" {values.drop_null()[0].as_py()!r}; slice by its values instead"
        ) from error
    return found.to_numpy(zero_copy_only=False)


def predictions(
    outputs: Any,
    models: dict[str, str],
    rows: int,
    classes: int | None = None,
    meaning: str = "a binary model gives one probability each",
) -> dict[str, np.ndarray]:
    """Each model's predictions.

    Args:
      outputs: TFMA's predictions of a batch: one model's output, or that of each by
        name; an output is an array, or arrays by the signature's keys.
      models: model name -> prediction key.
      rows: N.
      classes: K, where an example has so many values; None where it has one.
      meaning: what a model of the task gives, for messages.

    Returns:
      model name -> float [N], or [N, K].

    Raises:
      DataError: the key is not there, or the shape is another.
    """
    found = {}
    for model, key in models.items():
        output = outputs if len(models) == 1 else outputs[model]
        if isinstance(output, dict):
            if key not in output:
                raise DataError(
                    f"the {model} model's signature has no output {key!r}, only"
                    f" {', '.join(sorted(output))}; set prediction_key"
                )
            output = output[key]
        values = np.asarray(output)
        if values.size != rows * (classes or 1):
            raise DataError(
                f"output {key!r} of the {model} model has shape {values.shape} for"
                f" {rows} examples; {meaning}"
            )
        found[model] = values.reshape((rows, classes) if classes else -1)
    return found


def _distinct(column: np.ndarray) -> Iterable[Any]:
    if column.dtype == object:
        return set(column.tolist())
    return np.unique(column).tolist()
