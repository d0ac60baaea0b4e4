"""Arrow readers: a source file as record batches of bounded size.

Reading knows nothing of labels, splits or tf.Examples. A file is read in *ranges*
(Parquet: row groups; CSV: bytes, where that is safe; all others: the whole file),
fixed by the file alone, so the same input gives the same shards whatever the number of
workers.
"""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from components.errors import DataError
from components.multi_env_example_gen import csv_files, json_files
from components.multi_env_example_gen.columns import (
    Column,
    ColumnWidened,
    Schema,
    column_of,
    join,
)

BATCH_ROWS, BATCH_BYTES = 1 << 16, 64 << 20
HEADERLESS = ("tfrecord", "jsonl")  # a column without a value is not there at all
_ROWS_A_RANGE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Range:
    """Part of a file: [start, stop) in row groups of Parquet, in bytes of CSV.

    All of it where `stop` is None.
    """

    start: int = 0
    stop: int | None = None


def schema_of(
    path: str, file_format: str, options: dict[str, Any] | None = None
) -> Schema:
    """Names and kinds of a file's columns, from its header or its first block.

    Args:
      path: the file.
      file_format: parquet, csv, tfrecord, jsonl or avro.
      options: of CSV; see `csv_files`.

    Raises:
      DataError: the file cannot be read, is empty, or names a column twice.
    """
    with _readable(path, file_format):
        fields = _fields(path, file_format, options or {})
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns named {name!r}; rename one")
    return {field.name: column_of(field.type, field.name, path) for field in fields}


def _fields(path: str, file_format: str, options: dict[str, Any]) -> Any:
    if file_format == "parquet":
        return pa_parquet.read_schema(path)
    if file_format == "csv":
        return csv_files.open_csv(path, options).schema
    if file_format == "jsonl":
        return next(json_files.batches(path)).schema
    if file_format == "avro":
        from components.multi_env_example_gen import avro_files

        return avro_files.schema_of(path)
    from components.multi_env_example_gen import tfrecord_files

    return tfrecord_files.fields(next(tfrecord_files.batches(path)))


def ranges_of(
    path: str, file_format: str, options: dict[str, Any] | None = None
) -> list[Range]:
    """The ranges in which a file is read: up to about a million rows each."""
    if file_format == "csv":
        with _readable(path, file_format):
            return [Range(*cut) for cut in csv_files.ranges(path, options or {})]
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
    path: str,
    file_format: str,
    part: Range,
    schema: Schema,
    options: dict[str, Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one range of a file, `BATCH_ROWS` or a block at a time.

    Args:
      path: the file.
      file_format: parquet, csv, tfrecord, jsonl or avro.
      part: one of `ranges_of`.
      schema: the joint schema, by which CSV text is parsed.
      options: of CSV; see `csv_files`.

    Raises:
      DataError: unreadable, truncated, or a value that is not of the column's kind.
      ColumnWidened: a column needs a wider kind than `schema` says.
    """
    with _readable(path, file_format):
        if file_format == "parquet":
            groups = list(range(part.start, part.stop or 0))
            file = pa_parquet.ParquetFile(path)
            yield from file.iter_batches(
                batch_size=_rows_a_batch(file.metadata, groups), row_groups=groups
            )
        elif file_format == "csv":
            cut = (part.start, part.stop)
            yield from csv_files.batches(path, options or {}, schema, *cut)
        elif file_format == "jsonl":
            for batch in json_files.batches(path):
                _check_kinds(batch.schema, schema, path)
                yield batch
        elif file_format == "avro":
            from components.multi_env_example_gen import avro_files

            yield from avro_files.batches(path)
        else:
            from components.multi_env_example_gen import tfrecord_files

            for batch in tfrecord_files.batches(path):
                _check_kinds(tfrecord_files.fields(batch), schema, path)
                yield batch


def _rows_a_batch(metadata: Any, groups: list[int]) -> int:
    """`BATCH_ROWS`, or as many of wide rows as make `BATCH_BYTES`."""
    found = [metadata.row_group(group) for group in groups]
    size = sum(group.total_byte_size for group in found)
    rows = sum(group.num_rows for group in found)
    return min(max(BATCH_BYTES * rows // max(size, 1), 1), BATCH_ROWS)


def _check_kinds(fields: Iterable[pa.Field], schema: Schema, path: str) -> None:
    """Each block has types of its own: none may hold more than the schema says."""
    for field in fields:
        if field.name not in schema:
            continue  # told by who asked for the rows
        planned = schema[field.name]
        found = column_of(field.type, field.name, path)
        where = {"the first rows": planned, f"later rows of {path}": found}
        wider = join(where, field.name)
        if wider != planned:
            raise ColumnWidened(field.name, wider.kind, wider.is_list)


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


def joint_schema(
    schemas: dict[str, dict[str, Schema]],
    headerless: set[str],
    optional: Collection[str] = (),
    csv: Mapping[str, dict[str, Any]] | None = None,
) -> Schema:
    """One schema for all files of all environments.

    Args:
      schemas: environment -> file -> its schema.
      headerless: files whose columns may be absent where every value is missing
        (TFRecord and JSON lines have no header).
      optional: columns that a file may lack.
      csv: each CSV file -> how it is written.

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
            missing = sorted(set(everywhere) - set(schema) - set(optional))
            if missing and path not in headerless:
                other = next(iter(everywhere[missing[0]]))
                raise DataError(
                    f"environment {environment!r}: {path} has no column"
                    f" {missing[0]!r}, which {other} has; all environments need the"
                    f" same columns (missing here: {', '.join(missing)}; only here:"
                    f" {_only_in(schema, schemas)}); add them, leave them out, or name"
                    " them in data.optional"
                )
    for name, found in everywhere.items():
        _refuse_mixed_csv(name, found, schemas, csv or {})
    return {name: join(everywhere[name], name) for name in sorted(everywhere)}


def _only_in(schema: Schema, schemas: dict[str, dict[str, Schema]]) -> str:
    """Columns that some other file lacks."""
    others = [other for files in schemas.values() for other in files.values()]
    names = [name for name in schema if any(name not in other for other in others)]
    return ", ".join(sorted(names)) or "none"


def _refuse_mixed_csv(
    name: str,
    found: dict[str, Column],
    schemas: dict[str, dict[str, Schema]],
    csv: Mapping[str, dict[str, Any]],
) -> None:
    """Where most files hold numbers, names the CSV cell that does not."""
    kinds = [column.kind for column in found.values() if column.kind != "null"]
    texts = kinds.count("bytes")
    if not 0 < texts < len(kinds) - texts:
        return
    for files in schemas.values():
        for path, schema in files.items():
            if path in csv and schema.get(name, Column("null")).kind == "bytes":
                csv_files.refuse_text(path, csv[path], name)
