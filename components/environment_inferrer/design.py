"""Columns as one matrix for the reference model.

| column is          | becomes                                                     |
|--------------------|-------------------------------------------------------------|
| numeric            | z-score within +-5, 0 where missing; and 1 where missing,   |
|                    | if the sample has such a row                                |
| categorical        | 0 or 1 for each of its 50 most frequent values              |
| dense (a vector)   | its entries, centred, over their common standard deviation; |
|                    | 0 where missing or of another length                        |

Everything is learned from the sample and then fixed.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import DataError
from components.multi_env_example_gen.columns import Schema, as_kind, flat, to_feature

MOST_VALUES, FEWEST_ROWS = 50, 5
_FURTHEST = 5.0
_TARGETS = {"int": pa.int64(), "float": pa.float64(), "bytes": pa.binary()}

NUMERIC, CATEGORICAL, DENSE = "numeric", "categorical", "dense"


def stored(array: pa.Array, schema: Schema, name: str) -> pa.Array:
    """A column as Parquet holds it between two stages, whatever it was read from.

    Reading it again gives the same label, the same keys of a split and the same
    feature as the source does.

    Args:
      array: as the readers gave it; [rows].
      schema: of all columns.
      name: of this one.

    Returns:
      int64, float64 or binary, or lists of int64, float32 or binary; [rows].
    """
    column = schema[name]
    if column.is_list:
        return to_feature(array, column)
    target = _TARGETS["int" if column.kind == "null" else column.kind]
    return as_kind(flat(array), column.kind, target)


def stored_type(schema: Schema, name: str) -> pa.DataType:
    """The type of `stored`."""
    return stored(pa.nulls(0), schema, name).type


def choose(
    schema: Schema, features: Mapping[str, Any], never: Collection[str]
) -> dict[str, str]:
    """Which column is which kind of feature.

    Args:
      schema: of all columns.
      features: the config's `data.features`; where it names none, every column that is
        left becomes one by its kind.
      never: columns that are no features.

    Returns:
      Column -> numeric, categorical or dense; sorted.

    Raises:
      DataError: a named column is not there or of another kind; none is left.
    """
    named = {name: NUMERIC for name in features.get("numeric") or ()}
    named |= {name: NUMERIC for name in features.get("bucketized") or ()}
    named |= {name: CATEGORICAL for name in features.get("categorical") or ()}
    named |= {name: DENSE for name in features.get("dense") or ()}
    for name, kind in named.items():
        if name not in schema:
            raise DataError(
                f"data.features.{kind}: column {name!r} is not in the data; the columns"
                f" are {', '.join(schema)}"
            )
        if kind != CATEGORICAL and schema[name].kind == "bytes":
            raise DataError(
                f"data.features.{kind}: column {name!r} holds text, and environments"
                " are inferred from it as numbers; name it under categorical"
            )
    if not named:
        named = {
            name: _kind(schema, name)
            for name, column in schema.items()
            if name not in never and (column.kind != "bytes" or not column.is_list)
        }
    if not named:
        raise DataError(
            "data.features: no column is left to infer environments from; exclude fewer"
        )
    return dict(sorted(named.items()))


def _kind(schema: Schema, name: str) -> str:
    if schema[name].is_list:
        return DENSE
    return CATEGORICAL if schema[name].kind == "bytes" else NUMERIC


@dataclasses.dataclass(frozen=True)
class Part:
    """How one column becomes entries of a row.

    Attributes:
      column: its name.
      kind: numeric, categorical or dense.
      width: entries.
      centre: of numeric and dense, what is taken off; float32 [width or 1].
      scale: of numeric and dense, what it is divided by.
      flags_missing: of numeric, whether a second entry says that it is missing.
      values: of categorical, those that have an entry.
    """

    column: str
    kind: str
    width: int
    centre: np.ndarray | None = None
    scale: float = 1.0
    flags_missing: bool = False
    values: tuple[bytes, ...] = ()

    def apply(self, array: pa.Array) -> np.ndarray:
        """Entries of a column; float32 [rows, width]."""
        if self.kind == CATEGORICAL:
            index = pc.index_in(_texts(array), pa.array(self.values, pa.binary()))
            found = pc.fill_null(index, -1).to_numpy(zero_copy_only=False)
            return (found[:, None] == np.arange(self.width)).astype(np.float32)
        if self.kind == DENSE:
            rows = _vectors(array, self.width)
            return _centred(rows, self.centre, self.scale)
        numbers = _numbers(array)[:, None]
        scaled = _centred(numbers, self.centre, self.scale)
        scaled = np.clip(scaled, -_FURTHEST, _FURTHEST)
        if not self.flags_missing:
            return scaled
        return np.hstack([scaled, np.isnan(numbers).astype(np.float32)])


@dataclasses.dataclass(frozen=True)
class Encoder:
    """How the columns of a row become its entries in the matrix."""

    parts: tuple[Part, ...]

    def apply(self, columns: Mapping[str, pa.Array]) -> np.ndarray:
        """The matrix.

        Args:
          columns: as `stored` gives them, each [rows].

        Returns:
          float32 [rows, width].
        """
        return np.hstack([part.apply(columns[part.column]) for part in self.parts])

    @property
    def width(self) -> int:
        """Entries of a row."""
        return sum(part.width for part in self.parts)

    @property
    def slices(self) -> dict[str, slice]:
        """Column -> its place in the matrix."""
        found, start = {}, 0
        for part in self.parts:
            found[part.column] = slice(start, start + part.width)
            start += part.width
        return found


def fit(columns: Mapping[str, pa.Array], kinds: Mapping[str, str]) -> Encoder:
    """Learns an encoder from the sample.

    Args:
      columns: as `stored` gives them, each [rows].
      kinds: of `choose`.

    Returns:
      The encoder; columns with one value alone are left out.

    Raises:
      DataError: no column has two values.
    """
    makers = {NUMERIC: _numeric, CATEGORICAL: _categorical, DENSE: _dense}
    made = [makers[kind](name, columns[name]) for name, kind in kinds.items()]
    parts = tuple(part for part in made if part is not None)
    if not parts:
        raise DataError(
            "data.features: every column that environments are inferred from"
            f" ({', '.join(kinds)}) has one value alone; name others"
        )
    return Encoder(parts)


def _numeric(name: str, array: pa.Array) -> Part | None:
    numbers = _numbers(array)
    missing = np.isnan(numbers)
    if missing.all():
        return None
    scale = float(np.nanstd(numbers))
    flags = bool(missing.any())
    if not scale > 0 and not flags:
        return None
    centre = np.array([np.nanmean(numbers)])
    return Part(name, NUMERIC, 1 + flags, centre, scale or 1.0, flags)


def _categorical(name: str, array: pa.Array) -> Part | None:
    counts = pc.value_counts(_texts(array).drop_null())
    values = counts.field("values").to_pylist()
    rows = counts.field("counts").to_pylist()
    order = sorted(zip(rows, values, strict=True), key=lambda one: (-one[0], one[1]))
    kept = [value for count, value in order[:MOST_VALUES] if count >= FEWEST_ROWS]
    if len(kept) < 2 and not array.null_count:
        return None
    return Part(name, CATEGORICAL, len(kept), values=tuple(kept)) if kept else None


def _dense(name: str, array: pa.Array) -> Part | None:
    lengths = pc.drop_null(pc.list_value_length(array)).to_numpy(zero_copy_only=False)
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return None
    width = int(np.bincount(lengths).argmax())
    rows = _vectors(array, width)
    centre = np.nanmean(rows, axis=0, dtype=np.float64)
    spread = np.nanmean((rows - centre.astype(np.float32)) ** 2, dtype=np.float64)
    scale = float(np.sqrt(spread))
    return Part(name, DENSE, width, centre, scale) if scale > 0 else None


def _numbers(array: pa.Array) -> np.ndarray:
    """float64 [rows], NaN where missing."""
    numbers = pc.fill_null(flat(array).cast(pa.float64()), np.nan)
    return numbers.to_numpy(zero_copy_only=False)


def _texts(array: pa.Array) -> pa.Array:
    array = flat(array)
    if not pa.types.is_binary(array.type):
        array = array.cast(pa.string()).cast(pa.binary())
    return array


def _vectors(array: pa.Array, width: int) -> np.ndarray:
    """float32 [rows, width], NaN where a row has another number of values."""
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    whole = lengths.to_numpy(zero_copy_only=False) == width
    out = np.full((len(array), width), np.nan, np.float32)
    values = pc.list_flatten(array.filter(pa.array(whole)))
    numbers = values.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    out[whole] = numbers.reshape(-1, width)
    return out


def _centred(rows: np.ndarray, centre: np.ndarray | None, scale: float) -> np.ndarray:
    return np.nan_to_num((rows - centre) / scale, nan=0.0).astype(np.float32)
