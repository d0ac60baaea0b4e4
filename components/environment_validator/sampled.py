"""The sampled rows of every environment, feature by feature, as numbers and bins."""

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.environment_validator import events
from components.environment_validator.profiles import Profile

NUMBER, CATEGORY = "number", "category"
# A number with fewer distinct values is compared value by value, else in quantile bins.
_MOST_VALUES = 1_000
_QUANTILE_BINS = 64
_CHUNK = 1_000_000


@dataclasses.dataclass(frozen=True)
class Feature:
    """A feature's sampled values by environment.

    Attributes:
      name: `temp`, or `pixels[17]` for a position of a list.
      kind: number or category.
      values: of a number, float64 [rows] an environment, NaN where missing; of a
        category, its codes, int64 [rows], -1 where missing.
      bins: int64 [rows] an environment: the value's bin, 0 where missing.
      num_bins: bins are below it.
      categories: the text of each code; () for a number.
    """

    name: str
    kind: str
    values: tuple[np.ndarray, ...]
    bins: tuple[np.ndarray, ...]
    num_bins: int
    categories: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Samples of the environments that are compared.

    Attributes:
      environments: names; the training ones first.
      num_training: how many these are.
      labels: [rows] an environment: 0 and 1, ids of classes, or numbers.
      features: the candidates.
      task: binary, multiclass or regression.
      classes: their names, for multiclass.
    """

    environments: tuple[str, ...]
    num_training: int
    labels: tuple[np.ndarray, ...]
    features: tuple[Feature, ...]
    task: str = "binary"
    classes: tuple[str, ...] = ()

    @functools.cached_property
    def events(self) -> tuple[events.Event, ...]:
        """What features are asked to tell."""
        return events.of(self.labels, self.task, self.classes, self.num_training)


def gather(
    profiles: Sequence[Profile],
    label: str,
    categorical: Collection[str] = (),
    task: str = "binary",
    classes: tuple[str, ...] = (),
) -> Sampled:
    """Puts the samples of the train and the ood split side by side.

    Args:
      profiles: of all splits.
      label: its name.
      categorical: numbers that are names: compared as categories.
      task: binary, multiclass or regression.
      classes: their names, for multiclass.
    """
    compared = [p for p in profiles if p.split in ("train", "ood") and p.rows]
    compared.sort(key=lambda p: (p.split == "ood", p.environment))
    tables = [p.sample for p in compared]
    names = dict.fromkeys(n for t in tables for n in t.schema.names if n != label)
    features = [f for n in names if (f := _feature(n, tables, categorical)) is not None]
    return Sampled(
        tuple(p.environment for p in compared),
        sum(p.split == "train" for p in compared),
        tuple(t[label].to_numpy() for t in tables),
        tuple(features),
        task,
        classes,
    )


def _feature(
    name: str, tables: Sequence[pa.Table], categorical: Collection[str]
) -> Feature | None:
    columns = [
        t[name] if name in t.schema.names else pa.chunked_array([pa.nulls(len(t))])
        for t in tables
    ]
    kinds = {c.type for c in columns if not pa.types.is_null(c.type)}
    text = any(pa.types.is_string(kind) for kind in kinds)
    if text or name in categorical:
        return _category(name, [_as_text(c, text) for c in columns])
    values = tuple(np.asarray(c.cast(pa.float64()), np.float64) for c in columns)
    if all(np.isnan(v).all() for v in values):
        return None
    edges = _edges(np.concatenate(values))
    bins = tuple(
        np.where(np.isnan(v), 0, np.searchsorted(edges, v, side="right") + 1)
        for v in values
    )
    return Feature(name, NUMBER, values, bins, len(edges) + 2)


def _as_text(column: Any, is_text: bool) -> pa.Array:
    """As text where it is; a number that is a name, as it is written."""
    column = pa.concat_arrays([pa.array([], column.type), *column.chunks])
    if is_text or pa.types.is_null(column.type):
        return column.cast(pa.string())
    found = column.dictionary_encode()
    texts = [f"{value:g}" for value in found.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(found.indices)


def _category(name: str, columns: Sequence[pa.Array]) -> Feature:
    encoded = pa.concat_arrays(list(columns)).dictionary_encode()
    codes = (
        encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    ends = np.cumsum([len(c) for c in columns])[:-1]
    values = tuple(np.split(codes, ends))
    texts = tuple(encoded.dictionary.to_pylist())
    bins = tuple(v + 1 for v in values)
    return Feature(name, CATEGORY, values, bins, len(texts) + 1, texts)


def _edges(values: np.ndarray) -> np.ndarray:
    """Upper edges of the bins: between distinct values, or quantiles; rising."""
    there = values[~np.isnan(values)]
    distinct = np.unique(there)
    if len(distinct) <= _MOST_VALUES:
        return distinct[1:]
    shares = np.arange(1, _QUANTILE_BINS) / _QUANTILE_BINS
    return np.unique(np.quantile(there, shares))
