"""JSON lines: an object a line, plain, gzip or zstd.

Text stays text: what looks like a time is not made one. A key that a line lacks, and
`null`, are missing values.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from components import files
from components.multi_env_example_gen.bad_rows import BadRows
from components.multi_env_example_gen.columns import LARGEST_FLOAT, Schema, fits_float

_BLOCK = 4 << 20


def schema_of(path: str) -> pa.Schema:
    """The columns of the first rows.

    Raises:
      OSError: the file is empty, or one of these is no JSON object.
    """
    _, block = next(_blocks(path))
    try:
        return _parse(block).schema
    except pa.ArrowInvalid:
        return _parse(b"\n".join(line for _, line, _ in _objects(block, 1))).schema


def batches(path: str, schema: Schema, bad: BadRows) -> Iterator[pa.RecordBatch]:
    """The rows, some megabytes at a time; types are those of each block.

    Args:
      path: the file.
      schema: what the columns hold.
      bad: takes lines that are no object, or hold text where numbers are wanted.

    Raises:
      DataError: a bad line, where these are refused.
      OSError: objects within objects.
    """
    for line, block in _blocks(path):
        try:
            table = _parse(block)
        except pa.ArrowInvalid:
            table = None
        if table is None or _has_misfits(table, schema):
            table = _parse(b"\n".join(_good(block, line, schema, bad)))
        yield from table.combine_chunks().to_batches()


def _has_misfits(table: pa.Table, schema: Schema) -> bool:
    """Text where numbers are wanted, or numbers past what can be held."""
    for field in table.schema:
        wanted = schema[field.name].kind if field.name in schema else "null"
        if pa.types.is_string(field.type) and wanted in ("int", "float"):
            return True
        if pa.types.is_floating(field.type):
            fit = fits_float(table.column(field.name).combine_chunks())
            if not pc.all(fit).as_py():
                return True
    return False


def _good(block: bytes, line: int, schema: Schema, bad: BadRows) -> Iterator[bytes]:
    for number, text, row in _objects(block, line, bad):
        wrong = next(
            (name for name, v in row.items() if _misfit(name, v, schema)), None
        )
        if wrong is None:
            yield text
        else:
            value = json.dumps(row[wrong], ensure_ascii=False)[:80]
            kind = "number" if schema[wrong].kind in ("int", "float") else "text"
            bad.add(number, f"{wrong!r} is {value}, no {kind}")


def _misfit(name: str, value: Any, schema: Schema) -> bool:
    if name not in schema or value is None or schema[name].kind == "null":
        return False
    wanted: Any = (int, float) if schema[name].kind in ("int", "float") else str
    values = value if isinstance(value, list) else [value]
    return any(
        not isinstance(one, wanted)
        or (isinstance(one, float) and abs(one) > LARGEST_FLOAT)
        for one in values
        if one is not None
    )


def _objects(
    block: bytes, line: int, bad: BadRows | None = None
) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """Number, text and value of each line that is a JSON object."""
    for number, text in enumerate(block.split(b"\n"), line):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            row, found = None, f"is no JSON ({str(error)[:80]})"
        else:
            found = "is JSON, but no object"
        if isinstance(row, dict):
            yield number, text, row
        elif bad is not None:
            bad.add(number, found)


def _parse(block: bytes) -> pa.Table:
    table = _read(block)
    times = {f.name: _as_text(f.type) for f in table.schema}
    times = {name: text for name, text in times.items() if text}
    return _read(block, pa.schema(times.items())) if times else table


def _as_text(inferred: pa.DataType) -> pa.DataType | None:
    """What keeps times, and lists of them, as they are written."""
    if pa.types.is_temporal(inferred):
        return pa.string()
    if pa.types.is_list(inferred) and pa.types.is_temporal(inferred.value_type):
        return pa.list_(pa.string())
    return None


def _read(block: bytes, explicit: pa.Schema | None = None) -> pa.Table:
    if not block.strip():
        return pa.table({})
    try:
        return pa_json.read_json(
            pa.BufferReader(block),
            read_options=pa_json.ReadOptions(
                use_threads=False, block_size=len(block) + 1
            ),
            parse_options=pa_json.ParseOptions(explicit_schema=explicit),
        )
    except pa.ArrowNotImplementedError as error:  # names a type, but no column
        raise OSError(f"{error}; flatten it") from error


def _blocks(path: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about `_BLOCK` bytes of them, and the number of the first."""
    line = 1
    with files.open_stream(path) as stream:
        rest = [stream.read(3).removeprefix(b"\xef\xbb\xbf")]
        while chunk := stream.read(_BLOCK):
            lines, newline, after = chunk.rpartition(b"\n")
            if not newline:  # within a line longer than a block
                rest.append(chunk)
                continue
            block = b"".join([*rest, lines])
            if block.strip():
                yield line, block
            line += block.count(b"\n") + 1
            rest = [after]
    block = b"".join(rest)
    if block.strip():
        yield line, block
