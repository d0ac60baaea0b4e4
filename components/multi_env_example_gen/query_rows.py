"""Rows of a BigQuery result: as text that sorts them, and as Arrow.

| BigQuery                            | Arrow                         |
|-------------------------------------|-------------------------------|
| INTEGER, FLOAT, BOOLEAN             | int64, float64, bool          |
| NUMERIC                             | decimal128(38, 9)             |
| BIGNUMERIC (more digits than Arrow) | float64                       |
| STRING, BYTES                       | string, binary                |
| DATE, TIME                          | date32, time64[us]            |
| DATETIME, TIMESTAMP                 | timestamp[us], and that of UTC |
| REPEATED of these                   | list                          |
"""

import datetime
import json
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from components import bigquery
from components.bigquery import Field
from components.errors import DataError

_TYPES = {
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.float64(),
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
_MENDS = {
    "RECORD": "select its fields as columns (name.field AS field)",
    "STRUCT": "select its fields as columns (name.field AS field)",
    "JSON": "take values out of it (JSON_VALUE), or make it text (TO_JSON_STRING)",
    "GEOGRAPHY": "make it text (ST_ASTEXT), or numbers (ST_X, ST_Y)",
    "INTERVAL": "make it a number (EXTRACT(DAY FROM ...))",
    "RANGE": "select its ends (RANGE_START, RANGE_END)",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # as Avro has it, in which rows come


def schema(fields: Iterable[Field], where: str) -> pa.Schema:
    """The columns of a result.

    Args:
      fields: of the result.
      where: name of the query, for the error.

    Raises:
      DataError: a type that a tf.Example cannot hold, a name that no export has.
    """
    found = []
    for field in fields:
        if field.type not in _TYPES:
            mend = _MENDS.get(field.type, "cast it")
            raise DataError(
                f"{where}: column {field.name!r} has the BigQuery type {field.type},"
                f" which a tf.Example cannot hold; {mend}, or leave it out of the query"
            )
        if not _NAME.fullmatch(field.name):
            raise DataError(
                f"{where}: column {field.name!r} has a name that BigQuery does not"
                " export; give it another, of letters, digits and underscores (AS)"
            )
        found.append((field.name, _type(field)))
    return pa.schema(found)


def _type(field: Field) -> pa.DataType:
    return pa.list_(_TYPES[field.type]) if field.is_list else _TYPES[field.type]


def distinct(options: dict[str, Any], column: str, where: str) -> pa.Array:
    """All values of a column of a query.

    Raises:
      DataError: as `bigquery.explain`; as `schema`; no such column.
    """
    fields = {field.name: field for field in bigquery.explain(options, where).fields}
    types = schema(fields.values(), where)
    if column not in fields or fields[column].is_list:
        raise DataError(
            f"{where}: {column!r} is no column of one value a row, which could tell the"
            f" environment; the columns are {', '.join(fields)}"
        )
    values = bigquery.distinct(options, column, where)
    if fields[column].type == "BIGNUMERIC":
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, types.field(column).type)


def encode(row: dict[str, Any], names: list[str]) -> bytes:
    """A row as Beam reads it, as text: the same for the same values."""
    return json.dumps([row[name] for name in names], default=_as_text).encode()


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat()


def decode(rows: Iterable[bytes], fields: Sequence[Field]) -> pa.RecordBatch:
    """The inverse of `encode`, for many rows."""
    columns = list(zip(*map(json.loads, rows), strict=True)) or [()] * len(fields)
    arrays = [
        pa.array(_values(column, field), _type(field))
        for column, field in zip(columns, fields, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, [field.name for field in fields])


def _values(column: Sequence[Any], field: Field) -> list[Any]:
    make = _MAKE.get(field.type)
    if make is None:
        return list(column)
    if field.is_list:
        return [value and [make(one) for one in value] for value in column]
    return [None if value is None else make(value) for value in column]


def _datetime(text: str) -> datetime.datetime:
    """Of a text with any number of digits after the second."""
    whole, _, rest = text.partition(".")
    return datetime.datetime.fromisoformat(f"{whole}.{rest:0<6}" if rest else whole)


_MAKE: dict[str, Callable[[str], Any]] = {
    "NUMERIC": Decimal,
    "BIGNUMERIC": float,
    "BYTES": bytes.fromhex,
    "DATE": datetime.date.fromisoformat,
    "TIME": datetime.time.fromisoformat,
    "DATETIME": _datetime,
    "TIMESTAMP": datetime.datetime.fromisoformat,
}
