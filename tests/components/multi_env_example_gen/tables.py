"""Tables that hypothesis makes, and how each format's own library writes them."""

import csv
import dataclasses
import datetime
import gzip
import io
import json
import math
import pathlib
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from hypothesis import strategies as st

FORMATS = ("csv", "csv.gz", "parquet", "jsonl", "avro", "tfrecord", "tfrecord.gz")
OURS = ("id", "late", "fold", "environment")
UTC = datetime.timezone.utc


@dataclasses.dataclass
class Column:
    """What is written: a cell is None or a value, of lists a list of them."""

    name: str
    kind: str  # of `KINDS`
    is_list: bool
    cells: list[Any]


@dataclasses.dataclass
class Source:
    """One environment and how its file is written."""

    name: str
    format: str
    held_out: bool
    columns: list[Column]
    options: dict[str, Any]
    written: dict[str, Any]


@dataclasses.dataclass
class Table:
    """All environments, and how they are ingested.

    Where rows are split by a hash, all environments are held out: every row arrives.
    """

    sources: list[Source]
    by_hash: bool
    optional: tuple[str, ...]
    in_parts: bool


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
ODD = ["", " ", "a b", "a,b", "[x]", 'say "hi"', "it's", "größe", "🌡", "a\nb", "a.b"]
NAMES = st.sampled_from([*ODD, "\t"]) | st.text(CHARACTERS, max_size=8)
NAMES = NAMES.filter(lambda name: name not in OURS and "\ufeff" not in name)
LIKE_NUMBERS = ["0", "1", "007", "-0", "1.5", " 2 ", "1e5", "1_0", "inf"]
LIKE_NUMBERS += ["9223372036854775808", "١", "true", "False", "NaN", "NAN", "1,5"]
LIKE_OTHERS = ["NA", "null", "None", "2024-02-29", "12:30", "2024-02-29T12:30:00Z", "?"]
LIKE_OTHERS += [
    "",
    " ",
    " x ",
    'a "b"',
    "'",
    "a,b;c\td",
    "\n",
    "a\r\nb",
    "\r",
    "\u2028",
]
INTEGERS = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1]) | st.integers(
    -(2**63), 2**63 - 1
)
LARGEST = float(np.finfo(np.float32).max)
FLOATS = st.sampled_from(
    [0.0, -0.0, 0.1, 1e-45, 1e-310, LARGEST, -LARGEST, 3.4e38, 2.0**63] + [math.nan] * 2
)
FLOATS |= st.floats(-LARGEST, LARGEST) | st.floats(-LARGEST, LARGEST, width=32)
FLOATS |= st.sampled_from([0.0] * 9 + [1e300, math.inf, -math.inf])
DATES = st.dates(datetime.date(1, 1, 1), datetime.date(9999, 12, 31))
TIMES = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1))
TEXTS = st.sampled_from(LIKE_NUMBERS + LIKE_OTHERS) | st.text(CHARACTERS, max_size=12)
TEXTS = TEXTS.filter(lambda text: not text.strip(" \t").startswith(("+", "0x", "0X")))
KINDS = {
    "int": INTEGERS,
    "float": FLOATS,
    "text": TEXTS,
    "bool": st.booleans(),
    "date": DATES,
    "time": TIMES,
    "code": st.sampled_from(LIKE_NUMBERS) | FLOATS.map(repr) | INTEGERS.map(str),
}
NARROWER = {"float": ["int", "bool"], "int": ["bool"], "text": ["date", "code"]}


@st.composite
def tables(draw: Any) -> Table:
    """One to three environments of columns of the same names."""
    formats = draw(st.lists(st.sampled_from(FORMATS), min_size=1, max_size=3))
    names = draw(st.lists(NAMES, min_size=4, max_size=7, unique=True))
    flat = any(name.startswith("csv") for name in formats)
    kinds = [
        (draw(st.sampled_from(list(KINDS))), not flat and draw(st.booleans()))
        for _ in names
    ]
    by_hash = draw(st.booleans())
    sources, optional = [], set()
    for number, file_format in enumerate(formats):
        rows = draw(st.integers(3, 12))
        columns = _columns_of_ours(draw, rows)
        for name, (kind, is_list) in zip(names, kinds, strict=True):
            if draw(st.sampled_from([False] * 9 + [True])):
                optional.add(name)
                continue
            kind = draw(st.sampled_from([kind, *NARROWER.get(kind, [])]))
            is_list = is_list and draw(st.sampled_from([True, True, False]))
            cells = draw(_cells(kind, is_list, rows))
            columns.append(Column(name, kind, is_list, cells))
        sources.append(
            Source(
                name=f"site {number}",
                format=file_format,
                held_out=by_hash or draw(st.booleans()),
                columns=draw(st.permutations(columns)),
                options=draw(_dialects()) if file_format.startswith("csv") else {},
                written=draw(_ways()),
            )
        )
    return Table(sources, by_hash, tuple(optional), draw(st.booleans()))


def _columns_of_ours(draw: Any, rows: int) -> list[Column]:
    """The row's number, its label, and its side: both sides and labels occur."""
    more = rows - 3
    label = [False, True, False, *draw(_cells("bool", False, more))]
    if draw(st.booleans()):
        label = [None if cell is None else int(cell) for cell in label]
    sides = st.sampled_from(["train", "eval"])
    fold = draw(st.lists(sides, min_size=more, max_size=more))
    return [
        Column("id", "int", False, list(range(rows))),
        Column("late", "int" if label[0] is not False else "bool", False, label),
        Column("fold", "text", False, ["train", "train", "eval", *fold]),
    ]


def _cells(kind: str, is_list: bool, rows: int) -> Any:
    value = KINDS[kind]
    if is_list:
        value = st.lists(value, max_size=3)
    missing = st.sampled_from([0, 0, 1, 3, 9])
    cell = missing.flatmap(lambda n: value if n == 0 else st.none())
    return st.lists(cell, min_size=rows, max_size=rows) | st.lists(
        value, min_size=rows, max_size=rows
    )


def _dialects() -> Any:
    """Options of a CSV source."""
    return st.fixed_dictionaries(
        {},
        optional={
            "delimiter": st.sampled_from([",", ";", "\t", "|"]),
            "quote": st.sampled_from(['"', "'"]),
            "nulls": st.sampled_from([[], ["?"], ["NA", "-9"]]),
            "columns": st.just(None),  # names without a header, filled in when written
        },
    )


def _ways() -> Any:
    """How a file is written, where its format leaves a choice."""
    choice = st.booleans()
    return st.fixed_dictionaries(
        {
            "quoted": choice,
            "ending": st.sampled_from(["\n", "\r\n"]),
            "bom": choice,
            "narrow": choice,
            "dictionary": choice,
            "large": choice,
            "ascii": choice,
            "absent": choice,
            "deflate": choice,
        }
    )


def write(source: Source, folder: pathlib.Path) -> pathlib.Path:
    """Writes the table; what a format cannot hold becomes what its users write."""
    path = folder / f"{source.name}.{source.format}"
    rows = len(source.columns[0].cells)
    if source.format.startswith("csv"):
        content = _csv(source, rows)
    elif source.format == "jsonl":
        content = _json_lines(source, rows)
    elif source.format == "parquet":
        names = [column.name for column in source.columns]
        arrays = [_arrow(column, source.written) for column in source.columns]
        pq.write_table(pa.Table.from_arrays(arrays, names), path, row_group_size=5)
        return path
    elif source.format == "avro":
        content = _avro(source, rows)
    else:
        _tfrecord(source, rows, path)
        return path
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _csv(source: Source, rows: int) -> bytes:
    names = [column.name for column in source.columns]
    lines = [
        [_csv_text(column.cells[i]) for column in source.columns] for i in range(rows)
    ]
    if "columns" in source.options:
        source.options["columns"] = names
    else:
        lines = [names, *lines]
    # csv quotes what stands in the line ending, but a row may end at any line break.
    breaks = any(c in field for line in lines for field in line for c in "\r\n")
    file = io.StringIO()
    csv.writer(
        file,
        delimiter=source.options.get("delimiter", ","),
        quotechar=source.options.get("quote", '"'),
        lineterminator=source.written["ending"],
        quoting=csv.QUOTE_ALL
        if source.written["quoted"] or breaks
        else csv.QUOTE_MINIMAL,
    ).writerows(lines)
    return file.getvalue().encode("utf-8-sig" if source.written["bom"] else "utf-8")


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _json_lines(source: Source, rows: int) -> bytes:
    lines = []
    for i in range(rows):
        entry = {}
        for column in source.columns:
            value = _json_value(column.cells[i])
            # The first row names all columns: files are read in parts at times.
            if value is not None or i == 0 or not source.written["absent"]:
                entry[column.name] = value
        lines.append(
            json.dumps(entry, ensure_ascii=source.written["ascii"], allow_nan=False)
        )
    text = source.written["ending"].join([*lines, ""])
    return text.encode("utf-8-sig" if source.written["bom"] else "utf-8")


def _json_value(value: Any) -> Any:
    if isinstance(value, list):
        return [one for one in map(_json_value, value) if one is not None]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime.date) else value


def _arrow(column: Column, written: dict[str, Any]) -> pa.Array:
    flat = _present(column)
    text = column.kind in ("text", "code")
    types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    types["code"] = pa.string()
    types |= {"bool": pa.bool_(), "date": pa.date32(), "time": pa.timestamp("us")}
    kind = types[column.kind]
    if written["narrow"]:
        if column.kind == "int" and all(-128 <= value < 128 for value in flat):
            kind = pa.int8()
        elif column.kind == "int" and all(0 <= value < 2**32 for value in flat):
            kind = pa.uint32()
        elif column.kind == "float":
            kind = pa.float32()
        elif column.kind == "time":
            kind = pa.timestamp("us", tz="UTC")
    if text and written["large"]:
        kind = pa.large_string()
    if column.is_list:
        kind = pa.large_list(kind) if written["large"] else pa.list_(kind)
    array = pa.array(column.cells, kind)
    if text and not column.is_list and written["dictionary"]:
        array = array.dictionary_encode()
    return array


def _avro(source: Source, rows: int) -> bytes:
    types = {"int": "long", "float": "double", "text": "string", "bool": "boolean"}
    types["code"] = "string"
    types["date"] = {"type": "int", "logicalType": "date"}
    types["time"] = {"type": "long", "logicalType": "timestamp-micros"}
    fields = []
    for column in source.columns:
        kind = types[column.kind]
        if column.is_list:
            kind = {"type": "array", "items": kind}
        fields.append({"name": column.name, "type": ["null", kind]})
    records = [
        {column.name: _avro_value(column.cells[i]) for column in source.columns}
        for i in range(rows)
    ]
    file = io.BytesIO()
    schema = {"type": "record", "name": "row", "fields": fields}
    codec = "deflate" if source.written["deflate"] else "null"
    fastavro.writer(file, schema, records, codec=codec)
    return file.getvalue()


def _avro_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_avro_value(one) for one in value]
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=UTC)
    return value


def _tfrecord(source: Source, rows: int, path: pathlib.Path) -> None:
    compression = "GZIP" if source.format.endswith("gz") else ""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for i in range(rows):
            example = tf.train.Example()
            for column in source.columns:
                value = column.cells[i]
                if value is None and i and source.written["absent"]:
                    continue
                feature = example.features.feature[column.name]
                values = [] if value is None else value if column.is_list else [value]
                if column.kind in ("int", "bool"):
                    feature.int64_list.value.extend(map(int, values))
                elif column.kind == "float":
                    with np.errstate(over="ignore"):
                        feature.float_list.value.extend(map(np.float32, values))
                else:
                    texts = [_csv_text(one).encode() for one in values]
                    feature.bytes_list.value.extend(texts)
            writer.write(example.SerializeToString())


def _present(column: Column) -> list[Any]:
    cells = [cell for cell in column.cells if cell is not None]
    return [one for cell in cells for one in cell] if column.is_list else cells
