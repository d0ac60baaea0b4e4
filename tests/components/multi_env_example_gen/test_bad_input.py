"""What companies' files have in them: each a sentence, or dropped, counted and told."""

import builtins
import gzip
import json
import os
import pathlib
import subprocess
import sys

import apache_beam as beam
import fastavro
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import bad_rows, csv_rows, ingest, shards
from components.multi_env_example_gen.naming import Naming
from components.source_manifest import listing

REPOSITORY = pathlib.Path(__file__).parents[3]
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
REFUSING = shards.Spec({"name": "late"}, 0.5, (), ())
DROPPING = shards.Spec({"name": "late"}, 0.5, (), (), on_bad_row="drop")
HEADER = "id,late,x,city\n"


def good(ids, x="1.5"):
    return "".join(f"{i},{i % 2},{x},Bonn\n" for i in ids)


def entry(path, file_format="csv", **options):
    found = {"environment": "only", "format": file_format, "held_out": False}
    return found | {"patterns": [str(path)], "options": options}


def run(tmp_path, spec, *entries):
    files = listing.build_manifest(list(entries))
    return ingest_files(tmp_path, spec, files)


def ingest_files(tmp_path, spec, files):
    folder = str(tmp_path / "out")
    counts = ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[RUNNER]))
    return read(folder), counts


def read(folder):
    rows = {}
    for path in tf.io.gfile.glob(f"{folder}/Split-*/*"):
        for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            row = {
                name: list(getattr(feature, feature.WhichOneof("kind")).value)
                for name, feature in features.items()
                if feature.WhichOneof("kind")
            }
            rows[row["id"][0]] = row
    return rows


def write(path, text, encoding="utf8"):
    path.write_text(text, encoding=encoding, newline="")
    return path


@pytest.fixture
def small(monkeypatch):
    """Blocks of some rows, and ranges of some blocks."""
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 300)
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 1000)
    monkeypatch.setattr("components.multi_env_example_gen.json_files._BLOCK", 300)


BAD = {
    "too few": ("7,1,1.5", "has 3 fields where 4 are expected"),
    "one": ("7", "has 1 field where 4 are expected"),
    "too many": ("7,1,1.5,Bonn,", "has 5 fields where 4 are expected"),
    "no number": ("7,1,soon,Bonn", "column 'x' holds 'soon', no number"),
    "infinity": ("7,1,-inf,Bonn", "column 'x' holds '-inf', no number"),
    "past 32 bits": ("7,1,1e39,Bonn", "column 'x' holds '1e39', no number"),
    "no label": ("7,maybe,1.5,Bonn", "column 'late' holds 'maybe', no number"),
}


@pytest.mark.parametrize(("row", "said"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_bad_row_is_refused_by_its_line(tmp_path, small, row, said, suffix):
    city = '"two\nlines, ""quoted"""'
    text = f"{HEADER}{good(range(100))}100,0,1.5,{city}\n{row}\n{good(range(101, 140))}"
    path = tmp_path / f"data.csv{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    with pytest.raises(DataError) as error:
        run(tmp_path, REFUSING, entry(path))
    assert f"{path}, line 104: {said}; " in str(error.value)
    assert "data.on_bad_row: drop" in str(error.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bad_rows_are_dropped_and_counted(tmp_path, small, suffix):
    """As pandas skips lines of too many fields, and rows whose cell is no number."""
    bad = [row for row, _ in BAD.values()]
    text = HEADER + "".join(
        good([i]) + (f"{bad[i // 20]}\n" if i % 20 == 19 else "") for i in range(140)
    )
    path = tmp_path / f"data.csv{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    found, counts = run(tmp_path, DROPPING, entry(path))
    frame = pd.read_csv(path, on_bad_lines="skip").dropna()
    number = pd.to_numeric(frame.x, errors="coerce")
    label = pd.to_numeric(frame.late, errors="coerce")
    frame = frame[(number.abs() < 3e38) & label.notna()]
    assert sorted(found) == sorted(frame.id.astype(int)) == list(range(140))
    assert counts["rows"] == 140
    told = {"rows": 7, "unit": "line", "first": [22, 43, 64]}
    assert counts["bad_rows"] == {str(path): told}
    assert bad_rows.told(counts["bad_rows"]) == [f"7 of {path} (lines 22, 43, 64, ...)"]


def test_a_bad_row_at_the_beginning_does_not_make_a_column_text(tmp_path):
    spec = shards.Spec({"name": "late"}, 0.5, (), (), numbers=("x",), on_bad_row="drop")
    path = write(tmp_path / "data.csv", f"{HEADER}7,1,soon,Bonn\n{good(range(60))}")
    found, counts = run(tmp_path, spec, entry(path))
    assert found[3]["x"] == [1.5]
    assert counts["bad_rows"][str(path)]["first"] == [2]


def test_text_is_text_where_most_of_it_is(tmp_path):
    spec = shards.Spec({"name": "late"}, 0.5, (), (), numbers=("x",))
    path = write(tmp_path / "data.csv", HEADER + good(range(60), x="warm"))
    found, _ = run(tmp_path, spec, entry(path))
    assert found[3]["x"] == [b"warm"]


JSON_BAD = {
    "no JSON": ('{"id": 7, "late"', "is no JSON"),
    "no object": ("[7]", "is JSON, but no object"),
    "no number": ('{"id": 7, "late": 0, "x": "soon"}', "'x' is \"soon\", no number"),
    "infinity": ('{"id": 7, "late": 0, "x": Infinity}', "'x' is Infinity, no number"),
    "no text": ('{"id": 7, "late": 0, "city": 3}', "'city' is 3, no text"),
}


@pytest.mark.parametrize(("line", "said"), JSON_BAD.values(), ids=JSON_BAD)
def test_bad_json_lines(tmp_path, small, line, said):
    rows = [
        json.dumps({"id": i, "late": i % 2, "x": 1.5, "city": "Bonn"})
        for i in range(60)
    ]
    text = "\n".join([*rows[:40], "", line, *rows[40:]])
    path = write(tmp_path / "data.jsonl", text)
    with pytest.raises(DataError) as error:
        run(tmp_path, REFUSING, entry(path, "jsonl"))
    assert f"{path}, line 42: {said}" in str(error.value)
    found, counts = run(tmp_path, DROPPING, entry(path, "jsonl"))
    assert sorted(found) == list(range(60))
    assert counts["bad_rows"][str(path)] == {"rows": 1, "unit": "line", "first": [42]}


def test_nan_in_json_is_missing(tmp_path):
    rows = [{"id": i, "late": i % 2, "x": 1.5} for i in range(40)]
    rows[7]["x"] = np.nan
    path = write(tmp_path / "data.jsonl", "\n".join(map(json.dumps, rows)))
    found, _ = run(tmp_path, REFUSING, entry(path, "jsonl"))
    assert "x" not in found[7] and found[8]["x"] == [1.5]


def write_rows(path, file_format, frame):
    """Numbers as they are, NaN and infinity too."""
    if file_format == "parquet":
        pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=16)
    elif file_format == "avro":
        types = {"id": "long", "late": "double", "x": "double"}
        fields = [{"name": name, "type": kind} for name, kind in types.items()]
        with open(path, "wb") as file:
            schema = {"type": "record", "name": "r", "fields": fields}
            fastavro.writer(file, schema, frame.to_dict("records"))
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in frame.to_dict("records"):
                example = tf.train.Example()
                features = example.features.feature
                features["id"].int64_list.value.append(int(row["id"]))
                features["late"].float_list.value.append(row["late"])
                features["x"].float_list.value.append(row["x"])
                writer.write(example.SerializeToString())
    return path


@pytest.mark.parametrize("file_format", ["parquet", "avro", "tfrecord"])
@pytest.mark.parametrize("column", ["x", "late"])
def test_nan_is_missing_and_infinity_a_bad_row(tmp_path, file_format, column):
    frame = pd.DataFrame({"id": range(60)})
    frame["late"], frame["x"] = (frame.id % 2).astype(float), 1.5
    frame.loc[7, column], frame.loc[[33, 50], column] = np.nan, [np.inf, -np.inf]
    if file_format == "parquet":  # NaN itself, where pandas would write a null
        table = pa.table({name: frame[name].to_numpy() for name in frame})
        pq.write_table(table, tmp_path / "data", row_group_size=16)
        assert pq.read_table(tmp_path / "data").column(column).null_count == 0
    else:
        write_rows(tmp_path / "data", file_format, frame)
    with pytest.raises(DataError, match=rf"row 34: column '{column}' holds \[?inf"):
        run(tmp_path, REFUSING, entry(tmp_path / "data", file_format))
    found, counts = run(tmp_path, DROPPING, entry(tmp_path / "data", file_format))
    told = {"rows": 2, "unit": "row", "first": [34, 51]}
    assert counts["bad_rows"] == {str(tmp_path / "data"): told}
    if column == "x":
        assert len(found) == 58 and "x" not in found[7]
    else:
        assert len(found) == 57 and 7 not in found
        assert counts["environments"]["only"]["dropped"]["no_label"] == 1


@pytest.mark.parametrize("above", [None, 15.0])
def test_nan_and_infinity_in_the_label_of_a_csv(tmp_path, above):
    label = {"name": "late"}
    if above is not None:
        label = {"name": "made", "from": "late", "above": above}
    text = HEADER + "".join(f"{i},{i % 2 * 20},1.5,Bonn\n" for i in range(40))
    if above is None:
        text = HEADER + good(range(40))
    path = write(tmp_path / "data.csv", f"{text}40,NaN,1.5,Bonn\n41,inf,1.5,Bonn\n")
    spec = shards.Spec(label, 0.5, (), (), on_bad_row="drop")
    found, counts = run(tmp_path, spec, entry(path))
    assert sorted(found) == list(range(40))
    assert counts["environments"]["only"]["dropped"]["no_label"] == 1
    assert counts["bad_rows"][str(path)]["first"] == [43]


def test_label_values_beyond_the_task(tmp_path):
    path = write(tmp_path / "data.csv", f"{HEADER}{good(range(40))}40,2,1.5,Bonn\n")
    with pytest.raises(DataError, match=r"'late' of .*data.csv holds 2, and a binary"):
        run(tmp_path, DROPPING, entry(path))


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n"])
@pytest.mark.parametrize("spec", [REFUSING, DROPPING])
def test_an_empty_file(tmp_path, content, spec):
    (tmp_path / "data.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.csv cannot be read as csv: it is emp"):
        run(tmp_path, spec, entry(tmp_path / "data.csv"))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_header_alone(tmp_path, end):
    path = write(tmp_path / "data.csv", HEADER.strip() + end)
    with pytest.raises(DataError, match="environment 'only' has no rows"):
        run(tmp_path, REFUSING, entry(path))


def test_a_header_alone_beside_rows(tmp_path):
    write(tmp_path / "a.csv", HEADER)
    write(tmp_path / "b.csv", HEADER + good(range(40)))
    assert len(run(tmp_path, REFUSING, entry(tmp_path / "*.csv"))[0]) == 40


def test_mark_and_mixed_line_breaks(tmp_path, small):
    breaks = ["\n", "\r\n", "\r"]
    lines = [HEADER.strip(), *good(range(90)).splitlines()]
    text = "".join(line + breaks[i % 3] for i, line in enumerate(lines))
    path = write(tmp_path / "data.csv", "\ufeff" + text)
    found, _ = run(tmp_path, REFUSING, entry(path))
    assert sorted(found) == list(range(90))
    assert all(row["city"] == [b"Bonn"] for row in found.values())


@pytest.mark.parametrize("line_break", ["\r", "\r\n"])
def test_line_breaks_of_other_systems(tmp_path, small, line_break):
    text = (HEADER + good(range(90))).replace("\n", line_break)
    found, _ = run(tmp_path, REFUSING, entry(write(tmp_path / "data.csv", text)))
    assert sorted(found) == list(range(90))


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_a_field_of_ten_megabytes(tmp_path, file_format):
    rows = [{"id": i, "late": i % 2, "city": "Bonn"} for i in range(40)]
    rows[20]["city"] = "ab,\n" * (10 * 2**20 // 4)
    path = tmp_path / "data"
    if file_format == "csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif file_format == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pd.DataFrame(rows).to_parquet(path)
    found, _ = run(tmp_path, REFUSING, entry(path, file_format))
    assert len(found) == 40
    assert found[20]["city"] == [rows[20]["city"].encode()]


def test_a_quote_that_is_never_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "components.multi_env_example_gen.csv_blocks._LARGEST_ROW", 1000
    )
    monkeypatch.setattr("components.multi_env_example_gen.csv_blocks.BLOCK", 300)
    text = f'{HEADER}{good(range(20))}20,0,1.5,"Bo{good(range(21, 200))}'
    path = write(tmp_path / "data.csv", text)
    with pytest.raises(DataError, match=r"data\.csv.*a quote may never be closed"):
        run(tmp_path, REFUSING, entry(path))


@pytest.mark.parametrize("change", ["vanishes", "changes", "changes while read"])
def test_a_file_that_is_not_what_was_listed(tmp_path, monkeypatch, change):
    path = write(tmp_path / "data.csv", HEADER + good(range(40)))
    files = listing.build_manifest([entry(path)])
    if change == "vanishes":
        path.unlink()
    elif change == "changes":
        write(path, HEADER + good(range(39)) + "99,1,1.5,Bonn\n")
    else:
        read_batches = shards.batches

        def change_meanwhile(*arguments):
            yield from read_batches(*arguments)
            write(path, HEADER + good(range(41)))

        monkeypatch.setattr(shards, "batches", change_meanwhile)
    said = "cannot be found" if change == "vanishes" else "has changed since"
    with pytest.raises(DataError, match=rf"data\.csv .*{said}.*run again"):
        ingest_files(tmp_path, REFUSING, files)


def test_a_file_that_was_only_touched_is_the_same(tmp_path):
    path = write(tmp_path / "data.csv", HEADER + good(range(40)))
    files = listing.build_manifest([entry(path)])
    os.utime(path, ns=(1, 1))
    assert len(ingest_files(tmp_path, REFUSING, files)[0]) == 40
    now = listing.build_manifest([entry(path)])
    assert listing.fingerprint(now) == listing.fingerprint(files)


def test_no_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "data.csv", HEADER + good(range(40)))
    opened = builtins.open

    def denied(name, *arguments, **more):
        if str(name) == str(path):  # whoever runs this may be allowed everything
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, *arguments, **more)

    monkeypatch.setattr(builtins, "open", denied)
    with pytest.raises(DataError, match=r"'only': .*data\.csv cannot be read \(Perm"):
        listing.build_manifest([entry(path)])


_FULL = """
import resource, signal, sys, pathlib
sys.path.insert(0, {repository!r})
import apache_beam as beam
from components.multi_env_example_gen import ingest, shards
from components.source_manifest import listing
entry = {entry!r}
files = listing.build_manifest([entry])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
spec = shards.Spec({{"name": "late"}}, 0.5, (), ())
try:
    ingest.ingest(files, spec, {out!r}, lambda: beam.Pipeline(argv=[{runner!r}]))
except ingest.DataError as error:
    print(error)
"""


def test_an_output_folder_that_is_full(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(5000), "x": random.normal(size=5000)})
    frame["late"] = frame.id % 2
    frame.to_csv(tmp_path / "data.csv", index=False)
    script = _FULL.format(
        repository=str(REPOSITORY),
        entry=entry(tmp_path / "data.csv"),
        out=str(tmp_path / "out"),
        runner=RUNNER,
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert "data_tfrecord-00000-of-00001.gz cannot be written" in done.stdout, (
        done.stderr[-2000:]
    )
    assert "free space there" in done.stdout


@pytest.mark.parametrize(
    "names",
    [
        ["a/b", "../../etc", "/"],
        [".", "..", " "],
        ["🌡", "Zürich", "a b"],
        ["x" * 10_000, "y" * 10_000, "null"],
    ],
)
def test_names_of_environments_are_no_paths(tmp_path, names):
    rows = [[i, i % 2, names[i // 2 % 3]] for i in range(120)]
    pd.DataFrame(rows, columns=["id", "late", "site"]).to_json(
        tmp_path / "data.jsonl", orient="records", lines=True
    )
    spec = shards.Spec({"name": "late"}, 0.5, (), (), naming=Naming("site"))
    found, counts = run(
        tmp_path, spec, entry(tmp_path / "data.jsonl", "jsonl") | {"environment": None}
    )
    assert {row["environment"][0].decode() for row in found.values()} == set(names)
    assert set(counts["environments"]) == set(names)
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")} - {"data.jsonl"}
    shard = "data_tfrecord-00000-of-00001.gz"
    splits = ("train", "eval", "ood")
    wanted = {"out", *(f"out/Split-{split}" for split in splits)}
    assert made == wanted | {f"out/Split-{s}/{shard}" for s in ("train", "eval")}


def test_an_interrupted_run_leaves_nothing_that_the_next_believes(
    tmp_path, small, monkeypatch
):
    path = write(tmp_path / "data.csv", HEADER + good(range(200)))
    wanted, _ = run(tmp_path, REFUSING, entry(path))
    do = shards.run_task

    def interrupted(task, *arguments):
        if task.shard.startswith("data_tfrecord-00002"):
            raise KeyboardInterrupt
        return do(task, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "run_task", interrupted)
        with pytest.raises(BaseException, match="") as error:
            run(tmp_path, REFUSING, entry(path))
        assert "KeyboardInterrupt" in repr(error.value) + str(error.value)
    assert (tmp_path / "out" / "Split-train").exists()
    write(path, HEADER + good(range(150)))  # fewer ranges than before
    found, _ = run(tmp_path, REFUSING, entry(path))
    assert sorted(found) == list(range(150))
    assert {i: wanted[i] for i in found} == found


NUMBERS = "5 -5 007 0x1F 1.5 -.5 1. 1e5 1E+5 -0 12345678901234567890 true FALSE soon"
NUMBERS += " 1_0 1,5 -- 0b1 1e400 inf"


@pytest.mark.parametrize("text", NUMBERS.split())
def test_the_slow_way_reads_numbers_as_the_fast_one_does(tmp_path, text):
    """A bad row elsewhere changes nothing: Arrow's parser is the oracle."""
    rows = good(range(40), x=text).replace(",", ";")
    path = write(tmp_path / "fast.csv", HEADER.replace(",", ";") + rows)
    options = {"delimiter": ";"}
    try:
        fast, _ = run(tmp_path, DROPPING, entry(path, **options))
    except DataError:
        fast = None
    path = write(path, path.read_text() + "40;1\n")
    if fast is None:
        assert csv_rows.number(text) is None
        return
    slow, counts = run(tmp_path, DROPPING, entry(path, **options))
    assert slow == fast
    assert counts["bad_rows"][str(path)]["first"] == [42]
