"""Schedules of the weight, and the division of the loss."""

import math

import pytest
import tensorflow as tf

from trainer_module import schedules


def course(kind, anneal_steps, weight, steps, initial=None):
    schedule = schedules.get(kind, anneal_steps, initial)
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


def test_cosine_rises_along_half_a_cosine():
    expected = [4 * (1 - math.cos(math.pi * min(s, 4) / 4)) for s in range(7)]
    assert course("cosine", 4, 8.0, range(7)) == pytest.approx(expected)
    assert course("cosine", 0, 8.0, [0, 1]) == [8, 8]


def test_a_schedule_starts_where_it_is_told_but_not_above_the_weight():
    assert course("step", 2, 8.0, range(4), initial=0.0) == [0, 0, 8, 8]
    assert course("linear", 4, 8.0, range(5), initial=4.0) == [4, 5, 6, 7, 8]
    assert course("cosine", 2, 8.0, range(3), initial=4.0) == pytest.approx([4, 6, 8])
    assert course("linear", 4, 2.0, range(5), initial=4.0) == [2] * 5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="'cos'.*step, constant, linear, cosine"):
        schedules.get("cos")
    with pytest.raises(ValueError, match="anneal_steps is -1"):
        schedules.get("step", -1)
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="initial_weight is .*expected 0 or more"):
            schedules.get("step", 1, wrong)


def loss(weights, replaces, risk=2.0, decay=0.5):
    values = [tf.constant(3.0), tf.constant(5.0)]
    weights = [tf.constant(weight) for weight in weights]
    return float(
        schedules.total_loss(
            tf.constant(risk), tf.constant(decay), values, weights, replaces
        )
    )


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.5, 0.0], 2.5 + 0.5 * 3.0),
        ([100.0, 0.0], (2.5 + 100.0 * 3.0) / 100.0),
        ([100.0, 400.0], (2.5 + 100.0 * 3.0 + 400.0 * 5.0) / 400.0),
        ([1.0, 1.0], 2.5 + 3.0 + 5.0),
    ],
)
def test_the_loss_is_divided_by_the_largest_weight_above_one(weights, expected):
    assert loss(weights, [False, False]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.0, 0.0], 2.0 + 0.5),
        ([0.25, 0.0], 0.75 * 2.0 + 0.5 + 0.25 * 3.0),
        ([1.0, 0.0], 0.5 + 3.0),
        ([1.0, 0.5], 0.5 + 3.0 + 0.5 * 5.0),
        ([10.0, 0.0], (0.5 + 10.0 * 3.0) / 10.0),
    ],
)
def test_what_replaces_the_risk_takes_its_place_as_its_weight_rises(weights, expected):
    assert loss(weights, [True, False]) == pytest.approx(expected)
