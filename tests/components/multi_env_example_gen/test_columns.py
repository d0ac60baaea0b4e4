"""One schema for all environments."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tfx_bsl.coders import example_coder

from components.errors import DataError
from components.multi_env_example_gen import columns
from components.multi_env_example_gen.columns import Column


def encode(array, column):
    batch = pa.RecordBatch.from_arrays([columns.to_feature(array, column)], ["x"])
    encoded = example_coder.RecordBatchToExamplesEncoder().encode(batch)
    features = [tf.train.Example.FromString(e).features.feature for e in encoded]
    # A feature without a kind is how tfx_bsl writes an absent one.
    kinds = [f["x"].WhichOneof("kind") for f in features]
    return [
        list(getattr(f["x"], kind).value) if kind else None
        for f, kind in zip(features, kinds, strict=True)
    ]


@pytest.mark.parametrize(
    ("array", "column", "expected"),
    [
        (pa.array([1, None, 3]), Column("int"), [[1], None, [3]]),
        (pa.array([1, None, 3]), Column("float"), [[1.0], None, [3.0]]),
        (pa.array([True, False, None]), Column("int"), [[1], [0], None]),
        (pa.array(["a", None, ""]), Column("bytes"), [[b"a"], None, [b""]]),
        (pa.array([0.5, None]), Column("float"), [[0.5], None]),
        (pa.nulls(2), Column("float"), [None, None]),
        (
            pa.array([[1, 2], [], None, [3]]),
            Column("int", True),
            [[1, 2], None, None, [3]],
        ),
        (
            pa.array(["a", "b", "a"]).dictionary_encode(),
            Column("bytes"),
            [[b"a"], [b"b"], [b"a"]],
        ),
        (
            pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float64(), 2)),
            Column("float", True),
            [[1.0, 2.0], [3.0, 4.0]],
        ),
        (pa.array([decimal.Decimal("1.5")]), Column("float"), [[1.5]]),
        (
            pa.array([datetime.date(2013, 1, 31)]),
            Column("bytes"),
            [[b"2013-01-31"]],
        ),
        (
            pa.array([datetime.datetime(2013, 1, 31)], pa.timestamp("s", "-02:30")),
            Column("bytes"),
            [[b"2013-01-30 21:30:00-0230"]],
        ),
        (pa.array([2**63 - 1, 5], pa.uint64()), Column("int"), [[2**63 - 1], [5]]),
        (pa.array([2**64 - 1], pa.uint64()), Column("float"), [[2.0**64]]),
    ],
)
def test_feature_holds_what_the_column_held(array, column, expected):
    assert encode(array, column) == expected


def test_sliced_array_keeps_its_own_rows():
    array = pa.array([[1], [2, 3], [4]]).slice(1)
    assert encode(array, Column("int", True)) == [[2, 3], [4]]


@pytest.mark.parametrize(
    ("array", "kind", "kept", "bad"),
    [
        (pa.array([1.5, None, np.nan]), "float", [1.5, None, None], []),
        (pa.array([1.5, np.inf, -1e39, 3.4e38]), "float", None, [1, 2]),
        (pa.array([1.5, np.inf], pa.float32()), "float", None, [1]),
        (pa.array([np.float16(1), np.float16(np.nan)]), "float", [1.0, None], []),
        (pa.array([1, 2**64 - 1], pa.uint64()), "int", None, [1]),
        (pa.array([1, 2**64 - 1], pa.uint64()), "float", [1, 2**64 - 1], []),
        (pa.array([[1, None], [2], None]), "int", None, [0]),
        (pa.array([[None, "a"], ["b"]]), "bytes", None, [0]),
        (pa.array([[None], [0.5], [], [np.nan]]), "float", [None, [0.5], [], None], []),
        (pa.array([[0.5], [1.0, np.nan], [np.inf]]), "float", None, [1, 2]),
        (pa.array(["nan", "inf"]), "bytes", ["nan", "inf"], []),
    ],
    ids=str,
)
def test_what_no_example_can_hold(array, kind, kept, bad):
    found, wrong = columns.clean(array, kind)
    assert ([] if wrong is None else np.flatnonzero(wrong).tolist()) == bad
    if kept is not None:
        assert found.to_pylist() == kept


def test_a_duration_is_refused_by_name():
    with pytest.raises(DataError, match=r"f.parquet: column 'x' has the type duration"):
        columns.column_of(pa.duration("us"), "x", "f.parquet")


def test_join():
    join = columns.join
    assert join({"a": Column("int"), "b": Column("float")}, "x") == Column("float")
    assert join({"a": Column("null"), "b": Column("bytes")}, "x") == Column("bytes")
    assert join({"a": Column("int"), "b": Column("int", True)}, "x").is_list
    with pytest.raises(DataError, match="'x' holds text in b and integers in a"):
        join({"a": Column("int"), "b": Column("bytes")}, "x")


def test_float_column_is_float32_as_tf_example_holds_it():
    values = np.array([0.1, 1e30, -2.5])
    (first, second, third) = encode(pa.array(values), Column("float"))
    assert [*first, *second, *third] == values.astype(np.float32).tolist()
