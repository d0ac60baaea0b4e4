"""Columns as a matrix."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from components.environment_inferrer import design
from components.errors import DataError
from components.multi_env_example_gen.columns import Column

SCHEMA = {
    "age": Column("int"),
    "pixels": Column("float", is_list=True),
    "site": Column("bytes"),
    "temp": Column("float"),
}


def test_numbers_are_z_scores():
    values = np.random.default_rng(0).normal(50, 3, 100)
    encoder = design.fit({"temp": pa.array(values)}, {"temp": "numeric"})
    expected = StandardScaler().fit_transform(values[:, None])
    found = encoder.apply({"temp": pa.array(values)})
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    far = encoder.apply({"temp": pa.array([1e9, -1e9])})
    assert far.tolist() == [[5.0], [-5.0]]


def test_a_missing_number_is_said_and_is_average():
    array = pa.array([1.0, None, 3.0])
    encoder = design.fit({"temp": array}, {"temp": "numeric"})
    assert encoder.apply({"temp": array}).tolist() == [[-1, 0], [0, 1], [1, 0]]


def test_text_is_one_entry_a_frequent_value():
    texts = ["b"] * 9 + ["a"] * 7 + ["rare"] * 4
    array = pa.array([text.encode() for text in texts])
    encoder = design.fit({"site": array}, {"site": "categorical"})
    kept = [[b"b"], [b"a"]]
    oracle = OneHotEncoder(
        categories=[[b"b", b"a"]], handle_unknown="ignore", sparse_output=False
    ).fit(kept)
    expected = oracle.transform(array.to_numpy(zero_copy_only=False)[:, None])
    np.testing.assert_array_equal(encoder.apply({"site": array}), expected)


def test_vectors_share_a_scale_and_odd_ones_are_average():
    vectors = np.random.default_rng(1).normal(3, [[1, 2, 3]], (50, 3))
    array = pa.array([*vectors.tolist(), None, [1.0]])
    encoder = design.fit({"pixels": array}, {"pixels": "dense"})
    found = encoder.apply({"pixels": array})
    centred = vectors - vectors.mean(axis=0)
    expected = centred / np.sqrt((centred**2).mean())
    np.testing.assert_allclose(found[:50], expected, rtol=1e-4, atol=1e-5)
    assert not found[50:].any()


def test_without_names_every_column_is_a_feature_by_its_kind():
    assert design.choose(SCHEMA, {}, ["age"]) == {
        "pixels": "dense",
        "site": "categorical",
        "temp": "numeric",
    }
    named = {"categorical": ["age"], "bucketized": {"temp": 3}, "dense": None}
    expected = {"age": "categorical", "temp": "numeric"}
    assert design.choose(SCHEMA, named, []) == expected


@pytest.mark.parametrize(
    ("features", "never", "said"),
    [
        ({"numeric": ["tmp"]}, [], "column 'tmp' is not in the data"),
        ({"numeric": ["site"]}, [], "column 'site' holds text"),
        ({}, list(SCHEMA), "no column is left"),
    ],
)
def test_what_cannot_be_a_feature_is_refused(features, never, said):
    with pytest.raises(DataError, match=said):
        design.choose(SCHEMA, features, never)


def test_columns_of_one_value_are_no_features():
    array = pa.array([1.0, 1.0])
    with pytest.raises(DataError, match="one value alone"):
        design.fit({"temp": array}, {"temp": "numeric"})


def test_what_is_stored_keeps_what_labels_and_keys_need():
    schema = {"when": Column("bytes"), "x": Column("float"), "n": Column("null")}
    day = datetime.date(2024, 2, 29)
    assert design.stored(pa.array([day]), schema, "when").to_pylist() == [b"2024-02-29"]
    exact = design.stored(pa.array([0.1, None]), schema, "x")
    assert exact.to_pylist() == [0.1, None]  # in 32 bits it would be another number
    assert design.stored_type(schema, "n") == pa.int64()
