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


@pytest.mark.parametrize("values", [[[1, None]], [[None, "a"]], [[0.5], [None]]])
def test_a_missing_value_within_a_list_is_refused_and_never_a_number(values):
    array = pa.array(values)
    column = columns.column_of(array.type, "x", "file")
    with pytest.raises(pa.ArrowInvalid, match="a list with a missing value"):
        columns.to_feature(array, column)


def test_integers_beyond_64_signed_bits_are_refused():
    with pytest.raises(pa.ArrowInvalid, match="18446744073709551615 not in range"):
        columns.to_feature(pa.array([1, 2**64 - 1], pa.uint64()), Column("int"))


@pytest.mark.parametrize(
    ("arrow_type", "expected"),
    [
        (pa.int8(), Column("int")),
        (pa.bool_(), Column("int")),
        (pa.float16(), Column("float")),
        (pa.decimal128(5, 2), Column("float")),
        (pa.timestamp("us"), Column("bytes")),
        (pa.large_string(), Column("bytes")),
        (pa.null(), Column("null")),
        (pa.list_(pa.int32()), Column("int", True)),
        (pa.dictionary(pa.int8(), pa.string()), Column("bytes")),
    ],
)
def test_kind_of_arrow_type(arrow_type, expected):
    assert columns.column_of(arrow_type, "x", "file") == expected


def test_struct_is_refused_by_name():
    with pytest.raises(DataError, match="f.parquet: column 'x' has the type struct"):
        columns.column_of(pa.struct([("a", pa.int8())]), "x", "f.parquet")


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
