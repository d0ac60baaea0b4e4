"""The Examples equal those of TFX's own components, on a sample of the demo's flights.

Both read the same file. Shared is every feature of the file, of every row; what ours
stamps besides (the environment and the label) is left out. Where stock differs:

* CsvExampleGen and the Parquet executor split by a hash of their own, so splits are
  put together again before they are compared.
* The Parquet executor takes every value that is false in Python for a missing one: 0,
  0.0 and "" become features without a value. They stay values in ours; of these cells
  the test holds that stock has nothing where ours has the value, and no other cell.
* CsvExampleGen takes only an empty field for a missing value, and "NA" and "true" for
  text, which are missing and 1 in ours: the flights have neither.
* A missing value is in all of them a feature without a kind, or an empty list.
"""

import collections
import csv
import gzip
import itertools
import pathlib

import apache_beam as beam
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.components.example_gen.csv_example_gen import executor as csv_executor
from tfx.components.example_gen.custom_executors import parquet_executor
from tfx.components.example_gen.import_example_gen import executor as import_executor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.multi_env_example_gen import ingest, shards
from components.source_manifest import listing

DATA = pathlib.Path(__file__).resolve().parents[3] / "examples" / "flights" / "data"
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
STAMPED = ("environment", "late")
COLUMNS, ROWS = 30, 2000


def write_csv(path):
    """Rows of JFK, every 13th of a quarter."""
    with gzip.open(DATA / "jfk-2013q1.csv.gz", "rt", newline="") as file:
        lines = list(csv.reader(file))
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([lines[0], *lines[1::13]][: ROWS + 1])


def write_parquet(path):
    """Rows of EWR, every 60th of the year, in several row groups."""
    table = pq.read_table(DATA / "EWR.parquet")
    pq.write_table(table.take(list(range(0, 60 * ROWS, 60))), path, row_group_size=1000)


def write_tfrecord(path):
    """The first rows of LGA, as they stand."""
    records = tf.data.TFRecordDataset(str(DATA / "lga-2013h1.tfrecord.gz"), "GZIP")
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in itertools.islice(records.as_numpy_iterator(), ROWS):
            writer.write(record)


def stock(executor, path, folder):
    """Runs the stock executor in this process; the Examples of both its splits."""
    config = example_gen_pb2.SplitConfig
    splits = [config.Split(name=n, hash_buckets=b) for n, b in (("a", 2), ("b", 1))]
    source = example_gen_pb2.Input.Split(name="all", pattern=path.name)
    output = example_gen_pb2.Output(split_config=config(splits=splits))
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    context = executor.Context(
        beam_pipeline_args=[RUNNER], tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    executor(context).Do(
        {},
        {"examples": [examples]},
        {
            "input_base": str(path.parent),
            "input_config": proto_utils.proto_to_json(
                example_gen_pb2.Input(splits=[source])
            ),
            "output_config": proto_utils.proto_to_json(output),
            "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
            "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
        },
    )
    return read(folder)


def ours(file_format, path, folder):
    """Runs our ingestion; the Examples of all splits."""
    entry = {"environment": "all", "format": file_format, "patterns": [str(path)]}
    files = listing.build_manifest([entry | {"held_out": False}])
    label = {"name": "late", "from": "arr_delay", "above": 15}
    spec = shards.Spec(label, 0.3, ("month", "day"), ())
    ingest.ingest(files, spec, str(folder), lambda: beam.Pipeline(argv=[RUNNER]))
    return read(folder)


def read(folder):
    """Each row's features: name -> (kind, values), or None where it has no value."""
    rows = []
    for path in sorted(map(str, folder.glob("Split-*/*.gz"))):
        for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            rows.append(
                {
                    name: _values(feature)
                    for name, feature in features.items()
                    if name not in STAMPED
                }
            )
    return rows


def _values(feature):
    kind = feature.WhichOneof("kind")
    values = tuple(getattr(feature, kind).value) if kind else ()
    return (kind, values) if values else None


def labelled(rows):
    """Stock's rows that ours keeps: a row without a label is dropped and counted."""
    return [row for row in rows if row["arr_delay"] is not None]


def assert_equal(found, wanted):
    """The same rows, each as often, whatever their order."""
    assert len(found) == len(wanted)
    assert all(len(row) == COLUMNS for row in [*found, *wanted])
    for name in sorted(found[0]):
        mine, theirs = ([row[name] for row in rows] for rows in (found, wanted))
        assert collections.Counter(mine) == collections.Counter(theirs), name
    mine, theirs = (
        collections.Counter(tuple(sorted(row.items())) for row in rows)
        for rows in (found, wanted)
    )
    assert mine == theirs


def test_csv_equals_csv_example_gen(tmp_path):
    path = tmp_path / "data.csv"
    write_csv(path)
    theirs = stock(csv_executor.Executor, path, tmp_path / "stock")
    assert len(theirs) == ROWS
    assert_equal(ours("csv", path, tmp_path / "ours"), labelled(theirs))


def test_tfrecord_equals_import_example_gen(tmp_path):
    path = tmp_path / "data.tfrecord.gz"
    write_tfrecord(path)
    theirs = stock(import_executor.Executor, path, tmp_path / "stock")
    assert len(theirs) == ROWS
    found = ours("tfrecord", path, tmp_path / "ours")
    names = sorted(found[0])  # there an absent feature, here one without a value
    assert_equal(found, labelled([{n: r.get(n) for n in names} for r in theirs]))


def test_parquet_equals_the_parquet_executor_but_for_what_it_takes_for_missing(
    tmp_path,
):
    path = tmp_path / "data.parquet"
    write_parquet(path)
    theirs = stock(parquet_executor.Executor, path, tmp_path / "stock")
    assert len(theirs) == ROWS
    found = ours("parquet", path, tmp_path / "ours")
    false = [("int64_list", (0,)), ("float_list", (0.0,)), ("bytes_list", (b"",))]
    seen = collections.Counter(v for row in found for v in row.values() if v in false)
    assert set(seen) == set(false[:2])  # the sample has what stock loses
    alike = [{n: None if v in false else v for n, v in r.items()} for r in found]
    # Stock's rows with an arr_delay of 0 look unlabelled: ours are held apart.
    zeros = [
        row for row, whole in zip(alike, found, strict=True) if not row["arr_delay"]
    ]
    rest = [row for row in alike if row["arr_delay"]]
    assert_equal(rest, labelled(theirs))
    unlabelled = collections.Counter(
        tuple(sorted(row.items())) for row in theirs if row["arr_delay"] is None
    )
    assert zeros
    assert not collections.Counter(tuple(sorted(r.items())) for r in zeros) - unlabelled
