"""Schedules of the weight, and the division of the loss."""

import pytest
import tensorflow as tf

from trainer_module import schedules


def course(kind, anneal_steps, weight, steps):
    schedule = schedules.get(kind, anneal_steps)
    return [float(schedule(tf.constant(step, tf.int64), weight)) for step in steps]


def test_step_starts_at_one_as_the_paper_does():
    assert course("step", 190, 91257.0, [0, 189, 190, 500]) == [
        1.0,
        1.0,
        91257.0,
        91257.0,
    ]


def test_step_never_starts_above_the_weight():
    assert course("step", 5, 0.25, [0, 4, 5]) == [0.25, 0.25, 0.25]


def test_step_without_annealing_is_constant():
    assert (
        course("step", 0, 7.0, [0, 1]) == course("constant", 9, 7.0, [0, 1]) == [7, 7]
    )


def test_linear_rises_in_a_straight_line():
    assert course("linear", 4, 8.0, range(7)) == [0, 2, 4, 6, 8, 8, 8]
    assert course("linear", 0, 8.0, [0, 1]) == [8, 8]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'cosine'.*step, constant, linear"):
        schedules.get("cosine")
    with pytest.raises(ValueError, match="anneal_steps is -1"):
        schedules.get("step", -1)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.5, 0.0], 2.0 + 0.5 * 3.0),
        ([100.0, 0.0], (2.0 + 100.0 * 3.0) / 100.0),
        ([100.0, 400.0], (2.0 + 100.0 * 3.0 + 400.0 * 5.0) / 400.0),
        ([1.0, 1.0], 2.0 + 3.0 + 5.0),
    ],
)
def test_the_loss_is_divided_by_the_largest_weight_above_one(weights, expected):
    values = [tf.constant(3.0), tf.constant(5.0)]
    loss = schedules.total_loss(
        tf.constant(2.0), values, [tf.constant(w) for w in weights]
    )
    assert float(loss) == pytest.approx(expected)
