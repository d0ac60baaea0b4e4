"""Loading, packing, balancing, streaming."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer_module import data
from trainer_module.features import Feature
from trainer_module.settings import Columns
from trainer_module.transform_graph import TransformGraph


@pytest.fixture(scope="module")
def graph(sample):
    return TransformGraph.open(sample.transform, sample.config)


@pytest.fixture(scope="module")
def columns(sample):
    return Columns.from_config(sample.config)


@pytest.fixture(scope="module")
def split(sample, graph, columns):
    return data.load_split([sample.train], graph, columns)


@pytest.fixture(scope="module")
def streamed(sample, graph, columns):
    return data.load_split([sample.train], graph, columns, max_bytes=1000)


def numbers(counts, environments=("north", "south", "west")):
    """A split whose only feature is the number of the row; ids in turn."""
    layout = data.Layout((Feature("numeric_row"),), weighted=False)
    ids = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    rows = np.arange(len(ids), dtype=np.float32)
    memory = (
        tf.constant(np.stack([rows, np.zeros_like(rows)], axis=1)),
        tf.constant(ids[:, np.newaxis]),
    )
    stream = tf.data.Dataset.from_tensors(memory)
    return data.Split(layout, environments, np.array(counts), stream, memory)


def drawn(split, batches, batch_size=6, seed=0):
    """Row numbers [batches, batch_size] and environments of what `balanced` gives."""
    taken = split.balanced(batch_size, seed).take(batches).as_numpy_iterator()
    floats, ids = zip(*taken, strict=True)
    return np.stack(floats)[:, :, 0], np.stack(ids)[:, :, 0]


def test_all_rows_of_all_files_are_read_once_in_order(sample, split):
    names = np.array([row["environment"][0] for row in sample.rows])
    assert split.counts.tolist() == [
        np.sum(names == b"north"),
        np.sum(names == b"south"),
    ]
    batches = [split.layout.unpack(*batch) for batch in split.batches(batch_size=50)]
    assert [len(rows.environment_ids) for rows in batches] == [50, 50, 50, 50, 40]
    labels = np.concatenate([rows.labels for rows in batches])[:, 0]
    weights = np.concatenate([rows.weights for rows in batches])
    assert labels.tolist() == [row["late"][0] for row in sample.rows]
    assert weights.tolist() == [row["importance"][0] for row in sample.rows]


def test_packing_loses_nothing(sample, graph, split):
    raw = tf.io.parse_example(sample.encode(sample.rows), graph.training_spec)
    transformed = graph.apply(raw)
    rows = split.layout.unpack(*split.layout.pack(transformed))
    assert set(rows.features) == {feature.name for feature in graph.features}
    for name, values in rows.features.items():
        np.testing.assert_array_equal(values, transformed[name])
    np.testing.assert_array_equal(
        rows.environment_ids, transformed["environment_id"][:, 0]
    )


def test_every_batch_holds_an_equal_share_of_each_environment():
    _, ids = drawn(numbers([50, 3, 7]), batches=20)
    assert (np.sort(ids, axis=1) == [0, 0, 1, 1, 2, 2]).all()


def test_what_cannot_be_shared_equally_is_dropped_from_the_batch():
    _, ids = drawn(numbers([5, 5, 5]), batches=2, batch_size=8)
    assert ids.shape == (2, 6)


def test_each_environment_is_used_up_before_it_starts_over_newly_shuffled():
    rows, ids = drawn(numbers([6, 4, 2]), batches=6)
    own = rows[ids == 0].astype(int)
    assert sorted(own[:6]) == sorted(own[6:]) == list(range(6))
    assert own[:6].tolist() != own[6:].tolist()
    assert sorted(rows[ids == 2]) == [10] * 6 + [11] * 6


def test_the_seed_decides_the_batches():
    split = numbers([50, 30, 70])
    first, _ = drawn(split, batches=9, seed=1)
    again, _ = drawn(split, batches=9, seed=1)
    other, _ = drawn(split, batches=9, seed=2)
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("start", [1, 4, 9, 40])
def test_batches_can_be_left_out(start):
    split = numbers([50, 3, 7])
    rows, ids = drawn(split, batches=start + 6)
    floats, own = zip(*split.balanced(6, 0, start).take(6), strict=True)
    np.testing.assert_array_equal(np.stack(floats)[:, :, 0], rows[start:])
    np.testing.assert_array_equal(np.stack(own)[:, :, 0], ids[start:])


def test_streamed_batches_can_be_left_out(streamed):
    whole = list(streamed.balanced(32, seed=0).take(12))
    for start in (1, 7, 10):
        rest = list(streamed.balanced(32, 0, start).take(12 - start))
        for found, expected in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])


def test_a_batch_of_all_rows_holds_each_once():
    rows, _ = drawn(numbers([2, 2, 2]), batches=3)
    assert (np.sort(rows, axis=1) == np.arange(6)).all()


def test_rows_of_no_environment_are_never_drawn():
    split = numbers([4, 4, 4])
    floats, ids = split.memory
    ids = tf.where(floats[:, :1] == 0.0, -1, ids)
    split = dataclasses.replace(split, memory=(floats, ids))
    rows, _ = drawn(split, batches=10)
    assert set(rows.ravel()) == set(range(1, 12))


def test_what_does_not_fit_is_streamed_with_the_same_balance(split, streamed):
    assert streamed.memory is None
    assert split.memory is not None
    assert streamed.counts.tolist() == split.counts.tolist()
    own = [ids[:, -1] for _, ids in streamed.balanced(32, seed=0).take(15)]
    assert all(np.bincount(ids).tolist() == [16, 16] for ids in own)


def test_streamed_rows_are_those_of_the_files(split, streamed):
    stay, flow = (
        np.concatenate([np.hstack(batch) for batch in part.batches(64)])
        for part in (split, streamed)
    )
    np.testing.assert_array_equal(stay, flow)
    north = {tuple(row) for row in stay[stay[:, -1] == 0]}
    drawn_rows = [
        tuple(row)
        for batch in streamed.balanced(32, seed=0).take(10)  # 160 rows each
        for row in np.hstack(batch)
        if row[-1] == 0
    ]
    assert set(drawn_rows) == north
    assert drawn_rows[:16] != sorted(north, key=drawn_rows.index)[16:32]


def test_an_environment_without_rows_is_named():
    with pytest.raises(ValueError, match="'south' has no rows"):
        numbers([5, 0, 5]).balanced(6, seed=0)


def test_a_pattern_without_files_is_named(graph, columns):
    with pytest.raises(ValueError, match="No file matches '/nowhere/"):
        data.load_split(["/nowhere/*"], graph, columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"late": []}, "Label 'late' is missing"),
        ({"importance": [-1.0]}, "Weight 'importance'.*negative"),
        ({"importance": []}, "Weight 'importance' is missing"),
    ],
)
def test_rows_that_cannot_be_trained_with_are_named(
    sample, graph, columns, tmp_path, change, message
):
    row = {name: values for name, values in (sample.rows[0] | change).items() if values}
    sample.write([row, *sample.rows[1:3]], f"{tmp_path}/split/data", compression="")
    with pytest.raises(ValueError, match=message):
        data.load_split([f"{tmp_path}/split/data"], graph, columns)


def test_an_empty_file_is_named(sample, graph, columns, tmp_path):
    sample.write([], f"{tmp_path}/split/data.gz")
    with pytest.raises(ValueError, match="no examples in .*data.gz"):
        data.load_split([f"{tmp_path}/split/data.gz"], graph, columns)
