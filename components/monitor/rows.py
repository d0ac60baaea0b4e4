"""The examples of a look, as columns."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from components.evaluator.pooling import OTHER
from components.invariance_validator.kinds import ENVIRONMENT, Slice, slice_name


@dataclasses.dataclass(frozen=True)
class Rows:
    """Examples with what is asked of them.

    Attributes:
      labels: float64 [N], NaN where it is unknown; of several classes their ids.
      predictions: [N], of several classes [N, K].
      values: feature -> text [N] (object), None where it is missing; of the environment
        and what is sliced by.
      units: uint64 [N], the same for what belongs together; None: each for itself.
      weights: float64 [N], or None.
      missing: column -> bool [N].
    """

    labels: np.ndarray
    predictions: np.ndarray
    values: Mapping[str, np.ndarray]
    units: np.ndarray | None = None
    weights: np.ndarray | None = None
    missing: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def environments(self) -> np.ndarray:
        """Of each row its environment; never None."""
        return self.values[ENVIRONMENT]


def concatenate(parts: Sequence[Rows]) -> Rows:
    """One of all; at least one is given."""

    def joined(found: list[np.ndarray | None]) -> np.ndarray | None:
        return np.concatenate(found) if found[0] is not None else None  # type: ignore[arg-type]

    first = parts[0]
    return Rows(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.predictions for part in parts]),
        {n: np.concatenate([part.values[n] for part in parts]) for n in first.values},
        joined([part.units for part in parts]),
        joined([part.weights for part in parts]),
        {n: np.concatenate([part.missing[n] for part in parts]) for n in first.missing},
    )


def sliced(
    rows: Rows, chosen: np.ndarray, features: tuple[str, ...], kept: frozenset[str]
) -> dict[str, np.ndarray]:
    """The slices by some features.

    As the Evaluator does it: a row without one of the features is in none, and values
    that the release did not measure on their own are pooled, but for environments.

    Args:
      rows: of the look.
      chosen: int64 [M], the rows to slice.
      features: to slice by; () is all.
      kept: names of the slices that stay on their own.

    Returns:
      name -> its rows, in the order of the names.
    """
    if not features:
        return {slice_name(()): chosen}
    codes = np.zeros(len(chosen), np.int64)
    values: list[np.ndarray] = []
    present = np.ones(len(chosen), bool)
    for feature in features:
        column = rows.values[feature][chosen]
        there = np.array([value is not None for value in column], bool)
        present &= there
        texts, index = np.unique(
            np.where(there, column, "").astype(str), return_inverse=True
        )
        values.append(texts)
        codes = codes * max(len(texts), 1) + index.reshape(-1)
    found: dict[str, list[np.ndarray]] = {}
    for code in np.unique(codes[present]).tolist():
        at, pairs = chosen[present & (codes == code)], []
        for feature, texts in zip(reversed(features), reversed(values), strict=True):
            code, position = divmod(code, len(texts))
            pairs.append((feature, str(texts[position])))
        found.setdefault(_pooled(tuple(reversed(pairs)), kept), []).append(at)
    return {name: np.concatenate(found[name]) for name in sorted(found)}


def _pooled(pairs: Slice, kept: frozenset[str]) -> str:
    name = slice_name(pairs)
    if name in kept or all(feature == ENVIRONMENT for feature, _ in pairs):
        return name
    return slice_name(tuple((f, v if f == ENVIRONMENT else OTHER) for f, v in pairs))


def in_slice(rows: Rows, chosen: np.ndarray, pairs: Slice) -> np.ndarray:
    """Those of some rows that have all of the values."""
    for feature, value in pairs:
        chosen = chosen[rows.values[feature][chosen] == value]
    return chosen
