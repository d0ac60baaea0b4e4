"""CSV: plain, gzip or zstd, with or without a header, in the config's dialect.

Options, all of them optional: `columns` (names, where the file has no header),
`delimiter`, `quote` (or "" for none), `nulls` (what stands for a missing value; an
empty field always does), `encoding`.
"""

import codecs
import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from components.errors import DataError
from components.multi_env_example_gen.columns import ColumnWidened, Schema

RANGE = 64 << 20
_BLOCK = 8 << 20
_PACKED = (".bz2", ".gz", ".lz4", ".zst")  # what Arrow tells by the name
_WIDE = ("utf-16", "utf-32")
_TYPES = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bytes": pa.string(),
    "null": pa.null(),
}
_LETTERS = {"delimiter": ",", "quote": '"'}


def ranges(path: str, options: dict[str, Any]) -> list[tuple[int, int | None]]:
    """Bytes [start, stop) that can be read apart from each other, of whole lines.

    A file of several times `RANGE` bytes is cut after the line breaks that follow their
    multiples, if it holds no quote, within which a line break need not end a row.
    Otherwise, or where it is compressed or of an encoding of several bytes, it is one.
    """
    size = os.path.getsize(path)
    encoding = codecs.lookup(options.get("encoding") or "utf8").name
    if size <= RANGE or path.endswith(_PACKED) or encoding.startswith(_WIDE):
        return [(0, None)]
    quote = options.get("quote", _LETTERS["quote"]).encode()
    cuts = [0]
    with open(path, "rb") as file:
        for at in range(0, size, RANGE):
            chunk = file.read(RANGE)
            if quote and quote in chunk:
                return [(0, None)]
            end = chunk.find(b"\n") + 1
            if at and end:
                cuts.append(at + end)
    stops = [*cuts[1:], size]
    return [(a, b) for a, b in zip(cuts, stops, strict=True) if a < b]


def open_csv(
    path: str | pa.Buffer,
    options: dict[str, Any],
    types: dict[str, pa.DataType] | None = None,
    only: list[str] | None = None,
) -> pa_csv.CSVStreamingReader:
    """A reader of bounded blocks.

    Args:
      path: the file, or what stands in it.
      options: the dialect, as the module says.
      types: of columns whose type is not to be inferred from the first block.
      only: the columns to read; None for all.
    """
    letters = {**_LETTERS, **{k: v for k, v in options.items() if k in _LETTERS}}
    nulls = options.get("nulls")
    packed = "detect" if isinstance(path, str) else None
    return pa_csv.open_csv(
        pa.input_stream(path, compression=packed),
        read_options=pa_csv.ReadOptions(
            block_size=_BLOCK,
            column_names=options.get("columns"),
            encoding=options.get("encoding") or "utf8",
        ),
        parse_options=pa_csv.ParseOptions(
            newlines_in_values=True,
            delimiter=letters["delimiter"],
            quote_char=letters["quote"] or False,
        ),
        convert_options=pa_csv.ConvertOptions(
            strings_can_be_null=True,
            column_types=types or {},
            include_columns=only,
            **({} if nulls is None else {"null_values": ["", *nulls]}),
        ),
    )


def batches(
    path: str,
    options: dict[str, Any],
    schema: Schema,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one of `ranges`, a block at a time, parsed as the schema says.

    Raises:
      ColumnWidened: a column needs a wider kind than `schema` says.
      DataError: text in a column of numbers, bytes that are no text.
    """
    found = open_csv(path, options).schema
    names = found.names
    kinds = {name: schema[name].kind for name in names}
    types = {f.name: _type(f.type, kinds[f.name]) for f in found}
    source: str | pa.Buffer = path
    if stop is not None:
        with open(path, "rb") as file:
            file.seek(start)
            source = pa.py_buffer(file.read(stop - start))
    if start:
        options = {**options, "columns": names}
    try:
        yield from open_csv(source, options, types)
    except pa.ArrowInvalid as error:
        # "In CSV column #3: CSV conversion error to int64: invalid value '1.5'"
        match = re.search(r"In CSV column #(\d+): .*onversion error", str(error))
        if not match:
            raise
        name = names[int(match.group(1))]
        wider = {"null": _kind(_value(error)), "int": "float"}.get(kinds[name])
        if wider and types[name] != pa.bool_():
            raise ColumnWidened(name, wider) from error
        if kinds[name] == "bytes":
            raise _no_text(path, name, options) from error
        raise _no_number(path, name, error) from error


def _type(shown: pa.DataType, kind: str) -> pa.DataType:
    """What a column is parsed as: no number is "true", so truth values as such."""
    truth = pa.types.is_boolean(shown) and kind in ("int", "float")
    return pa.bool_() if truth else _TYPES[kind]


def _kind(value: str | None) -> str:
    """The kind of a column of nothing before this value."""
    for kind in ("int", "float"):
        with contextlib.suppress(pa.ArrowInvalid):
            pa.array([value and value.strip(" \t")], pa.string()).cast(_TYPES[kind])
            return kind
    return "bytes"


def refuse_text(path: str, options: dict[str, Any], name: str) -> None:
    """Names the first value of a text column that is no number.

    Raises:
      DataError: there is one.
    """
    try:
        for _ in open_csv(path, options, {name: pa.float64()}):
            pass
    except pa.ArrowInvalid as error:
        if "onversion error" in str(error):
            raise _no_number(path, name, error) from error


def _no_number(path: str, name: str, error: Exception) -> DataError:
    value = _value(error)
    held = "text" if value is None else repr(value[:80])
    return DataError(
        f"{path}: column {name!r} holds {held} where all else is numbers; correct it,"
        " write it as missing (an empty field or NA), or give the column one type in"
        " all environments"
    )


def _no_text(path: str, name: str, options: dict[str, Any]) -> DataError:
    encoding = options.get("encoding") or "utf8"
    return DataError(
        f"{path}: column {name!r} holds bytes that are no {encoding}; name the file's"
        " encoding (encoding: latin-1), or write it again"
    )


def _value(error: Exception) -> str | None:
    """The value that Arrow could not convert."""
    found = re.search(r"invalid value '(.*)'", str(error), re.DOTALL)
    return found.group(1) if found else None
