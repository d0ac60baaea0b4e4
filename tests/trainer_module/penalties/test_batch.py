"""The batch, its loss an example, and the grouping: against NumPy loops."""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.penalties import (
    EnvironmentBatch,
    group_by_environment,
    per_example_loss,
)

IDS = np.array([0, 2, 2, 0, 2, 3, 3])  # environment 1 is absent
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 0.0, 0.0, 0.0])  # and 3 has no weight
VALUES = np.array([5.0, -1.0, 2.0, 0.25, 9.0, 1.0, 2.0])


def make(ids=IDS, weights=WEIGHTS, size=4, **kwargs):
    logits = tf.zeros([len(ids), 1])
    return EnvironmentBatch(
        logits, logits, tf.constant(ids), size, sample_weights=weights, **kwargs
    )


def test_means_are_weighted_and_absent_environments_left_out():
    environments = group_by_environment(make())
    expected = np.zeros(4)
    for index in (0, 2):
        mine = index == IDS
        expected[index] = np.average(VALUES[mine], weights=WEIGHTS[mine])
    np.testing.assert_allclose(environments.mean(VALUES), expected, rtol=1e-6)
    np.testing.assert_array_equal(environments.present, [1, 0, 1, 0])
    present = expected[[0, 2]]
    average = environments.average(tf.constant(expected, tf.float32))
    variance = environments.variance(tf.constant(expected, tf.float32))
    assert float(average) == pytest.approx(present.mean())
    assert float(variance) == pytest.approx(present.var())


def test_without_weights_every_row_counts_once():
    environments = group_by_environment(make(weights=None))
    np.testing.assert_array_equal(environments.total_weight, [2, 0, 3, 2])
    np.testing.assert_allclose(environments.mean(VALUES)[0], VALUES[IDS == 0].mean())


def test_rows_of_no_environment_are_left_out():
    environments = group_by_environment(make(ids=np.where(IDS == 2, -1, IDS)))
    np.testing.assert_array_equal(environments.total_weight, [4, 0, 0, 0])


def test_a_batch_without_any_weight_is_zero():
    environments = group_by_environment(make(weights=np.zeros(7)))
    assert float(environments.average(environments.mean(VALUES))) == 0.0
    assert float(environments.variance(environments.mean(VALUES))) == 0.0


def test_a_row_of_weight_zero_may_hold_anything():
    values = np.where(WEIGHTS == 0, np.nan, VALUES)
    assert np.isfinite(group_by_environment(make()).mean(values)).all()


def test_a_matrix_is_summed_column_by_column_whatever_left_out_rows_hold():
    matrix = np.stack([VALUES, VALUES**2], axis=1)
    matrix[WEIGHTS == 0] = np.nan
    found = group_by_environment(make()).sum(matrix)
    expected = np.zeros((4, 2))
    for row, index in enumerate(IDS):
        if WEIGHTS[row]:
            expected[index] += WEIGHTS[row] * matrix[row]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_get_their_cells_value_and_gradients_go_both_ways():
    environments = group_by_environment(make(ids=np.where(IDS == 3, -1, IDS)))
    cells = tf.constant(np.arange(8.0).reshape([4, 2]), tf.float32)
    rows = tf.constant(np.stack([VALUES, -VALUES], axis=1), tf.float32)
    factors = tf.constant(np.arange(14.0).reshape([7, 2]), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([cells, rows])
        taken = environments.of_rows(cells)
        value = tf.reduce_sum(taken * factors)
        value += tf.reduce_sum(environments.sum(rows) * cells)
    own = (WEIGHTS > 0) & (IDS != 3)
    expected = np.where(own[:, None], cells.numpy()[IDS], 0.0)
    np.testing.assert_allclose(taken, expected)
    in_cells, in_rows = tape.gradient(value, [cells, rows])
    by_cell = np.zeros((4, 2))
    for row in np.flatnonzero(own):
        by_cell[IDS[row]] += factors.numpy()[row] + WEIGHTS[row] * rows.numpy()[row]
    np.testing.assert_allclose(in_cells, by_cell, rtol=1e-6)
    np.testing.assert_allclose(in_rows, WEIGHTS[:, None] * expected, rtol=1e-6)


def test_groups_replace_environments_where_given():
    groups = np.array([0, 1, 0, 1, 0, 1, 0])
    environments = group_by_environment(
        make(weights=None, group_ids=tf.constant(groups), num_groups=2)
    )
    expected = [VALUES[groups == index].mean() for index in (0, 1)]
    np.testing.assert_allclose(environments.mean(VALUES), expected, rtol=1e-6)


def test_binary_loss_is_the_log_likelihood():
    logits = np.array([-3.0, -0.5, 0.0, 2.0])
    labels = np.array([0.0, 1.0, 1.0, 0.0])
    chance = 1 / (1 + np.exp(-logits))
    expected = -np.log(np.where(labels == 1, chance, 1 - chance))
    batch = EnvironmentBatch(logits[:, None], labels[:, None], np.zeros(4, int), 1)
    np.testing.assert_allclose(per_example_loss(batch), expected, rtol=1e-5)


@pytest.mark.parametrize("form", ["ids", "column", "one-hot"])
def test_multiclass_loss_is_the_log_likelihood(form):
    logits = np.array([[1.0, 2.0, -1.0], [0.0, 0.0, 3.0]])
    ids = np.array([1, 0])
    labels = {
        "ids": ids,
        "column": ids[:, None].astype(float),
        "one-hot": np.eye(3)[ids],
    }
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    batch = EnvironmentBatch(
        tf.constant(logits), labels[form], np.zeros(2, int), 1, task="multiclass"
    )
    expected = -np.log(chances[[0, 1], ids])
    np.testing.assert_allclose(per_example_loss(batch), expected, rtol=1e-5)


def test_regression_loss_is_the_squared_error():
    batch = EnvironmentBatch(
        np.array([[1.0], [2.0]]), np.array([[3.0], [1.5]]), [0, 0], 1, task="regression"
    )
    np.testing.assert_allclose(per_example_loss(batch), [4.0, 0.25])


def test_a_batch_passes_into_a_function_without_a_new_trace():
    traces = []

    @tf.function
    def count(batch):
        traces.append(batch)
        return tf.reduce_sum(group_by_environment(batch).total_weight)

    sizes = [
        float(count(make(ids=tf.constant(ids), weights=None))) for ids in (IDS, IDS)
    ]
    assert sizes == [7.0, 7.0]
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "ranking"}, "'ranking'.*binary, multiclass, regression"),
        ({"size": 0}, "num_environments is 0"),
        ({"num_groups": 2}, "together"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)
