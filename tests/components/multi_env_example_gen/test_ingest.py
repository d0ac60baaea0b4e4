"""From files in three formats to split examples, against a plain pandas reading."""

import gzip
import json
from collections import Counter

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import ingest, shards, splitting
from components.multi_env_example_gen.naming import Naming
from components.source_manifest import listing

LABEL = {"name": "late", "from": "delay", "above": 15}
SPEC = shards.Spec(LABEL, 0.3, ("day",), (("environment",), ("carrier",)))
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def flights(rows, seed):
    rng = np.random.default_rng(seed)
    delay = pd.Series(rng.integers(-20, 60, rows)).astype("Int64")
    delay[::17] = pd.NA
    temp = pd.Series(rng.normal(50, 10, rows).round(2))
    temp[::5] = np.nan
    return pd.DataFrame(
        {
            "day": rng.integers(1, 40, rows),
            "carrier": rng.choice(["UA", "B6", "AA"], rows),
            "delay": delay,
            "temp": temp,
        }
    )


def write_tfrecord(path, frame, compression="GZIP"):
    kinds = {"day": "int64_list", "delay": "int64_list", "temp": "float_list"}
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in frame.to_dict("records"):
            example = tf.train.Example()
            for name, value in row.items():
                if pd.isna(value):
                    continue
                kind = kinds.get(name, "bytes_list")
                value = value.encode() if isinstance(value, str) else value
                getattr(example.features.feature[name], kind).value.append(value)
            writer.write(example.SerializeToString())


@pytest.fixture
def frames(tmp_path):
    found = {"P": flights(900, 1), "C": flights(800, 2), "T": flights(700, 3)}
    pq.write_table(
        pa.Table.from_pandas(found["P"]), tmp_path / "p.parquet", row_group_size=200
    )
    found["C"][:300].to_csv(tmp_path / "c-1.csv.gz", index=False)
    found["C"][300:].to_csv(tmp_path / "c-2.csv", index=False)
    write_tfrecord(tmp_path / "t.tfrecord", found["T"])
    return found


def sources(tmp_path, held_out=("T",)):
    patterns = {"P": ("parquet", "p*"), "C": ("csv", "c-*"), "T": ("tfrecord", "t*")}
    return [
        {
            "environment": name,
            "format": file_format,
            "patterns": [str(tmp_path / pattern)],
            "held_out": name in held_out,
        }
        for name, (file_format, pattern) in patterns.items()
    ]


def run(tmp_path, spec=SPEC, entries=None, out="out"):
    files = listing.build_manifest(entries or sources(tmp_path))
    folder = str(tmp_path / out)
    counts = ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[RUNNER]))
    return folder, counts


def read(folder, split):
    rows = []
    for path in sorted(tf.io.gfile.glob(f"{folder}/Split-{split}/*")):
        for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            rows.append(
                {
                    name: getattr(value, value.WhichOneof("kind")).value[0]
                    for name, value in feature.items()
                    if value.WhichOneof("kind")
                }
            )
    return pd.DataFrame(rows)


def test_every_row_arrives_once_with_its_values(tmp_path, frames):
    folder, counts = run(tmp_path)
    got = pd.concat([read(folder, s) for s in splitting.SPLITS])
    got["environment"] = got.environment.str.decode("utf-8")
    for name, frame in frames.items():
        known = frame[frame.delay.notna()]
        mine = got[got.environment == name]
        entry = counts["environments"][name]
        dropped = entry["dropped"]
        assert dropped["no_label"] == frame.delay.isna().sum()
        assert len(mine) == len(known) - dropped["train_side_of_key"]
        np.testing.assert_array_equal(mine.late, (mine.delay > 15).astype(int))
        if name != "T":
            assert sorted(mine.delay) == sorted(known.delay)
            np.testing.assert_allclose(
                np.sort(mine.temp.dropna()),
                np.sort(known.temp.dropna()).astype(np.float32),
            )
            assert mine.temp.isna().sum() == known.temp.isna().sum()


def test_whole_keys_stay_on_one_side_and_held_out_keeps_the_eval_side(tmp_path, frames):
    folder, _ = run(tmp_path)
    days = {split: set(read(folder, split).day) for split in splitting.SPLITS}
    assert not days["train"] & days["eval"]
    assert not days["train"] & days["ood"]


def test_without_a_key_all_of_a_held_out_environment_is_kept(tmp_path, frames):
    spec = shards.Spec(LABEL, 0.3, (), ())
    _, counts = run(tmp_path, spec)
    entry = counts["environments"]["T"]
    assert entry["splits"]["ood"]["examples"] == frames["T"].delay.notna().sum()


def test_counts_are_those_of_the_examples(tmp_path, frames):
    folder, counts = run(tmp_path)
    for split in splitting.SPLITS:
        frame = read(folder, split)
        by_carrier = frame.carrier.str.decode("utf-8").value_counts().to_dict()
        found = counts["slices"][split]['["carrier"]']
        assert {value[0]: number for value, number in found} == by_carrier
        positives = sum(
            e["splits"][split]["positives"]
            for e in counts["environments"].values()
            if split in e["splits"]
        )
        assert positives == frame.late.sum()


def test_numbers_are_counted_by_their_buckets(tmp_path, frames):
    # An edge that is a value, and that float32 rounds down: 0.7 becomes 0.69999999.
    edge = frames["P"].temp.dropna().iloc[0]
    edges = (edge, edge + 10)
    slices = (("temp",), ("carrier", "temp"), ("day",))
    spec = shards.Spec(
        LABEL, 0.3, ("day",), slices, buckets={"temp": edges, "day": (10.5, 20)}
    )
    folder, counts = run(tmp_path, spec)
    low, high = (f"{e:g}" for e in edges)
    names = np.array([f"below {low}", f"{low} to {high}", f"{high} and above"])
    for split in splitting.SPLITS:
        frame = read(folder, split)
        days = np.digitize(frame.day, [10.5, 20])
        found = dict(map(_pair, counts["slices"][split]['["day"]']))
        assert found == {
            (name,): number
            for name, number in zip(
                ("below 10.5", "10.5 to 20", "20 and above"),
                np.bincount(days, minlength=3).tolist(),
                strict=True,
            )
        }
        frame = frame[frame.temp.notna()]
        temp = frame.temp.to_numpy(np.float32)
        bucket = names[np.digitize(temp, np.float32(edges))]
        carriers = frame.carrier.str.decode("utf-8")
        expected = Counter(zip(carriers, bucket, strict=True))
        assert expected == dict(
            map(_pair, counts["slices"][split]['["carrier", "temp"]'])
        )


def _pair(entry):
    return tuple(entry[0]), entry[1]


def test_buckets_of_text_are_refused(tmp_path, frames):
    spec = shards.Spec(LABEL, 0.3, ("day",), (("carrier",),), buckets={"carrier": (1,)})
    with pytest.raises(DataError, match="evaluate.buckets: column 'carrier' holds"):
        run(tmp_path, spec)


@pytest.mark.parametrize("by", [("day",), ()])
def test_adding_an_environment_moves_no_row_of_another(tmp_path, frames, by):
    spec = shards.Spec(LABEL, 0.3, by, ())
    folder, _ = run(tmp_path, spec)
    entries = sources(tmp_path)
    fewer, _ = run(tmp_path, spec, [entries[0], entries[2]], out="fewer")
    whole, part = read(folder, "train"), read(fewer, "train")
    whole = whole[whole.environment == b"P"]
    pd.testing.assert_frame_equal(
        whole.reset_index(drop=True), part.reset_index(drop=True), check_like=True
    )


def test_a_column_that_widens_after_the_first_block_is_read_again(tmp_path, frames):
    body = "".join(f"{i % 30 + 1},UA,{i % 50},{1}\n" for i in range(600_000))
    text = "day,carrier,delay,temp\n" + body + "3,UA,20,1.5\n"
    with gzip.open(tmp_path / "c-1.csv.gz", "wt", compresslevel=1) as file:
        file.write(text)
    for path in ("p.parquet", "t.tfrecord"):
        (tmp_path / path).unlink()
    entry = sources(tmp_path)[1]
    (tmp_path / "c-2.csv").unlink()
    _, counts = run(tmp_path, entries=[entry])
    assert counts["rows"] == 600_001


def test_environment_column(tmp_path):
    frame = flights(2000, 5)
    frame["origin"] = np.random.default_rng(0).choice(["A", "B", "H"], 2000)
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "all.parquet")
    entry = {
        "environment": None,
        "format": "parquet",
        "patterns": [str(tmp_path / "all.parquet")],
        "held_out": False,
    }
    spec = shards.Spec(
        LABEL, 0.3, ("day",), (("environment",),), Naming("origin"), ("H",)
    )
    _, counts = run(tmp_path, spec, [entry])
    found = counts["environments"]
    assert set(found) == {"A", "B", "H"}
    assert found["H"]["held_out"] and set(found["H"]["splits"]) == {"ood"}
    assert set(found["A"]["splits"]) == {"train", "eval"}


def broken(name):
    """Damages the sources in one way; returns what the sentence must say."""

    def truncate(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def one_class(path, frames):
        frame = frames["P"].assign(delay=1)
        pq.write_table(pa.Table.from_pandas(frame), path / "p.parquet")

    def text_column(path, frames):
        frames["P"].assign(temp="warm").to_parquet(path / "p.parquet")

    def no_column(path, frames):
        frames["P"].drop(columns="temp").to_parquet(path / "p.parquet")

    def no_label(path, frames):
        write_tfrecord(path / "t.tfrecord", frames["T"].drop(columns="delay"))

    def unlabelled(path, frames):
        frames["P"].assign(delay=pd.NA).astype({"delay": "Int64"}).to_parquet(
            path / "p.parquet"
        )

    def bad_number(path, frames):
        with (path / "c-2.csv").open("a") as file:
            file.write("3,UA,soon,1.0\n")

    def too_few(path, frames):
        with (path / "c-2.csv").open("a") as file:
            file.write("3,UA\n")

    def rows(path, frames):
        frames["P"][:0].to_parquet(path / "p.parquet")

    return {
        "truncated parquet": (
            lambda p, f: truncate(p / "p.parquet"),
            ["p.parquet", "parquet", "truncated"],
        ),
        "truncated gzip": (
            lambda p, f: truncate(p / "c-1.csv.gz"),
            ["c-1.csv.gz", "csv", "truncated"],
        ),
        "truncated tfrecord": (
            lambda p, f: truncate(p / "t.tfrecord"),
            ["t.tfrecord", "tfrecord", "truncated"],
        ),
        "empty csv": (
            lambda p, f: (p / "c-2.csv").write_text(""),
            ["c-2.csv", "csv", "empty"],
        ),
        "not a parquet": (
            lambda p, f: (p / "p.parquet").write_text("hello"),
            ["p.parquet", "another format"],
        ),
        "one class": (one_class, ["'P'", "one class only", "late = 0"]),
        "type differs": (text_column, ["'temp'", "text in", "numbers in", "'P'"]),
        "column missing": (no_column, ["'P'", "no column 'temp'"]),
        "label missing": (no_label, ["'delay'", "not in the data of T"]),
        "nothing labelled": (unlabelled, ["'P'", "no labelled rows"]),
        "number that is none": (bad_number, ["c-2.csv", "'delay'", "'soon'"]),
        "too few fields": (
            too_few,
            [
                "c-2.csv, line 502: has 2 fields where 4 are expected",
                "on_bad_row: drop",
            ],
        ),
        "no rows": (rows, ["'P'", "has no rows"]),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "truncated parquet",
        "truncated gzip",
        "truncated tfrecord",
        "empty csv",
        "not a parquet",
        "one class",
        "type differs",
        "column missing",
        "label missing",
        "nothing labelled",
        "number that is none",
        "too few fields",
        "no rows",
    ],
)
def test_bad_data_gets_a_sentence(tmp_path, frames, name):
    damage, words = broken(name)
    damage(tmp_path, frames)
    with pytest.raises(DataError) as error:
        run(tmp_path)
    sentence = str(error.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence, sentence


def test_held_out_environment_without_examples(tmp_path, frames):
    one_day = frames["T"].assign(day=0)
    hashes = splitting.key_hashes([pa.array(range(100))])
    train_day = int(np.flatnonzero(~splitting.on_eval_side(hashes, 0.3))[0])
    write_tfrecord(tmp_path / "t.tfrecord", one_day.assign(day=train_day))
    with pytest.raises(DataError, match="held-out environment 'T' has no examples"):
        run(tmp_path)


def test_label_column_must_be_zero_or_one(tmp_path, frames):
    spec = shards.Spec({"name": "delay"}, 0.3, ("day",), ())
    with pytest.raises(DataError, match="a binary label is 0 or 1"):
        run(tmp_path, spec)


def test_counts_are_json(tmp_path, frames):
    _, counts = run(tmp_path)
    assert json.loads(json.dumps(counts)) == counts
