"""Buckets: NumPy's digitize, in the precision of tf.Examples."""

import numpy as np
import pyarrow as pa
import pytest

from components import buckets


def test_buckets_are_numpys():
    x = np.random.default_rng(0).normal(30, 30, 1_000)
    names = np.array(["below 18", "18 to 40", "40 to 65", "65 and above"])
    found = buckets.label(pa.array(x), (18, 40, 65))
    expected = names[np.digitize(x.astype(np.float32), [18, 40, 65])]
    assert found.to_pylist() == expected.tolist()


def test_an_edge_belongs_to_the_bucket_above_whatever_the_precision():
    # As float32 0.7 is below 0.7, and 0.1 above 0.1.
    for value in (0.7, 0.1):
        for array in (pa.array([value]), pa.array([value], pa.float32())):
            found = buckets.label(array, (value,)).to_pylist()
            assert found == [f"{value} and above"]


def test_whole_numbers_are_compared_exactly():
    values = pa.array([2**24, 2**24 + 1])  # the same in float32
    assert buckets.label(values, (2**24 + 0.5,)).to_pylist() == [
        "below 1.67772e+07",
        "1.67772e+07 and above",
    ]


def test_what_is_missing_is_in_none():
    values = pa.array([1.0, None, float("nan")])
    assert buckets.label(values, (0,)).to_pylist() == ["0 and above", None, None]
    assert buckets.label(pa.nulls(2), (0,)).to_pylist() == [None, None]


def test_text_is_refused():
    with pytest.raises(ValueError, match="need numbers, found string"):
        buckets.label(pa.array(["1"]), (0,))
