"""Every format and dialect gives the rows that were written, by other libraries."""

import decimal
import gzip
import json
import uuid

import apache_beam as beam
import fastavro
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import zstandard

from components.errors import DataError
from components.multi_env_example_gen import ingest, readers, shards, splitting
from components.source_manifest import listing

SPEC = shards.Spec({"name": "late"}, 0.5, (), ())
OPEN = shards.Spec({"name": "late"}, 0.5, (), (), held_out=("only",))  # few rows do
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
COLUMNS = {"id": "long", "late": "int", "temp": "double", "city": "string"}


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    temp = random.normal(50, 10, 400).round(2)
    temp[::5] = np.nan
    city = random.choice(["Zürich", 'a "b"', "two\nlines", "semi;colon, too"], 400)
    frame = pd.DataFrame(
        {"id": np.arange(400), "late": random.integers(0, 2, 400), "temp": temp}
    )
    frame["city"] = pd.Series(city, dtype=object)
    frame.loc[::7, "city"] = None
    return frame


def records(frame):
    """Rows without their missing values."""
    rows = frame.to_dict("records")
    return [{k: v for k, v in row.items() if not pd.isna(v)} for row in rows]


def run(tmp_path, file_format, path, spec=SPEC, **options):
    held_out = spec.held_out == ("only",)
    entry = {"environment": "only", "format": file_format, "held_out": held_out}
    entry |= {"patterns": [str(path)], "options": options}
    return run_all(tmp_path, [entry], spec)


def run_all(tmp_path, entries, spec=SPEC):
    files = listing.from_json(listing.to_json(listing.build_manifest(entries)))
    folder = str(tmp_path / "out")
    ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[RUNNER]))
    rows = []
    for split in splitting.SPLITS:
        for path in tf.io.gfile.glob(f"{folder}/Split-{split}/*"):
            for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator():
                rows.append(to_row(record))
    return sorted(rows, key=lambda row: row["id"])


def to_row(record):
    features = tf.train.Example.FromString(record).features.feature
    row = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        if kind and name != "environment":
            values = list(getattr(feature, kind).value)
            values = [v.decode() if kind == "bytes_list" else v for v in values]
            row[name] = values[0] if len(values) == 1 else values
    return row


def assert_rows(found, frame):
    wanted = records(frame)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            number = isinstance(value, float)
            assert ours[name] == (np.float32(value) if number else value)


def write_csv(frame, path, **dialect):
    frame.to_csv(path, index=False, **dialect)
    return path


@pytest.mark.parametrize(
    ("dialect", "options"),
    [
        ({}, {}),
        ({"sep": ";"}, {"delimiter": ";"}),
        ({"sep": "\t"}, {"delimiter": "\t"}),
        ({"quotechar": "'"}, {"quote": "'"}),
        ({"na_rep": "?"}, {"nulls": ["?", "-"]}),
        ({"encoding": "latin-1"}, {"encoding": "latin-1"}),
        ({"encoding": "utf-16"}, {"encoding": "utf-16"}),
        ({"encoding": "utf-8-sig"}, {}),
        ({"header": False}, {"columns": ["id", "late", "temp", "city"]}),
        ({"lineterminator": "\r\n"}, {}),
    ],
    ids=str,
)
def test_csv_dialects(tmp_path, frame, dialect, options):
    path = write_csv(frame, tmp_path / "data.txt", **dialect)
    found = run(tmp_path, "csv", path, **options)
    if dialect.get("lineterminator"):
        for row in found:  # pandas writes those within fields as they are
            if "city" in row:
                row["city"] = row["city"].replace("\r\n", "\n")
    assert_rows(found, frame)


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_text(tmp_path, frame, file_format, suffix):
    plain = write_csv(frame, tmp_path / "plain")
    if file_format == "jsonl":
        write_jsonl(frame, plain)
    pack = gzip.compress if suffix == ".gz" else zstandard.compress
    path = tmp_path / f"data.{file_format}{suffix}"
    path.write_bytes(pack(plain.read_bytes()))
    assert_rows(run(tmp_path, file_format, path), frame)


def write_jsonl(frame, path):
    path.write_text("\n".join(json.dumps(row) for row in records(frame)))
    return path


def test_json_lines(tmp_path, frame):
    path = write_jsonl(frame, tmp_path / "data.jsonl")
    assert_rows(run(tmp_path, "jsonl", path), frame)


def test_json_lines_may_have_a_bom_blank_lines_and_nulls(tmp_path):
    lines = [f'{{"id": {i}, "late": {i % 2}, "x": null}}\n\n' for i in range(40)]
    lines.append('{"id": 40, "late": 1, "x": "a"}\r\n')
    path = tmp_path / "data.jsonl"
    path.write_text("\ufeff" + "".join(lines), encoding="utf8", newline="")
    found = run(tmp_path, "jsonl", path)
    assert found[:2] == [{"id": 0, "late": 0}, {"id": 1, "late": 1}]
    assert found[-1] == {"id": 40, "late": 1, "x": "a"}


def test_json_lines_types_are_those_of_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("components.multi_env_example_gen.json_files._BLOCK", 500)
    rows = [{"id": i, "late": i % 2, "x": i, "y": [i]} for i in range(300)]
    rows[200] |= {"x": 0.5, "y": [1, 2]}
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = run(tmp_path, "jsonl", path)
    assert [row["x"] for row in found] == [row["x"] for row in rows]
    assert found[200]["y"] == [1, 2]


def test_json_lines_keep_times_as_they_are_written(tmp_path):
    rows = [
        {"id": i, "late": i % 2, "at": f"2024-01-{1 + i % 28:02}T10:00:00Z"}
        for i in range(50)
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert run(tmp_path, "jsonl", path) == rows


def test_lists_of_times_in_json_lines_stay_as_they_are_written(tmp_path):
    rows = [{"id": i, "late": i % 2, "at": ["2024-02-29T10:00:00Z"]} for i in range(9)]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert {row["at"] for row in run(tmp_path, "jsonl", path, OPEN)} == {
        "2024-02-29T10:00:00Z"
    }


def test_a_list_that_lacks_a_value_is_refused_by_name(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": 1, "late": 0, "x": [1, null]}')
    with pytest.raises(DataError, match=r"data.jsonl: column 'x' holds \[1, None\]"):
        run(tmp_path, "jsonl", path)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_avro(tmp_path, frame, codec):
    fields = [{"name": n, "type": ["null", t]} for n, t in COLUMNS.items()]
    path = tmp_path / "data.avro"
    with open(path, "wb") as file:
        schema = {"type": "record", "name": "r", "fields": fields}
        fastavro.writer(file, schema, records(frame), codec=codec)
    assert_rows(run(tmp_path, "avro", path), frame)


def test_avro_decimals_of_any_length(tmp_path):
    fields = [{"name": "id", "type": "long"}, {"name": "late", "type": "int"}]
    for name, precision in (("short", 6), ("long", 50)):
        kind = {"type": "bytes", "logicalType": "decimal", "scale": 2}
        fields.append({"name": name, "type": kind | {"precision": precision}})
    value = decimal.Decimal("-2.25")
    path = tmp_path / "data.avro"
    with open(path, "wb") as file:
        schema = {"type": "record", "name": "r", "fields": fields}
        rows = [{"id": i, "late": i, "short": value, "long": value} for i in range(2)]
        fastavro.writer(file, schema, rows)
    found = run(tmp_path, "avro", path, OPEN)
    assert [(row["short"], row["long"]) for row in found] == [(-2.25, -2.25)] * 2


def test_avro_types(tmp_path):
    logical = {"type": "long", "logicalType": "timestamp-millis"}
    fields = [
        {"name": "id", "type": "long"},
        {"name": "late", "type": "boolean"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": logical},
        {"name": "who", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "kind", "type": {"type": "enum", "name": "k", "symbols": ["a", "b"]}},
        {"name": "ids", "type": {"type": "array", "items": "long"}},
    ]
    day = pd.Timestamp("2024-02-29")
    row = {"day": day.date(), "at": day.tz_localize("UTC").to_pydatetime()}
    row |= {"who": uuid.UUID(int=1), "kind": "b", "ids": [3, 4]}
    rows = [row | {"id": i, "late": bool(i % 2)} for i in range(40)]
    path = tmp_path / "data.avro"
    with open(path, "wb") as file:
        fastavro.writer(file, {"type": "record", "name": "r", "fields": fields}, rows)
    found = run(tmp_path, "avro", path)
    assert [one["late"] for one in found] == [i % 2 for i in range(40)]
    assert found[0]["day"] == "2024-02-29"
    assert found[0]["at"].startswith("2024-02-29 00:00:00")
    assert found[0]["who"] == str(uuid.UUID(int=1))
    assert (found[0]["kind"], found[0]["ids"]) == ("b", [3, 4])


@pytest.mark.parametrize("file_format", ["jsonl", "avro", "csv", "parquet", "tfrecord"])
@pytest.mark.parametrize("content", [b"", b"\x00\x01nonsense\xff" * 50])
def test_nonsense_is_refused_by_name(tmp_path, file_format, content):
    path = tmp_path / "nonsense.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"nonsense\.bin|'late'"):
        run(tmp_path, file_format, path)


def test_truncated_avro_is_refused(tmp_path, frame):
    path = tmp_path / "data.avro"
    fields = [{"name": n, "type": ["null", t]} for n, t in COLUMNS.items()]
    with open(path, "wb") as file:
        schema = {"type": "record", "name": "r", "fields": fields}
        fastavro.writer(file, schema, records(frame), codec="deflate")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"data\.avro cannot be read as avro"):
        run(tmp_path, "avro", path)


def test_json_objects_in_objects_are_refused(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": 1, "late": 0, "x": {"y": 1}}')
    with pytest.raises(DataError, match="column 'x' has the type struct.*flatten"):
        run(tmp_path, "jsonl", path)


def test_one_environment_of_several_formats(tmp_path, frame):
    write_csv(frame[:100], tmp_path / "a.csv", sep=";")
    write_jsonl(frame[100:250], tmp_path / "b.jsonl")
    pq.write_table(pa.Table.from_pandas(frame[250:]), tmp_path / "c.parquet")
    entries = [
        {"environment": "only", "held_out": False, "format": name}
        | {"patterns": [str(tmp_path / path)], "options": options}
        for name, path, options in (
            ("csv", "a.csv", {"delimiter": ";"}),
            ("jsonl", "b.jsonl", {}),
            ("parquet", "c.parquet", {}),
        )
    ]
    assert_rows(run_all(tmp_path, entries), frame)


def test_an_optional_column_may_be_missing_somewhere(tmp_path, frame):
    write_csv(frame[:200], tmp_path / "a.csv")
    write_csv(frame[200:].drop(columns="temp"), tmp_path / "b.csv")
    entries = [
        {"environment": name, "held_out": False, "format": "csv", "options": {}}
        | {"patterns": [str(tmp_path / f"{name}.csv")]}
        for name in "ab"
    ]
    with pytest.raises(DataError, match=r"no column 'temp'.*data\.optional"):
        run_all(tmp_path, entries)
    optional = shards.Spec({"name": "late"}, 0.5, (), (), optional=("temp",))
    wanted = frame.copy()
    wanted.loc[200:, "temp"] = np.nan
    assert_rows(run_all(tmp_path, entries, optional), wanted)


def test_the_same_input_gives_the_same_bytes(tmp_path, frame):
    path = write_csv(frame, tmp_path / "data.csv")
    shards_of = []
    for _ in range(2):
        run(tmp_path, "csv", path)
        found = sorted((tmp_path / "out").rglob("*.gz"))
        shards_of.append([file.read_bytes() for file in found])
    assert len(shards_of[0]) == 2
    assert shards_of[0] == shards_of[1]


@pytest.mark.parametrize("header", [True, False])
def test_a_long_csv_is_read_in_parts(tmp_path, frame, monkeypatch, header):
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 1000)
    plain = frame.assign(city=np.where(frame.city.isna(), None, "x"))
    path = write_csv(plain, tmp_path / "data.csv", header=header)
    options = {} if header else {"columns": list(frame)}
    parts = readers.ranges_of(str(path), "csv", options)
    text = path.read_bytes()
    assert len(text) / 1000 < len(parts) < len(text) / 1000 + 2
    assert all(text[part.start - 1 : part.start] in (b"", b"\n") for part in parts)
    assert [part.stop for part in parts] == [p.start for p in parts[1:]] + [len(text)]
    assert_rows(run(tmp_path, "csv", path, **options), plain)


@pytest.mark.parametrize("encoding", ["utf8", "latin-1"])
def test_quotes_and_line_breaks_within_them_part_no_row(
    tmp_path, frame, monkeypatch, encoding
):
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 1000)
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 300)
    path = write_csv(frame, tmp_path / "data.csv", encoding=encoding)
    assert len(readers.ranges_of(str(path), "csv")) > 5
    assert_rows(run(tmp_path, "csv", path, encoding=encoding), frame)


@pytest.mark.parametrize(
    ("suffix", "encoding"), [(".gz", "utf8"), ("", "utf-16"), ("", "shift_jis")]
)
def test_packed_and_wide_csv_is_read_as_one(tmp_path, suffix, encoding, monkeypatch):
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 1000)
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 300)
    text = "id,late,city\n" + "".join(f"{i},{i % 2},\u6771\n" for i in range(300))
    content = text.encode(encoding)
    path = tmp_path / f"data.csv{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert readers.ranges_of(str(path), "csv", {"encoding": encoding}) == [
        readers.Range()
    ]
    found = run(tmp_path, "csv", path, encoding=encoding)
    assert found == [{"id": i, "late": i % 2, "city": "\u6771"} for i in range(300)]


def run_csv(tmp_path, lines, **options):
    """`id`, `late` and a column `x` of these fields."""
    rows = [f"{i},{i % 2},{x}" for i, x in enumerate(lines)]
    path = tmp_path / "data.csv"
    path.write_bytes("\n".join(["id,late,x", *rows]).encode("latin-1"))
    return [row.get("x") for row in run(tmp_path, "csv", path, OPEN, **options)]


def test_csv_truth_values_are_0_and_1(tmp_path):
    assert run_csv(tmp_path, ["True", "false", "", "1"]) == [1, 0, None, 1]
    assert run_csv(tmp_path, ["1", "0", "", "FALSE"]) == [1, 0, None, 0]


def test_text_after_truth_values_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 100)
    with pytest.raises(DataError, match="line 102: column 'x' holds 'maybe', no num"):
        run_csv(tmp_path, ["True", "False"] * 50 + ["maybe"])


@pytest.mark.parametrize(
    ("later", "wanted"),
    [("a, 'b'", "a, 'b'"), ("12", 12), (" 12", 12), ("1.5", 1.5), ("1e3", 1000.0)],
)
def test_a_csv_column_of_nothing_at_first(tmp_path, monkeypatch, later, wanted):
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 100)
    found = run_csv(tmp_path, [""] * 90 + [f'"{later}"'] * 2)
    assert found == [None] * 90 + [wanted] * 2


def test_csv_bytes_that_are_no_text_are_refused_by_encoding(tmp_path):
    with pytest.raises(
        DataError, match="holds bytes that are no utf8 .byte 0xfc.; name"
    ):
        run_csv(tmp_path, ["Zürich", "b"])
    assert run_csv(tmp_path, ["Zürich", "b"], encoding="latin-1") == ["Zürich", "b"]


def test_a_column_that_widens_in_a_later_part(tmp_path, monkeypatch):
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 1000)
    rows = [{"id": i, "late": i % 2, "x": float(i)} for i in range(300)]
    text = "".join(f"{r['id']},{r['late']},{r['id']}\n" for r in rows)
    path = tmp_path / "data.csv"
    path.write_text("id,late,x\n" + text.replace("290,0,290", "290,0,290.5"))
    found = run(tmp_path, "csv", path)
    assert found[290]["x"] == 290.5
    assert [row["x"] for row in found[:290]] == [row["x"] for row in rows[:290]]


def test_tfrecord_types_are_those_of_all_records(tmp_path, monkeypatch):
    name = "components.multi_env_example_gen.tfrecord_files._BATCH_ROWS"
    monkeypatch.setattr(name, 4)
    path = tmp_path / "data.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(12):
            example = tf.train.Example()
            feature = example.features.feature
            feature["id"].int64_list.value.append(i)
            feature["late"].int64_list.value.append(i % 2)
            if i < 8:
                feature["sparse"].SetInParent()
                feature["x"].int64_list.value.append(i)
            else:
                feature["sparse"].bytes_list.value.append(b"a")
                feature["x"].float_list.value.append(i + 0.5)
            writer.write(example.SerializeToString())
    found = run(tmp_path, "tfrecord", path, OPEN)
    assert [row.get("sparse") for row in found] == [None] * 8 + ["a"] * 4
    assert [row["x"] for row in found] == [*range(8), 8.5, 9.5, 10.5, 11.5]


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_partitions_of_hive_as_pandas_reads_them(tmp_path, frame, file_format):
    """Written by Arrow's own dataset writer, and read by it."""
    random = np.random.default_rng(1)
    frame = frame.assign(
        year=random.integers(2020, 2023, 400),
        site=random.choice(["a b", "Zürich", "x=y"], 400),
    )
    dataset.write_dataset(
        pa.Table.from_pandas(frame, preserve_index=False),
        tmp_path / "data",
        format=file_format,
        partitioning=["year", "site"],
        partitioning_flavor="hive",
    )
    wanted = dataset.dataset(
        tmp_path / "data", format=file_format, partitioning="hive"
    ).to_table()
    assert_rows(
        run(tmp_path, file_format, tmp_path / "data"),
        wanted.to_pandas().replace({"": np.nan}).sort_values("id"),
    )


def test_a_partition_that_the_files_have_too(tmp_path, frame):
    (tmp_path / "data" / "city=Bonn").mkdir(parents=True)
    write_csv(frame, tmp_path / "data" / "city=Bonn" / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv has two columns named 'city'"):
        run(tmp_path, "csv", tmp_path / "data")


@pytest.mark.parametrize("file_format", ["jsonl", "tfrecord"])
def test_a_column_that_only_later_rows_have(tmp_path, monkeypatch, file_format):
    module = "components.multi_env_example_gen"
    monkeypatch.setattr(f"{module}.json_files._BLOCK", 500)
    monkeypatch.setattr(f"{module}.tfrecord_files._BATCH_ROWS", 50)
    rows = [{"id": i, "late": i % 2} for i in range(300)]
    rows[290] |= {"x": 2.5, "y": "a"}
    path = tmp_path / "data"
    if file_format == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in rows:
                example = tf.train.Example()
                for name, value in row.items():
                    feature = example.features.feature[name]
                    if isinstance(value, str):
                        feature.bytes_list.value.append(value.encode())
                    elif isinstance(value, float):
                        feature.float_list.value.append(value)
                    else:
                        feature.int64_list.value.append(value)
                writer.write(example.SerializeToString())
    assert run(tmp_path, file_format, path) == rows
    write_csv(pd.DataFrame(rows[:200])[["id", "late"]], tmp_path / "b.csv")
    entries = [
        {"environment": name, "format": kind, "held_out": False}
        | {"patterns": [str(tmp_path / file)]}
        for name, kind, file in (("a", file_format, "data"), ("b", "csv", "b.csv"))
    ]
    with pytest.raises(DataError, match=r"'x' comes in later rows.*b\.csv has no such"):
        run_all(tmp_path, entries)
    spec = shards.Spec({"name": "late"}, 0.5, (), (), optional=("x", "y"))
    assert len(run_all(tmp_path, entries, spec)) == 500
