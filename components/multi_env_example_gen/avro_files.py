"""Avro container files, by fastavro: the types are those of the writer's schema."""

from collections.abc import Iterator
from typing import Any

import fastavro
import pyarrow as pa

from components import files
from components.errors import DataError

_BATCH = 1 << 13
_TYPES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}


def schema_of(path: str) -> pa.Schema:
    """The columns of the writer's schema.

    Raises:
      DataError: a type that a tf.Example cannot hold.
      OSError: no Avro file.
    """
    with files.open_file(path) as file:
        return _schema(_reader(file), path)


def batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows, some thousand at a time.

    Raises:
      DataError: as `schema_of`.
      OSError: no Avro file, or truncated.
    """
    with files.open_file(path) as file:
        reader = _reader(file)
        schema = _schema(reader, path)
        rows: list[Any] = []
        while True:
            try:
                row = next(reader, None)
            except Exception as error:  # whatever its decoder meets in damaged bytes
                raise OSError(f"{type(error).__name__} {error}".strip()) from error
            if row is not None:
                rows.append(row)
            if rows and (row is None or len(rows) == _BATCH):
                yield _batch(rows, schema)
                rows = []
            if row is None:
                return


def _reader(file: Any) -> Any:
    try:
        return fastavro.reader(file)
    except Exception as error:  # whatever its decoder meets in other bytes
        raise OSError(str(error) or "it does not begin as one") from error


def _schema(reader: Any, path: str) -> pa.Schema:
    written = reader.writer_schema
    if not isinstance(written, dict) or written.get("type") != "record":
        raise OSError("its values are no records")
    return pa.schema(
        [
            (field["name"], _type(field["type"], field["name"], path))
            for field in written["fields"]
        ]
    )


def _type(avro: Any, name: str, path: str) -> pa.DataType:
    if isinstance(avro, list):
        others = [one for one in avro if one != "null"]
        if len(others) == 1:
            return _type(others[0], name, path)
    elif isinstance(avro, dict):
        kind = avro["type"]
        if kind == "array":
            return pa.list_(_type(avro["items"], name, path))
        if avro.get("logicalType") == "decimal" and avro["precision"] <= 76:
            wide = pa.decimal128 if avro["precision"] <= 38 else pa.decimal256
            return wide(avro["precision"], avro.get("scale", 0))
        if avro.get("logicalType") in _LOGICAL:
            return _LOGICAL[avro["logicalType"]]
        if isinstance(kind, dict | list) or kind in _TYPES:
            return _type(kind, name, path)
    elif avro in _TYPES:
        return _TYPES[avro]
    raise DataError(
        f"{path}: column {name!r} has the Avro type {str(avro)[:120]}, which a"
        " tf.Example cannot hold; flatten it, or leave the column out of the source"
    )


def _batch(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([_plain(row[name]) for row in rows], schema.field(name).type)
        for name in schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain(value: Any) -> Any:
    """UUIDs as text; all else as it is."""
    return str(value) if type(value).__name__ == "UUID" else value
