"""Arrow readers: a source file as record batches of bounded size.

Reading knows nothing of labels, splits or tf.Examples. A file is read in *ranges*
(Parquet: row groups; CSV: bytes; all others: the whole file), fixed by the file alone,
so the same input gives the same shards whatever the number of workers.
"""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from components import bigquery, files
from components.errors import DataError
from components.multi_env_example_gen import csv_blocks, csv_files, json_files
from components.multi_env_example_gen.bad_rows import BadRows
from components.multi_env_example_gen.columns import (
    Column,
    ColumnWidened,
    Schema,
    clean,
    column_of,
    join,
)
from components.source_manifest.listing import PARTITIONS

BATCH_ROWS, BATCH_BYTES = 1 << 16, 64 << 20
HEADERLESS = ("tfrecord", "jsonl")  # a column without a value is not there at all
_TEXT = ("csv", "jsonl")  # their bad rows are known by their lines
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
      path: the file, or its URL.
      file_format: one of `listing.FORMATS`; the rows of a query are read by
        `query_files` alone.
      options: of CSV, see `csv_blocks.Dialect`; partitions, see `listing`.

    Raises:
      DataError: the file cannot be read, is empty, or names a column twice.
    """
    options = options or {}
    with _readable(path, file_format):
        fields = [*_fields(path, file_format, options), *_partitions(options)]
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns named {name!r}; rename one")
    return {field.name: column_of(field.type, field.name, path) for field in fields}


def _fields(path: str, file_format: str, options: dict[str, Any]) -> Any:
    if file_format == "parquet":
        with _parquet(path) as file:
            return file.schema_arrow
    if file_format == "csv":
        return csv_files.schema_of(path, options)
    if file_format == "jsonl":
        return json_files.schema_of(path)
    if file_format == "avro":
        from components.multi_env_example_gen import avro_files

        return avro_files.schema_of(path)
    if file_format == bigquery.FORMAT:
        from components.multi_env_example_gen import query_rows

        return query_rows.schema(bigquery.explain(options, path).fields, path)
    from components.multi_env_example_gen import tfrecord_files

    return tfrecord_files.fields(next(tfrecord_files.batches(path)))


def _partitions(options: dict[str, Any]) -> list[pa.Field]:
    types = {int: pa.int64(), str: pa.string(), type(None): pa.null()}
    partitions = options.get(PARTITIONS, {})
    return [pa.field(name, types[type(v)]) for name, v in partitions.items()]


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pa_parquet.ParquetFile]:
    with files.open_file(path) as source:
        file = pa.PythonFile(source) if files.is_url(path) else path
        yield pa_parquet.ParquetFile(file)


def ranges_of(
    path: str, file_format: str, options: dict[str, Any] | None = None
) -> list[Range]:
    """The ranges in which a file is read: up to about a million rows each."""
    if file_format == "csv":
        with _readable(path, file_format):
            return [Range(*cut) for cut in csv_files.ranges(path, options or {})]
    if file_format != "parquet":
        return [Range()]
    with _readable(path, file_format), _parquet(path) as file:
        metadata = file.metadata
    ranges, start, rows = [], 0, 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows >= _ROWS_A_RANGE:
            ranges.append(Range(start, group + 1))
            start, rows = group + 1, 0
    if start < metadata.num_row_groups:
        ranges.append(Range(start, metadata.num_row_groups))
    return ranges


def has_rows(path: str) -> bool:
    """Whether a Parquet file has any.

    Raises:
      DataError: it cannot be read.
    """
    with _readable(path, "parquet"), _parquet(path) as file:
        return bool(file.metadata.num_rows)


def batches(
    path: str,
    file_format: str,
    part: Range,
    schema: Schema,
    options: dict[str, Any] | None = None,
    bad: BadRows | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one range of a file, at most `BATCH_ROWS` at a time, without NaN.

    Args:
      path: the file, or its URL.
      file_format: parquet, csv, tfrecord, jsonl or avro.
      part: one of `ranges_of`.
      schema: the joint schema, by which text is parsed; of CSV and Parquet, only its
        columns are read.
      options: of CSV, see `csv_blocks.Dialect`; partitions, see `listing`.
      bad: takes the rows that cannot be held; default: refuses them.

    Raises:
      DataError: unreadable, truncated, or a value that is not of the column's kind.
      ColumnWidened: a column needs a wider kind than `schema` says.
    """
    options = options or {}
    bad = bad or bad_rows(path, file_format)
    row = 1
    opened: Any = contextlib.nullcontext()
    if file_format == "parquet":
        opened = _parquet(path)
    with _readable(path, file_format), opened as file:
        if file_format == "parquet":
            row += _rows_of(file.metadata, range(part.start))
            blocks = _row_groups(file, part, schema, not files.is_url(path))
        else:
            blocks = _blocks(path, file_format, part, schema, options, bad)
        for block in blocks:
            for start in range(0, block.num_rows, BATCH_ROWS):
                batch = _with_partitions(block.slice(start, BATCH_ROWS), options)
                known = None if file_format in _TEXT else row
                yield _clean(batch, schema, bad, known)
                row += batch.num_rows


def bad_rows(path: str, file_format: str, policy: str = "refuse") -> BadRows:
    """A record of a range's bad rows, by line or by row."""
    return BadRows(path, policy, "line" if file_format in _TEXT else "row")


def _blocks(
    path: str,
    file_format: str,
    part: Range,
    schema: Schema,
    options: dict[str, Any],
    bad: BadRows,
) -> Iterator[pa.RecordBatch]:
    if file_format == "csv":
        cut = (part.start, part.stop)
        yield from csv_files.batches(path, options, schema, bad, *cut)
    elif file_format == "jsonl":
        for batch in json_files.batches(path, schema, bad):
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


def _row_groups(
    file: pa_parquet.ParquetFile, part: Range, schema: Schema, use_threads: bool
) -> Iterator[pa.RecordBatch]:
    """The rows; without threads it is read forwards, in one request of S3."""
    groups = list(range(part.start, part.stop or 0))
    yield from file.iter_batches(
        batch_size=_rows_a_batch(file.metadata, groups),
        row_groups=groups,
        columns=[name for name in file.schema_arrow.names if name in schema],
        use_threads=use_threads,
    )


def _with_partitions(batch: pa.RecordBatch, options: dict[str, Any]) -> pa.RecordBatch:
    columns, names = list(batch.columns), list(batch.schema.names)
    for field in _partitions(options):
        value = pa.scalar(options[PARTITIONS][field.name], field.type)
        columns.append(pa.repeat(value, batch.num_rows))
        names.append(field.name)
    return pa.RecordBatch.from_arrays(columns, names)


def _clean(
    batch: pa.RecordBatch, schema: Schema, bad: BadRows, row: int | None
) -> pa.RecordBatch:
    """Without NaN, and without the rows that a tf.Example cannot hold.

    Args:
      batch: of a reader.
      schema: what its columns become.
      bad: takes these rows.
      row: number of the first; None where it is not known.
    """
    columns, dropped = [], np.zeros(batch.num_rows, bool)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        kind = schema[field.name].kind if field.name in schema else "null"
        column, wrong = clean(column, kind)
        columns.append(column)
        if wrong is None:
            continue
        for at in np.flatnonzero(wrong & ~dropped):
            value = str(batch.column(field.name)[int(at)].as_py())[:80]
            number = None if row is None else row + int(at)
            bad.add(
                number, f"column {field.name!r} holds {value}, which no tf.Example can"
            )
        dropped |= wrong
    kept = pa.RecordBatch.from_arrays(columns, batch.schema.names)
    return kept.filter(pa.array(~dropped)) if dropped.any() else kept


def _rows_of(metadata: Any, groups: Any) -> int:
    return sum(metadata.row_group(group).num_rows for group in groups)


def _rows_a_batch(metadata: Any, groups: list[int]) -> int:
    """`BATCH_ROWS`, or as many of wide rows as make `BATCH_BYTES`."""
    found = [metadata.row_group(group) for group in groups]
    size = sum(group.total_byte_size for group in found)
    rows = _rows_of(metadata, groups)
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
    except (DataError, ColumnWidened):
        raise
    except csv_blocks.NoText as error:
        raise DataError(f"{path} {error}") from error
    except Exception as error:
        known = (pa.ArrowException, OSError, EOFError, StopIteration)
        if not (isinstance(error, known) or files.is_url(path)):
            raise
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
    numbers: Collection[str] = (),
) -> Schema:
    """One schema for all files of all environments.

    Args:
      schemas: environment -> file -> its schema.
      headerless: files whose columns may be absent where every value is missing
        (TFRecord and JSON lines have no header).
      optional: columns that a file may lack.
      csv: each CSV file -> how it is written.
      numbers: columns that are wanted as numbers.

    Raises:
      DataError: a column missing in some files, or of different types.
    """
    for path, options in (csv or {}).items():
        _settle(path, options, schemas, numbers)
    everywhere: dict[str, dict[str, Column]] = {}
    for environment, found in schemas.items():
        for path, schema in found.items():
            for name, column in schema.items():
                where = f"environment {environment!r} ({path})"
                everywhere.setdefault(name, {})[where] = column
    for environment, found in schemas.items():
        for path, schema in found.items():
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
    return {name: join(everywhere[name], name) for name in sorted(everywhere)}


def _only_in(schema: Schema, schemas: dict[str, dict[str, Schema]]) -> str:
    """Columns that some other file lacks."""
    others = [other for found in schemas.values() for other in found.values()]
    names = [name for name in schema if any(name not in other for other in others)]
    return ", ".join(sorted(names)) or "none"


def _settle(
    path: str,
    options: dict[str, Any],
    schemas: dict[str, dict[str, Schema]],
    numbers: Collection[str],
) -> None:
    """Takes a CSV's column of text for one of numbers, with bad rows among them.

    That is where numbers are wanted, or another file has numbers, and most of its
    first cells are such.
    """
    mine = next((found[path] for found in schemas.values() if path in found), {})
    others = [one for found in schemas.values() for one in found.values()]
    wanted = []
    for name, column in mine.items():
        kinds = {one[name].kind for one in others if name in one}
        if column.kind == "bytes" and (name in numbers or kinds & {"int", "float"}):
            wanted.append(name)
    if wanted:
        with _readable(path, "csv"):
            kinds_found = csv_files.number_kinds(path, options, wanted)
        mine.update({name: Column(kind) for name, kind in kinds_found.items()})
