"""Sufficient statistics add up, whatever the order."""

import numpy as np
import pytest

from components.evaluator import measures
from components.evaluator import statistics as st


def test_fine_bins_are_tfmas():
    p = np.concatenate(
        [np.linspace(0, 1, 30_001), [0.3, 1e-9, 1 - 1e-9, np.nextafter(1, 0)]]
    )
    expected = [min(int(x * 10_000 + 1), 10_001) for x in p]
    assert st.fine_bins(p).tolist() == expected


def test_coarse_bins_rise_with_the_log_odds_and_are_narrow():
    z = np.linspace(-st.LOGIT_LIMIT, st.LOGIT_LIMIT, 400_001)
    bins = st.coarse_bins(z)
    assert (np.diff(bins) >= 0).all()
    assert bins[0] == 0
    assert bins[-1] == st.COARSE_BINS - 1
    widths = np.bincount(bins) * (z[1] - z[0])
    assert widths.max() < 0.066
    assert widths[st.COARSE_BINS // 2] < 0.008


def rows(n, weighted):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n).astype(float)
    w = rng.gamma(2.0, size=n) if weighted else np.ones(n)
    p = rng.random(n).astype(np.float32)
    return st.rows_of(y, p, w), rng.integers(0, 20, n), rng.integers(-1, 3, n)


def take(r, index):
    return st.Rows(r.sums[index], r.fine[index], r.coarse[index], r.logits[index])


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_in_any_order_make_the_whole(weighted):
    all_rows, blocks, groups = rows(3_000, weighted)
    whole = st.group(all_rows, blocks, groups, 3)
    rng = np.random.default_rng(1)
    order = rng.permutation(3_000)
    parts = [
        st.group(take(all_rows, index), blocks[index], groups[index], 3)
        for index in np.array_split(order, [10, 11, 700, 2_000])
    ]
    rng.shuffle(parts)
    for group, expected in enumerate(whole):
        first = st.merge(part[group] for part in parts[:2])
        merged = st.merge([first, *(part[group] for part in parts[2:])])
        np.testing.assert_allclose(merged.blocks, expected.blocks, rtol=1e-12)
        for name in ("fine", "coarse"):
            one, other = getattr(merged, name), getattr(expected, name)
            assert (one.keys == other.keys).all()
            np.testing.assert_allclose(one.sums, other.sums, rtol=1e-11, atol=1e-12)
        values, again = measures.measure(merged), measures.measure(expected)
        for metric, (value, replicates) in values.items():
            assert value == pytest.approx(again[metric][0], abs=1e-10)
            np.testing.assert_allclose(replicates, again[metric][1], atol=1e-10)


def test_groups_are_summed_apart():
    all_rows, blocks, groups = rows(500, True)
    found = st.group(all_rows, blocks, groups, 4)
    assert len(found) == 4
    for group, statistics in enumerate(found):
        for block in range(20):
            chosen = (groups == group) & (blocks == block)
            np.testing.assert_allclose(
                statistics.blocks[block], all_rows.sums[chosen].sum(axis=0)
            )
        inside = groups == group
        assert set(statistics.fine.keys) == set(all_rows.fine[inside])
        assert statistics.fine.sums[:, 0].sum() == pytest.approx(
            all_rows.sums[inside, st.WEIGHT].sum()
        )
        cells = blocks[inside] * st.COARSE_BINS + all_rows.coarse[inside]
        assert set(statistics.coarse.keys) == set(cells)
        for key, sums in zip(
            statistics.coarse.keys, statistics.coarse.sums, strict=True
        ):
            chosen = np.flatnonzero(inside)[cells == key]
            weight = all_rows.sums[chosen, st.WEIGHT]
            assert sums[2] == pytest.approx(weight @ all_rows.logits[chosen])
