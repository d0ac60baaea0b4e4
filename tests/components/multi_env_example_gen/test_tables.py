"""Generated tables in every format, against a plain reading of the same files.

Files are written by pandas, csv, json, fastavro and TensorFlow, and read again by csv,
json, pyarrow's `to_pylist`, fastavro and protocol buffers: what the Examples must hold
follows from that reading and from docs/sources.md, value by value, in Python alone.

Of CSV, where nothing tells the types, the reading takes a column, without its missing
values (an empty field, or one of the null tokens), for

* integers, if all are: decimal, of 64 bits, or hexadecimal ("0x1F"); spaces and tabs
  around are no matter;
* truth values, 0 and 1, if all are one of 0, 1, true, True, TRUE, false, False, FALSE;
* floats, if all are numbers, which are integers outside of 64 bits, decimals, and inf,
  infinity and nan in any case; NaN is missing, and what a float of 32 bits cannot hold
  is refused;
* text otherwise, dates and times included, kept as it stands.

"+1" is text to Arrow 10 and a float to Arrow 18: no text here begins with a plus.
"""

import contextlib
import csv
import dataclasses
import datetime
import gzip
import io
import json
import math
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import apache_beam as beam
import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import DataError
from components.multi_env_example_gen import (
    avro_files,
    csv_blocks,
    csv_files,
    ingest,
    json_files,
    readers,
    shards,
    splitting,
    tfrecord_files,
)
from components.source_manifest import listing

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
FORMATS = ("csv", "csv.gz", "parquet", "jsonl", "avro", "tfrecord", "tfrecord.gz")
OURS = ("id", "late", "fold", "environment")
NULLS = ["#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"]
NULLS += ["1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"]
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


# ---------------------------------------------------------------- generated tables

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAMES = st.sampled_from(
    [
        "",
        " ",
        "a b",
        "a,b",
        "[x]",
        'say "hi"',
        "it's",
        "größe",
        "🌡",
        "a\nb",
        "a.b",
        "\t",
    ]
) | st.text(CHARACTERS, max_size=8)
NAMES = NAMES.filter(lambda name: name not in OURS and "\ufeff" not in name)
LIKE_NUMBERS = ["0", "1", "007", "-0", "1.5", " 2 ", "1e5", "0x1F", "1_0", "inf"]
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
TEXTS = TEXTS.filter(lambda text: not text.strip(" \t").startswith("+"))
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
    names = draw(st.lists(NAMES, max_size=4, unique=True))
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


# ---------------------------------------------------------------- written


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


# ---------------------------------------------------------------- read plainly


@dataclasses.dataclass
class Plain:
    """A column as a plain reading has it: `int`, `float`, `bytes` or None for nothing.

    Every cell is a list of its values; a missing value is an empty one.
    """

    kind: str | None
    cells: list[list[Any]]
    early: bool = True  # whether each part tells the same kind as the whole


def read_plainly(source: Source, path: pathlib.Path) -> dict[str, Plain]:
    """The file's columns."""
    if source.format.startswith("csv"):
        return _plain_csv(path, source.options)
    declared: dict[str, str] = {}
    if source.format == "parquet":
        table = pq.read_table(path)
        rows = table.to_pylist()
        declared = {field.name: str(field.type) for field in table.schema}
    elif source.format == "avro":
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            fields = reader.writer_schema["fields"]
            declared = {field["name"]: json.dumps(field["type"]) for field in fields}
            rows = list(reader)
    elif source.format == "jsonl":
        text = path.read_bytes().decode("utf-8-sig")
        rows = [json.loads(line) for line in text.split("\n") if line]
    else:
        rows = [_features(record) for record in _records(path)]
    names = declared or {name: "" for row in rows for name in row}
    columns = {name: _plain([row.get(name) for row in rows]) for name in names}
    for name, words in declared.items():
        columns[name].kind = _declared_kind(words)
    return columns


def _declared_kind(words: str) -> str:
    """The kind of a type as Parquet or Avro write it, a list or not."""
    if any(word in words for word in ("string", "date", "time", "binary")):
        return "bytes"
    return "float" if any(word in words for word in ("float", "double")) else "int"


def _plain(cells: list[Any]) -> Plain:
    lists = [
        [] if cell is None else cell if isinstance(cell, list) else [cell]
        for cell in cells
    ]
    kinds = {_kind(one) for cell in lists for one in cell}
    kind = "float" if kinds == {"int", "float"} else next(iter(kinds), None)
    return Plain(kind, lists)


def _kind(value: Any) -> str:
    if isinstance(value, bool | int):
        return "int"
    return "float" if isinstance(value, float | np.float32) else "bytes"


def _records(path: pathlib.Path) -> Iterator[bytes]:
    """The records of a TFRecord: after its length, each, and between two checksums."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    start = 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 8], "little")
        yield content[start + 12 : start + 12 + size]
        start += 16 + size


def _features(record: bytes) -> dict[str, list[Any]]:
    """The values of an Example, floats as such of 32 bits."""
    features = tf.train.Example.FromString(record).features.feature
    row = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        row[name] = [np.float32(v) for v in values] if kind == "float_list" else values
    return row


def _plain_csv(path: pathlib.Path, options: dict[str, Any]) -> dict[str, Plain]:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    lines = list(
        csv.reader(
            io.StringIO(text.decode("utf-8-sig"), newline=""),
            delimiter=options.get("delimiter", ","),
            quotechar=options.get("quote", '"'),
        )
    )
    names = options.get("columns") or lines.pop(0)
    nulls = ["", *options.get("nulls", NULLS)]
    columns = {}
    for name, texts in zip(names, zip(*lines, strict=True), strict=True):
        cells = [[] if text in nulls else [text] for text in texts]
        found = [cell[0] for cell in cells if cell]
        columns[name] = _typed(found, cells)
        columns[name].early = tells_its_type_early(found, not cells[0])
    return columns


def _is_number(text: str) -> bool:
    return _is_integer(text) or bool(NUMBER.fullmatch(text))


INTEGER = re.compile(r"-?[0-9]+|0[xX][0-9a-fA-F]{1,16}")
NUMBER = re.compile(
    r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|-?(?:inf|infinity|nan)", re.I
)
TRUTH = {"1": 1, "true": 1, "True": 1, "TRUE": 1}
TRUTH |= {"0": 0, "false": 0, "False": 0, "FALSE": 0}


def _typed(texts: list[str], cells: list[list[str]]) -> Plain:
    """A column of CSV by the rules at the top."""
    numbers = [text.strip(" \t") for text in texts]
    if not texts:
        return Plain(None, cells)
    if all(map(_is_integer, numbers)):
        return Plain(
            "int", [[_integer(c.strip(" \t")) for c in cell] for cell in cells]
        )
    if all(text in TRUTH for text in texts):
        return Plain("int", [[TRUTH[one] for one in cell] for cell in cells])
    if all(map(NUMBER.fullmatch, numbers)):
        return Plain("float", [[float(one) for one in cell] for cell in cells])
    return Plain("bytes", cells)


def _integer(text: str) -> float:
    """An integer; -0 as the float that keeps its sign where a column is of floats."""
    number = int(text, 16 if text[:2].lower() == "0x" else 10)
    return -0.0 if number == 0 and text.startswith("-") else number


def _is_integer(text: str) -> bool:
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= _integer(text) < 2**63


# ---------------------------------------------------------------- what must come of it


def expected(
    sources: list[Source], plain: list[dict[str, Plain]], by_hash: bool
) -> dict[tuple[str, str, int], dict[str, list[Any]]] | None:
    """(split, environment, id) -> features; None where docs/sources.md refuses."""
    if not all(map(fits, plain)):
        return None
    kinds: dict[str, set[str]] = {}
    for columns in plain:
        for name, column in columns.items():
            kinds.setdefault(name, set()).update({column.kind} - {None})
    if any("bytes" in found and len(found) > 1 for found in kinds.values()):
        return None
    joint = {
        name: "float" if len(found) > 1 else next(iter(found), None)
        for name, found in kinds.items()
    }
    rows = {}
    for source, columns in zip(sources, plain, strict=True):
        for i, (number,) in enumerate(columns["id"].cells):
            label = columns["late"].cells[i]
            eval_side = by_hash or columns["fold"].cells[i][0] in ("eval", b"eval")
            if not label or (source.held_out and not eval_side):
                continue
            split = "ood" if source.held_out else "eval" if eval_side else "train"
            row = {
                name: [_as_kind(v, joint[name]) for v in column.cells[i] if v == v]
                for name, column in columns.items()
            }
            row["environment"] = [source.name.encode()]
            row["late"] = [int(label[0])]
            rows[split, source.name, number] = {k: v for k, v in row.items() if v}
    return rows


def fits(columns: dict[str, Plain]) -> bool:
    """No infinity, also of 32 bits, and no NaN among others: such rows are bad ones."""
    for column in columns.values():
        for cell in column.cells if column.kind == "float" else []:
            numbers = [abs(float(value)) for value in cell]
            if any(n > LARGEST for n in numbers) or (
                len(cell) > 1 and any(map(math.isnan, numbers))
            ):
                return False
    return True


def _as_kind(value: Any, kind: str | None) -> Any:
    if kind == "int":
        return int(value)
    if kind == "float":
        with np.errstate(over="ignore"):
            return _bits(np.float32(value))
    if isinstance(value, bytes):
        return value
    if isinstance(value, datetime.datetime):
        zone = "Z" if value.tzinfo else ""
        day = f"{value.year:04}-{value.month:02}-{value.day:02}"
        return f"{day} {value:%H:%M:%S.%f}{zone}".encode()
    return (value.isoformat() if isinstance(value, datetime.date) else value).encode()


def _bits(value: np.float32) -> str | float:
    """Distinct for 0.0 and -0.0, the same for all that are no number."""
    return str(value) if math.isnan(value) or value == 0 else float(value)


# ---------------------------------------------------------------- the test


def read_examples(folder: str) -> dict[tuple[str, str, int], dict[str, list[Any]]]:
    """(split, environment, id) -> features with their values."""
    rows = {}
    for split in splitting.SPLITS:
        for path in tf.io.gfile.glob(f"{folder}/Split-{split}/*"):
            for record in _records(pathlib.Path(path)):
                row = _features(record)
                key = (split, row["environment"][0].decode(), row["id"][0])
                assert key not in rows
                rows[key] = {
                    name: [_bits(v) if isinstance(v, np.float32) else v for v in values]
                    for name, values in row.items()
                    if values
                }
    return rows


@contextlib.contextmanager
def small_blocks() -> Iterator[None]:
    """Files read some rows at a time, and CSVs and Parquet in parts."""
    sizes = {(csv_blocks, "BLOCK"): 64, (csv_files, "RANGE"): 64}
    sizes |= {(json_files, "_BLOCK"): 64, (avro_files, "_BATCH"): 2}
    sizes |= {(readers, "BATCH_ROWS"): 3, (readers, "_ROWS_A_RANGE"): 5}
    sizes |= {(tfrecord_files, "_BATCH_ROWS"): 2}
    with contextlib.ExitStack() as stack:
        for (module, name), size in sizes.items():
            stack.enter_context(mock.patch.object(module, name, size))
        yield


def tells_its_type_early(texts: list[str], missing_first: bool) -> bool:
    """Whether each part of a CSV's column tells the same of it as the whole does."""
    numbers = [text.strip(" \t") for text in texts]
    if all(map(_is_integer, numbers)) or all(map(NUMBER.fullmatch, numbers)):
        return True
    if all(text in TRUTH and not _is_integer(text) for text in texts):
        return not missing_first
    return not any(
        _is_number(n) or text in TRUTH for n, text in zip(numbers, texts, strict=True)
    )


def ingested(table: Table, folder: pathlib.Path) -> tuple[Any, Any]:
    """What the Examples must hold, and what they do: rows, or why they are refused."""
    sources = table.sources
    paths = [write(source, folder) for source in sources]
    plain = [read_plainly(s, path) for s, path in zip(sources, paths, strict=True)]
    entries = [
        {
            "environment": source.name,
            "format": source.format.split(".")[0],
            "patterns": [str(path)],
            "held_out": source.held_out,
            "options": source.options,
        }
        for source, path in zip(sources, paths, strict=True)
    ]
    side = {} if table.by_hash else {"eval_column": "fold", "eval_values": ("eval",)}
    slices = (("environment",), ("fold",))
    spec = shards.Spec(
        {"name": "late"}, 0.5, (), slices, optional=table.optional, **side
    )
    files = listing.build_manifest(entries)
    out = str(folder / "out")
    wanted = expected(sources, plain, table.by_hash)
    early = all(column.early for columns in plain for column in columns.values())
    in_parts = table.in_parts and early and wanted is not None
    blocks = small_blocks() if in_parts else contextlib.nullcontext()
    try:
        with blocks:
            ingest.ingest(files, spec, out, lambda: beam.Pipeline(argv=[RUNNER]))
    except DataError as error:
        return wanted, str(error)
    return wanted, read_examples(out)


@settings(
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(tables())
def test_examples_hold_what_a_plain_reading_has(table):
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = ingested(table, pathlib.Path(folder))
    if wanted is None:
        said = ("give it one type", "data.on_bad_row: drop")
        assert isinstance(found, str) and any(map(found.__contains__, said)), found
    else:
        assert found == wanted
