"""A block of CSV row by row: slow, but knows which row is bad, and on which line."""

import io
import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from components.multi_env_example_gen.bad_rows import BadRows
from components.multi_env_example_gen.columns import (
    LARGEST_FLOAT,
    ColumnWidened,
    Schema,
)
from components.multi_env_example_gen.csv_blocks import Dialect, decoded, rows

TYPES = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.string(),
    "null": pa.null(),
}
NULLS = frozenset(pa_csv.ConvertOptions().null_values)
_BOOLEANS = {"true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0, "FALSE": 0}
_INTEGER = re.compile(r"-?[0-9]+|0[xX][0-9a-fA-F]+")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INT64 = range(-(2**63), 2**63)


def batch(
    block: bytes,
    names: list[str],
    schema: Schema,
    dialect: Dialect,
    line: int,
    bad: BadRows,
) -> pa.RecordBatch:
    """The rows that have one field a column, and numbers where numbers are wanted.

    Args:
      block: whole rows, without header.
      names: of the columns.
      schema: those that are wanted.
      dialect: of the block.
      line: on which it begins.
      bad: takes all other rows.

    Raises:
      ColumnWidened: a column needs a wider kind than `schema` says.
      DataError: a bad row, where these are refused.
      OSError: no text.
    """
    nulls = NULLS if dialect.nulls is None else {"", *dialect.nulls}
    kinds = {name: schema[name].kind for name in names if name in schema}
    good: dict[str, list[Any]] = {name: [] for name in kinds}
    empty: dict[str, list[str]] = {n: [] for n, kind in kinds.items() if kind == "null"}
    reader = rows(io.StringIO(decoded(block), newline=""), dialect)
    before = 0
    for row in reader:
        at, before = line + before, reader.line_num
        if not row:
            continue
        if len(row) != len(names):
            fields = f"{len(row)} field{'s' * (len(row) != 1)}"
            bad.add(at, f"has {fields} where {len(names)} are expected")
            continue
        cells = {n: c for n, c in zip(names, row, strict=True) if n in kinds}
        for name, found in empty.items():
            found.extend([cells[name]] * (cells[name] not in nulls))
        values, wrong = _values(cells, kinds, nulls)
        if wrong is not None:
            bad.add(at, f"column {wrong!r} holds {cells[wrong][:80]!r}, no number")
            continue
        for name, value in values.items():
            good[name].append(value)
    for name, found in empty.items():
        if found:
            raise ColumnWidened(name, kind_of(found))
    arrays = [pa.array(good[name], TYPES[kind]) for name, kind in kinds.items()]
    return pa.RecordBatch.from_arrays(arrays, list(kinds))


def _values(
    cells: dict[str, str], kinds: dict[str, str], nulls: Any
) -> tuple[dict[str, Any], str | None]:
    """The row's values, or the name of the column that holds no number."""
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell in nulls:
            values[name] = None
        elif kinds[name] == "bytes":
            values[name] = cell
        elif kinds[name] == "null":
            values[name] = None  # widened before it is used
        else:
            value = number(cell)
            if value is None:
                return {}, name
            if kinds[name] == "int" and isinstance(value, float) and value == value:
                raise ColumnWidened(name, "float")
            values[name] = value
    return values, None


def number(cell: str) -> int | float | None:
    """What a cell says, NaN for `nan`; None where it is no finite number."""
    text = cell.strip(" \t")
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text.lower() in ("nan", "-nan"):
        return math.nan
    if _INTEGER.fullmatch(text):
        whole = int(text, 16 if "x" in text.lower() else 10)
        if whole in _INT64:
            return whole
    if _NUMBER.fullmatch(text) and abs(float(text)) <= LARGEST_FLOAT:
        return float(text)
    return None


def kind_of(cells: list[str]) -> str:
    """The kind of a column of such cells; text if most are no numbers."""
    numbers = [value for value in map(number, cells) if value is not None]
    if len(numbers) * 2 <= len(cells):
        return "bytes"
    return "int" if all(isinstance(value, int) for value in numbers) else "float"
