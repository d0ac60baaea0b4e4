"""Columns out of TFMA's extracts, and what is refused there."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from components.errors import DataError
from components.evaluator import columns


def varlen(rows):
    indices = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    values = [value for row in rows for value in row]
    width = max(map(len, rows))
    return tfma.VarLenTensorValue(
        np.array(values, dtype=object if isinstance(values[0], bytes) else None),
        np.array(indices, dtype=np.int64).reshape(-1, 2),
        np.array([len(rows), width]),
    )


def test_columns_are_dense_where_nothing_is_missing():
    found = columns.dense(varlen([[3], [1], [2]]), 3, "f", "eval")
    assert found.tolist() == [3, 1, 2]
    assert found.dtype.kind == "i"
    array = np.array([[1.5], [2.5]])
    assert columns.dense(array, 2, "f", "eval").tolist() == [1.5, 2.5]


def test_missing_values_are_none():
    found = columns.dense(varlen([[b"a"], [], [b"b"]]), 3, "f", "eval")
    assert found.tolist() == [b"a", None, b"b"]
    assert columns.dense(None, 2, "f", "eval").tolist() == [None, None]


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [[1, 2], []]])
def test_several_values_are_refused(rows):
    with pytest.raises(DataError, match="'f' in split 'ood': an example has several"):
        columns.dense(varlen(rows), 2, "f", "ood")


@pytest.mark.parametrize("values", [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True]])
def test_labels_are_zero_or_one(values):
    assert columns.labels(np.array(values), "late", "eval").tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("late", "says"),
    [
        (np.array([1, None], dtype=object), "'late' in split 'eval': found none"),
        (np.array([0.5, 1.0]), "found 0.5 in an example, expected 0 or 1"),
        (np.array([0.0, np.nan]), "found nan in an example"),
        (np.array([b"yes", b"no"], dtype=object), "in an example, expected 0 or 1"),
    ],
)
def test_other_labels_are_refused(late, says):
    with pytest.raises(DataError, match=says):
        columns.labels(late, "late", "eval")


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (np.array([1.0, None], dtype=object), "an example has none, or no number"),
        (np.array([b"1", b"2"], dtype=object), "an example has none, or no number"),
        (np.array([1.0, -2.0]), "found -2.0, expected a finite number >= 0"),
        (np.array([1.0, np.inf]), "found inf, expected a finite number >= 0"),
    ],
)
def test_weights_are_finite_and_not_negative(weights, says):
    with pytest.raises(DataError, match=says):
        columns.weights(weights, "w", "eval")
    assert columns.weights(np.array([0, 3]), "w", "eval").tolist() == [0.0, 3.0]


def test_predictions_are_found_by_model_and_key():
    one = {"p": np.array([[0.1], [0.2]]), "logits": np.zeros((2, 1))}
    found = columns.predictions(one, {"candidate": "p"}, 2)
    assert found["candidate"].tolist() == [0.1, 0.2]
    both = {"candidate": one, "baseline": np.array([[0.3], [0.4]])}
    found = columns.predictions(both, {"candidate": "p", "baseline": "p"}, 2)
    assert found["candidate"].tolist() == [0.1, 0.2]
    assert found["baseline"].tolist() == [0.3, 0.4]


def test_predictions_are_one_probability_an_example():
    with pytest.raises(
        DataError, match=r"'p' of the candidate model has shape \(2, 3\)"
    ):
        columns.predictions({"p": np.zeros((2, 3))}, {"candidate": "p"}, 2)
    with pytest.raises(DataError, match="has no output 'p', only q, r"):
        columns.predictions({"q": 0, "r": 0}, {"candidate": "p"}, 2)
