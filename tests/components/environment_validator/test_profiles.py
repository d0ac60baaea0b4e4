"""Profiles merge to what one pass over all rows gives, and hold what TFDV says."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from benchmarks import planted
from components.environment_validator import profiles, repeats
from components.errors import DataError


@pytest.fixture(scope="module")
def columns(world):
    schema = schema_pb2.Schema()
    for name, kind in planted.shapes(world).items():
        schema.feature.add(name=name, type=getattr(schema_pb2, kind))
    return profiles.Columns(
        schema=schema,
        label="sick",
        label_columns=("sick",),
        environment="environment",
        split_by=("day",),
        candidates=("temperature", "ward"),
    )


@pytest.fixture(scope="module")
def batch(world):
    both = [world["train", name] for name in ("north", "south")]
    table = pa.concat_tables(both)
    missing = np.arange(len(table)) % 10 == 0
    values = pa.array(np.asarray(table["temperature"]), mask=missing)
    return planted.list_columns(table.set_column(3, "temperature", values))


def whole(columns, batch):
    profiler = profiles.Profiler(columns)
    found, repeated = profiler.take(batch, "train")
    return {n: profiler.finish(p, "train", n) for n, p in found.items()}, repeated


def test_statistics_are_tfdvs_of_the_same_rows(columns, batch, world):
    found, _ = whole(columns, batch)
    table = world["train", "north"].drop(["environment"])
    frame = table.to_pandas()
    frame.loc[np.arange(len(frame)) % 10 == 0, "temperature"] = np.nan
    floats = frame.select_dtypes("float64").columns
    frame[floats] = frame[floats].astype(np.float32)
    expected = tfdv.generate_statistics_from_dataframe(frame).datasets[0]
    by_name = {f.path.step[0]: f for f in expected.features}
    compared = 0
    for feature in found["north"].statistics.features:
        other = by_name.get(feature.path.step[0])
        if other is None:
            continue
        kind = feature.WhichOneof("stats")
        mine, theirs = getattr(feature, kind), getattr(other, kind)
        assert mine.common_stats.num_non_missing == theirs.common_stats.num_non_missing
        if kind == "num_stats":
            assert mine.mean == pytest.approx(theirs.mean, rel=1e-6)
            assert (mine.min, mine.max) == (theirs.min, theirs.max)
        else:
            assert mine.unique == theirs.unique
        compared += 1
    assert compared == 7
    assert found["north"].statistics.num_examples == len(frame)


@pytest.mark.parametrize("chunks", [2, 7])
def test_parts_merge_to_the_whole_in_any_order(columns, batch, monkeypatch, chunks):
    monkeypatch.setattr(profiles, "SAMPLE_ROWS", 500)
    expected, repeated = whole(columns, batch)
    profiler = profiles.Profiler(columns)
    size = -(-batch.num_rows // chunks)
    parts = [
        profiler.take(batch.slice(i * size, size), "train")
        for i in np.random.default_rng(chunks).permutation(chunks)
    ]
    for name, profile in expected.items():
        merged = profiler.merge([f[name] for f, _ in parts if name in f])
        again = profiler.finish(merged, "train", name)
        assert (again.rows, again.positives) == (profile.rows, profile.positives)
        assert again.sample.num_rows == 500
        order = [("temperature", "ascending"), ("ward", "ascending")]
        pd.testing.assert_frame_equal(
            again.sample.sort_by(order).to_pandas(),
            profile.sample.sort_by(order).to_pandas(),
        )
    together = repeats.merge(r for _, r in parts)
    for kind, sketch in repeated.sketches.items():
        np.testing.assert_array_equal(sketch.counts, together.sketches[kind].counts)


def test_a_long_list_becomes_some_of_its_positions():
    dense = pa.array([list(range(400)), None], pa.large_list(pa.int64()))
    flat = profiles._flat("pixels", dense)
    assert len(flat) == profiles.MOST_POSITIONS
    assert flat["pixels[25]"].to_pylist() == [25, None]
    ragged = pa.array([list(range(400)), [7], None], pa.large_list(pa.int64()))
    flat = profiles._flat("words", ragged)
    assert list(flat) == [f"words[{i}]" for i in range(profiles.MOST_POSITIONS)]
    assert flat["words[0]"].to_pylist() == [0, 7, None]
    assert flat["words[25]"].to_pylist() == [25, None, None]


def test_samples_with_different_columns_are_put_together():
    one = pa.table({"a": [1.0], "b": ["x"]})
    found = profiles._together([one, pa.table({"a": [2.0]})])
    assert found.to_pydict() == {"a": [1.0, 2.0], "b": ["x", None]}


def test_infinity_and_bytes_that_are_no_text_are_no_obstacle():
    numbers = pa.array([[np.inf], [1.0], []], pa.large_list(pa.float32()))
    assert profiles._flat("x", numbers)["x"].to_pylist() == [None, 1.0, None]
    texts = pa.array([[b"\xff"], [b"a"], None], pa.large_list(pa.binary()))
    assert profiles._flat("x", texts)["x"].to_pylist() == ["\ufffd", "a", None]


def test_an_example_without_an_environment_is_refused(columns, batch):
    at = batch.schema.get_field_index("environment")
    arrays = list(batch.columns)
    arrays[at] = pa.nulls(batch.num_rows)
    broken = pa.RecordBatch.from_arrays(arrays, batch.schema.names)
    with pytest.raises(DataError, match="'environment' is in no example of split"):
        profiles.Profiler(columns).take(broken, "train")
