"""Jackknife blocks: stable, even, by the key alone."""

import numpy as np
import pytest
from scipy import stats

from components.evaluator import blocks


def objects(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def splitmix64(state):
    """One step, in Python integers, as published by Steele, Lea and Flood (2014)."""
    mask = 2**64 - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_integers_are_hashed_with_splitmix64():
    months, days = np.array([1, 12, -3]), np.array([31, 2, 0])
    expected = []
    for month, day in zip(months.tolist(), days.tolist(), strict=True):
        state = splitmix64(splitmix64(month % 2**64))
        state = splitmix64(state ^ splitmix64(day % 2**64))
        expected.append(state % 20)
    assert blocks.assign([months, days]).tolist() == expected


def test_a_key_has_its_block_wherever_it_stands_and_however_it_is_stored():
    ints = np.array([3, 1, 2, 1])
    assert (blocks.assign([ints]) == blocks.assign([ints.astype(np.float32)])).all()
    assert (blocks.assign([ints]) == blocks.assign([objects([3, 1, 2, 1])])).all()
    assert (blocks.assign([ints])[::-1] == blocks.assign([ints[::-1]])).all()
    names = objects([b"UA", b"B6", b"UA"])
    assert (
        blocks.assign([names]) == blocks.assign([objects(["UA", "B6", "UA"])])
    ).all()
    assert blocks.assign([names])[0] == blocks.assign([objects([b"UA"])])[0]


def test_a_missing_value_is_a_key_of_its_own():
    column = objects([None, 4, None, 5])
    found = blocks.assign([column])
    assert found[0] == found[2]
    assert (found[[1, 3]] == blocks.assign([np.array([4, 5])])).all()


def test_the_order_of_the_columns_matters():
    a, b = np.arange(1, 40), np.arange(41, 80)
    assert (blocks.assign([a, b]) != blocks.assign([b, a])).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda start: np.arange(start, start + 2_000),
        lambda start: np.arange(start, start + 2_000) / 7,
        lambda start: objects([b"row %d" % i for i in range(start, start + 2_000)]),
    ],
)
def test_blocks_are_even(make):
    """Chi-squared of 50 sets of keys, themselves tested for being chi-squared."""
    values = []
    for start in range(0, 100_000, 2_000):
        counts = np.bincount(blocks.assign([make(start)]), minlength=20)
        assert len(counts) == 20
        values.append(stats.chisquare(counts).pvalue)
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_days_of_a_year_spread_over_all_blocks():
    month, day = np.divmod(np.arange(365), 31)
    assert len(set(blocks.assign([month + 1, day + 1]).tolist())) == 20


def test_no_key_is_an_error():
    with pytest.raises(ValueError, match="at least one column"):
        blocks.assign([])
