"""How often rows occur: exact while they fit, unbiased beyond, in any order."""

import numpy as np
import pandas as pd
import pytest

from components.environment_validator import repeats
from components.environment_validator.row_rules import repeated
from components.hashing import mix

CELLS = (("train", "a"), ("eval", "a"), ("train", "b"))


def drawn(rows, distinct, seed):
    values = np.random.default_rng(seed).integers(0, distinct, rows)
    return mix(values.astype(np.uint64))


def parts(rows=4000, distinct=3000):
    return [
        repeats.count({repeats.ROW: drawn(rows, distinct, i)}, cell)
        for i, cell in enumerate([*CELLS, CELLS[0]])
    ]


def as_frame():
    return pd.concat(
        pd.DataFrame({"hash": drawn(4000, 3000, i), "cell": str(cell)})
        for i, cell in enumerate([*CELLS, CELLS[0]])
    )


def test_counts_are_those_of_pandas():
    found = repeats.merge(parts())
    table = repeats.table(found.sketches[repeats.ROW], len(found.cells))
    frame = as_frame()
    counts = frame.groupby(["hash", "cell"]).size().unstack(fill_value=0)
    counts = counts[[str(cell) for cell in found.cells]]
    np.testing.assert_array_equal(table, counts.to_numpy())
    copies = frame[frame.cell == str(CELLS[0])].hash.duplicated().mean()
    column = found.cells.index(CELLS[0])
    assert repeated(table[:, column]) == pytest.approx(copies)


def test_the_order_of_the_parts_does_not_matter(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_HASHES", 500)
    one, two, three, four = parts()
    left = repeats.merge([repeats.merge([one, two]), repeats.merge([three, four])])
    right = repeats.merge([four, repeats.merge([three, two]), one])
    assert left.cells == right.cells
    a, b = left.sketches[repeats.ROW], right.sketches[repeats.ROW]
    for field in ("hashes", "cells", "counts"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert not a.complete


def test_beyond_its_size_it_holds_the_smallest_hashes_with_their_whole_counts(
    monkeypatch,
):
    monkeypatch.setattr(repeats, "MOST_HASHES", 500)
    found = repeats.merge(parts()).sketches[repeats.ROW]
    counts = as_frame().groupby("hash").size().sort_index()[:500]
    distinct, index = np.unique(found.hashes, return_inverse=True)
    np.testing.assert_array_equal(distinct, counts.index.to_numpy(np.uint64))
    summed = np.bincount(index.reshape(-1), found.counts)
    np.testing.assert_array_equal(summed, counts)


def test_the_share_of_copies_is_estimated_without_bias(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_HASHES", 2000)
    truth, found = [], []
    for seed in range(20):
        hashes = np.concatenate(
            [drawn(50_000, 2**40, seed), drawn(50_000, 2**40, seed)[:5000]]
        )
        truth.append(5000 / 55_000)
        sketch = repeats.count({repeats.ROW: hashes}, CELLS[0]).sketches[repeats.ROW]
        assert len(sketch.hashes) == 2000
        found.append(repeated(sketch.counts))
    # se of a mean of 20: sqrt(0.09 / 2000 / 20) = 0.0015
    assert np.mean(found) == pytest.approx(np.mean(truth), abs=0.005)
