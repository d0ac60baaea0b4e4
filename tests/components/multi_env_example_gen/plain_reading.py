"""A plain reading of a source, and the Examples that must come of it, in Python alone.

Files are read by csv, json, pyarrow's `to_pylist`, fastavro and protocol buffers.

Of CSV, where nothing tells the types, the reading takes a column, without its missing
values (an empty field, or one of the null tokens), for

* integers, if all are, of 64 bits; spaces and tabs around are no matter;
* truth values, 0 and 1, if all are one of 0, 1, true, True, TRUE, false, False, FALSE;
* floats, if all are numbers, which are integers outside of 64 bits, decimals, and inf,
  infinity and nan in any case; NaN is missing, and what a float of 32 bits cannot hold
  is refused;
* text otherwise, dates and times included, kept as it stands.

No text here is like "+1", which is text to Arrow 10 and a float to Arrow 18, or like
"0x1F", an integer to Arrow, but none that it reads in a column of floats.
"""

import csv
import dataclasses
import datetime
import gzip
import io
import json
import math
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import fastavro
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from components.multi_env_example_gen import splitting
from tests.components.multi_env_example_gen.tables import LARGEST, Source

NULLS = ["#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"]
NULLS += ["1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"]
Rows = dict[tuple[str, str, int], dict[str, list[Any]]]  # (split, environment, id) ->


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
        rows = [features(record) for record in records(path)]
        declared = _list_kinds(path)
    names = {name: "" for row in rows for name in row} | declared
    columns = {name: _plain([row.get(name) for row in rows]) for name in names}
    for name, words in declared.items():
        columns[name].kind = _declared_kind(words)
    return columns


def _declared_kind(words: str) -> str:
    """The kind of a type as Parquet, Avro or tf.Example write it, a list or not."""
    if any(word in words for word in ("string", "date", "time", "binary", "bytes")):
        return "bytes"
    return "float" if any(word in words for word in ("float", "double")) else "int"


def _list_kinds(path: pathlib.Path) -> dict[str, str]:
    """Feature -> the list that it is; a list without a value has a kind too."""
    found = {}
    for record in records(path):
        for name, feature in tf.train.Example.FromString(
            record
        ).features.feature.items():
            if kind := feature.WhichOneof("kind"):
                found[name] = kind
    return found


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


def records(path: pathlib.Path) -> Iterator[bytes]:
    """The records of a TFRecord: after its length, each, and between two checksums."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    start = 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 8], "little")
        yield content[start + 12 : start + 12 + size]
        start += 16 + size


def features(record: bytes) -> dict[str, list[Any]]:
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


INTEGER = re.compile(r"-?[0-9]+")
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
    number = int(text)
    return -0.0 if number == 0 and text.startswith("-") else number


def _is_integer(text: str) -> bool:
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= _integer(text) < 2**63


def expected(
    sources: list[Source], plain: list[dict[str, Plain]], by_hash: bool
) -> Rows | None:
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


def read_examples(folder: str) -> Rows:
    """(split, environment, id) -> features with their values."""
    rows = {}
    for split in splitting.SPLITS:
        for path in tf.io.gfile.glob(f"{folder}/Split-{split}/*"):
            for record in records(pathlib.Path(path)):
                row = features(record)
                key = (split, row["environment"][0].decode(), row["id"][0])
                assert key not in rows
                rows[key] = {
                    name: [_bits(v) if isinstance(v, np.float32) else v for v in values]
                    for name, values in row.items()
                    if values
                }
    return rows
