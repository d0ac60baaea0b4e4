"""Splits by time and by the data's own column, against pandas."""

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import ingest, shards
from components.source_manifest import listing

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
LABEL = {"name": "late"}


def frame(rows, seed, begin="2024-01-01"):
    random = np.random.default_rng(seed)
    day = pd.Timestamp(begin) + pd.to_timedelta(random.integers(0, 90, rows), "D")
    return pd.DataFrame(
        {
            "id": np.arange(rows) + 10_000 * seed,
            "day": day,
            "hours": random.integers(0, 500, rows),
            "fold": random.choice(["a", "b", "c"], rows),
            "late": random.integers(0, 2, rows),
        }
    )


def run(tmp_path, frames, held_out=(), **rule):
    entries = []
    for name, rows in frames.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pandas(rows), path, row_group_size=100)
        entry = {"environment": name, "format": "parquet", "patterns": [str(path)]}
        entries.append(entry | {"held_out": name in held_out})
    spec = shards.Spec(LABEL, 0.2, (), (), **rule)
    folder = str(tmp_path / "out")
    files = listing.build_manifest(entries)
    ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[RUNNER]))
    found = {}
    for split in ("train", "eval", "ood"):
        found[split] = set()
        for path in tf.io.gfile.glob(f"{folder}/Split-{split}/*"):
            for record in tf.data.TFRecordDataset(path, "GZIP").as_numpy_iterator():
                features = tf.train.Example.FromString(record).features.feature
                found[split].add(features["id"].int64_list.value[0])
    return found


@pytest.mark.parametrize("column", ["day", "hours", "text"])
def test_the_latest_fifth_of_each_environment_is_evaluated(tmp_path, column):
    frames = {"old": frame(500, 1), "new": frame(700, 2, "2030-06-01")}
    for rows in frames.values():
        rows["text"] = rows.day.dt.strftime("%Y-%m-%dT00:00")
    found = run(tmp_path, frames, eval_time=column)
    for rows in frames.values():
        times = rows[column].sort_values()
        first = times.iloc[int(np.ceil(len(times) * 0.8))]
        late = rows[column] >= first
        assert 0.2 <= late.mean() < 0.25
        assert set(rows.id[late]) == found["eval"] & set(rows.id)
        assert set(rows.id[~late]) == found["train"] & set(rows.id)


def test_adding_an_environment_moves_no_row(tmp_path):
    one = run(tmp_path, {"a": frame(500, 1)}, eval_time="day")
    two = {"a": frame(500, 1), "b": frame(500, 2, "2010-01-01")}
    both = run(tmp_path, two, eval_time="day")
    assert one["eval"] == both["eval"] & {*one["eval"], *one["train"]}


def test_of_a_held_out_environment_the_latest_are_kept(tmp_path):
    frames = {"a": frame(500, 1), "b": frame(500, 2)}
    found = run(tmp_path, frames, held_out=["b"], eval_time="day")
    first = frames["b"].day.sort_values().iloc[400]
    assert found["ood"] == set(frames["b"].id[frames["b"].day >= first])


def test_a_column_of_the_data_splits(tmp_path):
    frames = {"a": frame(500, 1), "b": frame(500, 2)}
    rule = {"eval_column": "fold", "eval_values": ("b", "c")}
    found = run(tmp_path, frames, held_out=["b"], **rule)
    ours = {name: set(rows.id[rows.fold == "a"]) for name, rows in frames.items()}
    assert found["train"] == ours["a"]
    assert found["eval"] == set(frames["a"].id) - ours["a"]
    assert found["ood"] == set(frames["b"].id) - ours["b"]


def test_a_row_without_a_time_is_refused(tmp_path):
    rows = frame(100, 1)
    rows.loc[3, "day"] = pd.NaT
    with pytest.raises(DataError, match=r"1 rows have no value in 'day'"):
        run(tmp_path, {"a": rows}, eval_time="day")


def test_a_time_that_is_always_the_same_is_refused(tmp_path):
    with pytest.raises(DataError, match="no rows in split 'train'"):
        run(tmp_path, {"a": frame(100, 1).assign(hours=1)}, eval_time="hours")
