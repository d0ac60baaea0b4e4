"""Arrow readers: a source file as record batches of bounded size.

Reading knows nothing of labels, splits or tf.Examples. A file is read in *ranges*
(Parquet: row groups; CSV and TFRecord: the whole file), fixed by the file alone, so
the same input gives the same shards whatever the number of workers.
"""

import contextlib
import dataclasses
import gzip
import os
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from components.errors import DataError
from components.multi_env_example_gen.columns import (
    Column,
    Schema,
    column_of,
    join,
)

BATCH_ROWS = 1 << 16
_ROWS_A_RANGE = 1 << 20
_CSV_BLOCK = 8 << 20
_TFRECORD_BATCH = 1 << 13
_TFRECORD_FRAME = 16  # bytes around a record: length, two checksums
_CSV_TYPES = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.string(),
    "null": pa.null(),
}


@dataclasses.dataclass(frozen=True)
class Range:
    """Part of a file: row groups [start, stop) of a Parquet file, else all of it."""

    start: int = 0
    stop: int | None = None


class ColumnWidened(Exception):
    """A CSV column holds more than its first block showed: read again, wider."""

    def __init__(self, column: str, kind: str):
        super().__init__(column, kind)
        self.column, self.kind = column, kind


def schema_of(path: str, file_format: str) -> Schema:
    """Names and kinds of a file's columns, from its first block.

    Raises:
      DataError: the file cannot be read, is empty, or names a column twice.
    """
    with _readable(path, file_format):
        if file_format == "parquet":
            fields = pa_parquet.read_schema(path)
        elif file_format == "csv":
            fields = _open_csv(path, None).schema
        else:
            fields = _tfrecord_fields(next(_tfrecord_batches(path)))
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns named {name!r}; rename one")
    return {field.name: column_of(field.type, field.name, path) for field in fields}


def ranges_of(path: str, file_format: str) -> list[Range]:
    """The ranges in which a file is read: up to about a million rows each."""
    if file_format != "parquet":
        return [Range()]
    with _readable(path, file_format):
        metadata = pa_parquet.ParquetFile(path).metadata
    ranges, start, rows = [], 0, 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= _ROWS_A_RANGE:
            ranges.append(Range(start, group + 1))
            start, rows = group + 1, 0
    if start < metadata.num_row_groups:
        ranges.append(Range(start, metadata.num_row_groups))
    return ranges


def batches(
    path: str, file_format: str, part: Range, schema: Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of one range of a file, `BATCH_ROWS` or a block at a time.

    Args:
      path: the file.
      file_format: parquet, csv or tfrecord.
      part: one of `ranges_of`.
      schema: the joint schema, by which CSV text is parsed.

    Raises:
      DataError: unreadable, truncated, or a value that is not of the column's kind.
      ColumnWidened: a CSV column needs a wider kind than `schema` says.
    """
    with _readable(path, file_format):
        if file_format == "parquet":
            groups = list(range(part.start, part.stop or 0))
            yield from pa_parquet.ParquetFile(path).iter_batches(
                batch_size=BATCH_ROWS, row_groups=groups
            )
        elif file_format == "csv":
            yield from _csv_batches(path, schema)
        else:
            yield from _tfrecord_batches(path)


@contextlib.contextmanager
def _readable(path: str, file_format: str) -> Iterator[None]:
    """Turns what a reader raises into one sentence with the file's name."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, StopIteration) as error:
        reason = " ".join(str(error).split()).rstrip(".") or "it holds no record"
        raise DataError(
            f"{path} cannot be read as {file_format}: {reason[:300]}; the file is"
            " empty, damaged, truncated or of another format: write it again, or name"
            " its format in the config"
        ) from error


def _open_csv(path: str, types: dict[str, pa.DataType] | None) -> Any:
    return pa_csv.open_csv(
        pa.input_stream(path, compression="detect"),
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            strings_can_be_null=True, column_types=types or {}
        ),
    )


def _csv_batches(path: str, schema: Schema) -> Iterator[pa.RecordBatch]:
    names = _open_csv(path, None).schema.names
    kinds = {name: schema[name].kind for name in names}
    try:
        yield from _open_csv(path, {n: _CSV_TYPES[k] for n, k in kinds.items()})
    except pa.ArrowInvalid as error:
        # "In CSV column #3: CSV conversion error to int64: invalid value '1.5'"
        match = re.search(r"In CSV column #(\d+): .*onversion error", str(error))
        if not match:
            raise
        name = names[int(match.group(1))]
        wider = {"null": "int", "int": "float"}.get(kinds[name])
        if wider:
            raise ColumnWidened(name, wider) from error
        raise _no_number(path, name, error) from error


def _no_number(path: str, name: str, error: Exception) -> DataError:
    found = re.search(r"invalid value '(.*?)'", str(error))
    value = repr(found.group(1)[:80]) if found else "text"
    return DataError(
        f"{path}: column {name!r} holds {value} where all else is numbers; correct it,"
        " write it as missing (an empty field or NA), or give the column one type in"
        " all environments"
    )


def _refuse_csv_text(path: str, name: str) -> None:
    """Names the first value of a text column that is no number."""
    try:
        for _ in _open_csv(path, {name: pa.float64()}):
            pass
    except pa.ArrowInvalid as error:
        if "onversion error" in str(error):
            raise _no_number(path, name, error) from error


def _tfrecord_batches(path: str) -> Iterator[pa.RecordBatch]:
    # TensorFlow's reader and tfx_bsl's decoder are C++: no Python per cell.
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    records = tf.data.TFRecordDataset(path, "GZIP" if gzipped else "")
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    size = 0
    try:
        for batch in records.batch(_TFRECORD_BATCH).as_numpy_iterator():
            serialized = batch.tolist()
            size += sum(map(len, serialized)) + _TFRECORD_FRAME * len(serialized)
            yield decoder.DecodeBatch(serialized)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise OSError(str(error)) from error
    if gzipped:
        _check_gzip_end(path, size)


def _check_gzip_end(path: str, size: int) -> None:
    """TensorFlow takes the end of a truncated gzip stream for the end of the data."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % 2**32:
            return
    with gzip.open(path) as file:  # several members: only reading it all can tell
        while file.read(1 << 20):
            pass


def _tfrecord_fields(batch: pa.RecordBatch) -> list[pa.Field]:
    """Columns of tf.Examples: a list only where some example holds several values."""
    fields = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        scalar = pa.types.is_null(field.type) or (
            (pc.max(pc.list_value_length(column)).as_py() or 0) <= 1
        )
        value_type = field.type
        if scalar and not pa.types.is_null(field.type):
            value_type = field.type.value_type
        fields.append(pa.field(field.name, value_type))
    return fields


def joint_schema(schemas: dict[str, dict[str, Schema]], optional: set[str]) -> Schema:
    """One schema for all files of all environments.

    Args:
      schemas: environment -> file -> its schema.
      optional: files whose columns may be absent where every value is missing
        (TFRecord has no header).

    Raises:
      DataError: a column missing in some files, or of different types.
    """
    everywhere: dict[str, dict[str, Column]] = {}
    for environment, files in schemas.items():
        for path, schema in files.items():
            for name, column in schema.items():
                where = f"environment {environment!r} ({path})"
                everywhere.setdefault(name, {})[where] = column
    for environment, files in schemas.items():
        for path, schema in files.items():
            missing = sorted(set(everywhere) - set(schema))
            if missing and path not in optional:
                other = next(iter(everywhere[missing[0]]))
                raise DataError(
                    f"environment {environment!r}: {path} has no column"
                    f" {missing[0]!r}, which {other} has; all environments need the"
                    f" same columns (missing here: {', '.join(missing)})"
                )
    for name, found in everywhere.items():
        _refuse_mixed_csv(name, found, schemas)
    return {name: join(everywhere[name], name) for name in sorted(everywhere)}


def _refuse_mixed_csv(
    name: str, found: dict[str, Column], schemas: dict[str, dict[str, Schema]]
) -> None:
    """Where most files hold numbers, names the CSV cell that does not."""
    kinds = [column.kind for column in found.values() if column.kind != "null"]
    texts = kinds.count("bytes")
    if not 0 < texts < len(kinds) - texts:
        return
    for files in schemas.values():
        for path, schema in files.items():
            if ".csv" in path and schema.get(name, Column("null")).kind == "bytes":
                _refuse_csv_text(path, name)
