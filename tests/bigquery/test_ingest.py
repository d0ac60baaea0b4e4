"""Rows of a query are those of the same table in Parquet, whatever their order."""

import datetime
import random
from decimal import Decimal

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import ingest, query_files, shards, splitting
from components.multi_env_example_gen.naming import Naming
from components.source_manifest import listing

QUERY = "SELECT * FROM d.flights"
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SPEC = shards.Spec({"name": "late"}, 0.5, (), ())
UTC = datetime.timezone.utc
TYPES = {
    "late": ("INTEGER", pa.int64()),
    "number": ("INTEGER", pa.int64()),
    "share": ("FLOAT", pa.float64()),
    "price": ("NUMERIC", pa.decimal128(38, 9)),
    "big": ("BIGNUMERIC", pa.decimal256(76, 38)),
    "full": ("BOOLEAN", pa.bool_()),
    "city": ("STRING", pa.string()),
    "code": ("BYTES", pa.binary()),
    "day": ("DATE", pa.date32()),
    "clock": ("TIME", pa.time64("us")),
    "local": ("DATETIME", pa.timestamp("us")),
    "instant": ("TIMESTAMP", pa.timestamp("us", tz="UTC")),
}
COLUMNS = [f"{name} {of}" for name, (of, _) in TYPES.items()]
COLUMNS += [f"many_{name} {of}[]" for name, (of, _) in TYPES.items() if name != "late"]


def one(name, i, draw):
    """A value of a column."""
    moment = datetime.datetime(1969, 12, 31, 23, 0, 0) + datetime.timedelta(
        days=draw.randrange(40_000), microseconds=draw.choice([0, 1, 500_000, 123_456])
    )
    return {
        "late": i % 2,
        "number": draw.choice([0, -1, 2**63 - 1, -(2**63), 7]),
        "share": draw.choice([0.1, -0.0, 1e-300, 3.5, float("nan")]),
        "price": Decimal(draw.randrange(-(10**12), 10**12)).scaleb(-9),
        "big": Decimal(draw.randrange(-(10**12), 10**12)).scaleb(-11),
        "full": draw.random() < 0.5,
        "city": draw.choice(["Zürich", "", 'a "b"\n', "\U0001f600"]),
        "code": draw.choice([b"", b"\x00\xff", b"abc"]),
        "day": moment.date(),
        "clock": moment.time(),
        "local": moment,
        "instant": moment.replace(tzinfo=UTC),
    }[name]


def table(count=120, seed=0):
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        row = {
            name: None if name != "late" and draw.random() < 0.2 else one(name, i, draw)
            for name in TYPES
        }
        for name in TYPES:
            if name != "late":
                values = (one(name, i, draw) for _ in range(draw.randrange(3)))
                row[f"many_{name}"] = [v for v in values if v == v]
        rows.append(row)
    return [*rows, *rows[:20]]  # some stand there twice


def as_avro(rows):
    """As BigQuery exports: a DATETIME is text."""

    def plain(name, value):
        if name.endswith("local") and value is not None:
            if isinstance(value, list):
                return [one.isoformat() for one in value]
            return value.isoformat()
        return value

    return [{name: plain(name, v) for name, v in row.items()} for row in rows]


def write_parquet(rows, path):
    arrays = {}
    for name, (_, of) in TYPES.items():
        arrays[name] = pa.array([row[name] for row in rows], of)
        if name != "late":
            many = [row[f"many_{name}"] for row in rows]
            arrays[f"many_{name}"] = pa.array(many, pa.list_(of))
    pq.write_table(pa.table(arrays), path)


def run(folder, *sources, spec=SPEC):
    files = listing.from_json(listing.to_json(listing.build_manifest(list(sources))))
    out = str(folder)
    counts = ingest.ingest(files, spec, out, lambda: beam.Pipeline(argv=[RUNNER]))
    assert {p.name for p in folder.iterdir()} == {
        f"Split-{s}" for s in splitting.SPLITS
    }
    return counts


def examples(folder, split):
    return sorted(
        record
        for path in tf.io.gfile.glob(f"{folder}/Split-{split}/*")
        for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator()
    )


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*.gz")
    }


@pytest.fixture
def rows(service):
    rows = table()
    service.results[QUERY] = service.make(COLUMNS, as_avro(rows))
    return rows


def test_the_rows_are_those_of_parquet(tmp_path, service, source, rows):
    write_parquet(rows, tmp_path / "same.parquet")
    file = {**source, "format": "parquet", "options": {}}
    file["patterns"] = [str(tmp_path / "same.parquet")]
    ours = run(tmp_path / "ours", source)
    theirs = run(tmp_path / "theirs", file)
    assert ours == theirs
    for split in ("train", "eval"):
        found = examples(tmp_path / "ours", split)
        assert found == examples(tmp_path / "theirs", split)
        assert len(found) > 40
    assert len(set(examples(tmp_path / "ours", "train"))) < len(
        examples(tmp_path / "ours", "train")
    )
    assert service.asked.count("query") == 1
    assert not service.datasets and not service.exported()


def test_any_order_gives_the_same_bytes(tmp_path, service, source, rows, monkeypatch):
    monkeypatch.setattr(query_files, "BUCKET", 10_000)
    run(tmp_path / "first", source)
    service.order = 1
    run(tmp_path / "again", source)
    first = content(tmp_path / "first")
    assert first == content(tmp_path / "again")
    assert len(first) > 6  # of several buckets


def test_beside_files_and_in_several_queries(tmp_path, service, source, rows):
    other = {**source, "environment": "south", "held_out": True}
    text = "SELECT * FROM d.south"
    other["options"] = {**source["options"], "query": text}
    other["patterns"] = [f"bigquery: {text}"]
    service.results[text] = service.make(COLUMNS, as_avro(table(50, seed=1)))
    write_parquet(table(60, seed=2), tmp_path / "more.parquet")
    file = {**source, "format": "parquet", "options": {}}
    file["patterns"] = [str(tmp_path / "more.parquet")]
    counts = run(tmp_path / "out", file, other, source)["environments"]
    assert counts["south"]["splits"] == {"ood": {"examples": 70, "positives": 35}}
    north = counts["north"]["splits"]
    assert north["train"]["examples"] + north["eval"]["examples"] == 220


def test_a_column_tells_the_environment(tmp_path, service, source, rows):
    naming = Naming("day", {}, (), "year")
    source["environment"] = None
    source["options"] = {**source["options"]}
    draw = random.Random(0)
    for row in service.results[QUERY].rows:
        row["day"] = datetime.date(draw.choice([2023, 2024]), 1, 1)
    spec = shards.Spec({"name": "late"}, 0.5, (), (), naming=naming)
    from components.multi_env_example_gen import environments

    files = listing.build_manifest([source])
    assert environments.names_in(files, naming, "refuse") == ("2023", "2024")
    assert set(run(tmp_path / "out", source, spec=spec)["environments"]) == {
        "2023",
        "2024",
    }


def test_a_query_without_rows(tmp_path, service, source):
    service.results[QUERY] = service.make(COLUMNS, [])
    with pytest.raises(DataError, match="^environment 'north' has no rows"):
        run(tmp_path / "out", source)


def test_a_row_that_cannot_be_held(tmp_path, service, source, rows):
    bad = {**service.results[QUERY].rows[0], "share": 1e300}
    service.results[QUERY].rows.append(bad)
    with pytest.raises(DataError) as error:
        run(tmp_path / "out", source)
    assert str(error.value).startswith(
        f"bigquery: {QUERY}: column 'share' holds 1e+300, which no tf.Example can"
    )
    spec = shards.Spec({"name": "late"}, 0.5, (), (), on_bad_row="drop")
    counts = run(tmp_path / "out", source, spec=spec)
    assert counts["bad_rows"] == {
        f"bigquery: {QUERY}": {"rows": 1, "unit": "row", "first": []}
    }


def test_a_query_that_fails_when_it_runs(tmp_path, service, source, rows):
    service.results[QUERY].fails = "division by zero: 1 / 0"
    with pytest.raises(DataError) as error:
        run(tmp_path / "out", source)
    text = str(error.value)
    assert "\n" not in text and len(text) < 300
    assert "SELECT * FROM d.flights cannot be read: division by zero: 1 / 0;" in text


def test_a_table_that_changes_while_it_is_read(tmp_path, service, source, rows):
    extract = service._extract

    def changing(job):
        extract(job)
        service.tables["p.d.flights"]["lastModifiedTime"] = "1700000009000"

    service._extract = changing
    with pytest.raises(DataError, match="has changed since the sources were listed"):
        run(tmp_path / "out", source)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_nothing_of_a_broken_read_is_believed(tmp_path, service, source, rows):
    run(tmp_path / "whole", source)
    left = tmp_path / "out" / ".queries" / "query-000" / "00001-of-00002.parquet"
    left.parent.mkdir(parents=True)
    write_parquet(table(30, seed=3), left)
    counts = run(tmp_path / "out", source)
    assert counts["rows"] == len(rows)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_failure_of_our_own_is_none_of_the_data(tmp_path, source, rows, monkeypatch):
    monkeypatch.setattr(query_files, "_buckets", lambda size: 1 // 0)
    with pytest.raises(Exception, match="ZeroDivision|division") as error:
        run(tmp_path / "out", source)
    assert not isinstance(error.value, DataError)
    assert not (tmp_path / "out" / ".queries").exists()


def test_a_bucket_that_cannot_be_written(tmp_path, service, source, rows):
    def denied(job):
        raise service.refuse(
            403, "Access Denied: Permission denied while writing data.", "accessDenied"
        )

    service._extract = denied
    with pytest.raises(DataError) as error:
        run(tmp_path / "out", source)
    text = str(error.value)
    assert "Access Denied: Permission denied while writing data;" in text
    assert "\n" not in text and len(text) < 300


def test_another_project_of_beam(tmp_path, service, source, rows):
    files = listing.build_manifest([source])
    options = [RUNNER, "--project=other"]
    with pytest.raises(DataError) as error:
        ingest.ingest(files, SPEC, str(tmp_path), lambda: beam.Pipeline(argv=options))
    assert str(error.value) == (
        f"bigquery: {QUERY} is asked in 'p', but Beam has --project=other; name the"
        " same project"
    )
    assert "query" not in service.asked


def test_an_interrupted_read_leaves_nothing(tmp_path, source, rows):
    class Interrupted(beam.Pipeline):
        def __exit__(self, *error):
            super().__exit__(*error)
            raise KeyboardInterrupt

    files = listing.build_manifest([source])
    out = str(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        ingest.ingest(files, SPEC, out, lambda: Interrupted(argv=[RUNNER]))
    assert not list((tmp_path / "out").rglob("*"))
