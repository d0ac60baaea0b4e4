"""CSV: plain, gzip or zstd, with or without a header, in the config's dialect.

Arrow parses block after block. One that it cannot parse as the schema says is gone
through row by row, which finds the bad rows and their lines (`csv_rows`).
"""

import gc
import itertools
import re
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from components import files
from components.multi_env_example_gen import csv_blocks, csv_rows
from components.multi_env_example_gen.bad_rows import BadRows
from components.multi_env_example_gen.columns import Schema, fits_float
from components.multi_env_example_gen.csv_blocks import Dialect

RANGE = 32 << 20
_SKIP = {"invalid_row_handler": lambda row: "skip"}  # told when they are read


def ranges(path: str, options: dict[str, Any]) -> list[tuple[int, int | None]]:
    """Bytes [start, stop) of whole rows, about `RANGE` of them each.

    A compressed file, and one in an encoding of several bytes a letter, is one.
    """
    dialect = Dialect.of(options)
    if files.is_packed(path) or not dialect.is_cuttable:
        return [(0, None)]
    size = files.size(path)
    if size <= RANGE:
        return [(0, None)]
    starts = csv_blocks.cuts(path, dialect, size, RANGE)
    return list(zip(starts, [*starts[1:], size], strict=True))


def first_block(path: str, options: dict[str, Any]) -> tuple[list[str], bytes, int]:
    """Names of the columns, the first rows, and the number of lines above them.

    Raises:
      OSError: the file is empty, or no text.
    """
    dialect = Dialect.of(options)
    return _below_header(next(csv_blocks.blocks(path, dialect), None), dialect)


def _below_header(
    with_header: bytes | None, dialect: Dialect
) -> tuple[list[str], bytes, int]:
    if with_header is None:
        raise OSError("it is empty")
    if dialect.columns:
        return list(dialect.columns), with_header, 0
    return csv_blocks.split_header(with_header, dialect)


def schema_of(path: str, options: dict[str, Any]) -> pa.Schema:
    """The columns, their types inferred from the first rows.

    Raises:
      OSError: the file is empty, or no text.
    """
    names, block, _ = first_block(path, options)
    dialect = Dialect.of(options)
    if not block.strip(b"\r\n"):
        return pa.schema([(name, pa.null()) for name in names])
    return _parse(block, names, {}, dialect, _SKIP).schema


def batches(
    path: str,
    options: dict[str, Any],
    schema: Schema,
    bad: BadRows,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one of `ranges`, a block at a time, as the schema says.

    Args:
      path: the file.
      options: its dialect.
      schema: the columns wanted; others are left out.
      bad: takes the rows that do not fit.
      start: first byte.
      stop: the byte after the last, or None.

    Raises:
      ColumnWidened: a column needs a wider kind than `schema` says.
      DataError: a bad row, where these are refused.
      OSError: damaged, or no text.
    """
    dialect = Dialect.of(options)
    blocks = csv_blocks.blocks(path, dialect, start, stop)
    if start:
        names, _, _ = first_block(path, options)
        above = None  # lines, with the first of the range
    else:
        names, first, header = _below_header(next(blocks, None), dialect)
        blocks = itertools.chain([first], blocks)
        above = 1 + header
    types = {n: csv_rows.TYPES[schema[n].kind] for n in names if n in schema}
    gc.freeze()  # Arrow searches all of Python's objects for each block it parses
    lines = 0
    for block in blocks:
        batch = _parse_or_none(block, names, types, dialect)
        if batch is None:
            if above is None:
                above = 1 + csv_blocks.lines_before(path, start)
            batch = csv_rows.batch(block, names, schema, dialect, above + lines, bad)
        yield batch
        lines += csv_blocks.count_lines(block)


def _parse_or_none(
    block: bytes, names: list[str], types: dict[str, pa.DataType], dialect: Dialect
) -> pa.RecordBatch | None:
    """The rows, or None where some are not of these types."""
    while True:
        try:
            batch = _parse(block, names, types, dialect)
        except pa.ArrowInvalid as error:
            name = _column_of_booleans(str(error), names)
            if name is None or types[name] == pa.bool_():
                return None
            types[name] = pa.bool_()
            continue
        numbers = [c for c in batch.columns if pa.types.is_floating(c.type)]
        return batch if all(pc.all(fits_float(c)).as_py() for c in numbers) else None


def _column_of_booleans(message: str, names: list[str]) -> str | None:
    # "In CSV column #3: CSV conversion error to int64: invalid value 'true'"
    found = re.search(
        r"In CSV column #(\d+): .*invalid value '(true|false)'", message, re.I
    )
    return names[int(found.group(1))] if found else None


def _parse(
    block: bytes,
    names: list[str],
    types: dict[str, pa.DataType],
    dialect: Dialect,
    more: dict[str, Any] | None = None,
) -> pa.RecordBatch:
    nulls = dialect.nulls
    table = pa_csv.read_csv(
        pa.BufferReader(block),
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=len(block) + 1, column_names=names
        ),
        parse_options=pa_csv.ParseOptions(
            newlines_in_values=True,
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            **(more or {}),
        ),
        convert_options=pa_csv.ConvertOptions(
            strings_can_be_null=True,
            column_types=types,
            include_columns=list(types),
            **({} if nulls is None else {"null_values": ["", *nulls]}),
        ),
    )
    (batch,) = table.combine_chunks().to_batches() or [None]
    if batch is None:
        return pa.RecordBatch.from_pylist([], table.schema)
    return batch


def number_kinds(
    path: str, options: dict[str, Any], wanted: Collection[str]
) -> dict[str, str]:
    """Kinds of columns by most of their first cells: bytes, int or float."""
    names, block, _ = first_block(path, options)
    types = {name: pa.string() for name in wanted}
    batch = _parse(block, names, types, Dialect.of(options), _SKIP)
    return {
        name: csv_rows.kind_of(column.drop_null().to_pylist())
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
