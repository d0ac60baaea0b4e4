"""What a probe's answer says of a model."""

import copy

import pytest

from components.model_validator import judge
from components.model_validator.bounds import Bounds

SCORES = {"probabilities": [[0.25], [0.5], [0.75]], "logits": [[-1.1], [0.0], [1.1]]}
BOUNDS = Bounds(latency_ms=10, memory_mb=2_000, load_seconds=5, tolerance=1e-4)


def answer(**changes):
    fit = {
        "signatures": ["raw", "serving_default", "transformed"],
        "scores": SCORES,
        "alone": {name: rows[:2] for name, rows in SCORES.items()},
        "raw": SCORES,
        "transformed": SCORES,
        "warmup": 9,
        "warmup_not_finite": 0,
        "load_seconds": 1.0,
        "latency_ms": {"1": [1.0, 2.0], "64": [3.0, 400.0]},
        "peak_mb": 1_000.0,
    }
    return copy.deepcopy(fit | changes)


def moved(rows=2, by=0.01):
    found = copy.deepcopy(SCORES)
    found["probabilities"][rows][0] += by
    return found


def test_a_model_that_is_fit():
    assert judge.problems(answer(), SCORES, BOUNDS) == []


def test_rounding_is_no_difference():
    assert judge.problems(answer(), moved(by=1e-5), BOUNDS) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scores": moved(), "raw": moved(), "transformed": moved()}, "evaluated"),
        ({"alone": {n: [[9.0], [9.0]] for n in SCORES}}, "one example at a time"),
        ({"raw": moved()}, "'raw'"),
        ({"transformed": moved()}, "'transformed'"),
        ({"raw": moved(by=float("nan"))}, "'raw'"),
        ({"signatures": ["serving_default", "raw"]}, "no signature 'transformed'"),
        ({"warmup_not_finite": 2}, "2 of its 9 warm-up requests"),
        ({"latency_ms": {"1": [1.0, 10.5], "64": [1.0, 1.0]}}, "latency_ms is 10"),
        ({"latency_ms": {"1": [1.0, float("nan")], "64": [1, 1]}}, "latency_ms"),
        ({"peak_mb": 2_001.0}, "memory_mb is 2,000"),
        ({"load_seconds": 6.0}, "load_seconds is 5"),
    ],
)
def test_one_thing_wrong_is_one_sentence(changes, says):
    (found,) = judge.problems(answer(**changes), SCORES, BOUNDS)
    assert says in found


@pytest.mark.parametrize(
    ("evaluated", "says"),
    [
        (
            {"probabilities": SCORES["probabilities"]},
            "logits, probabilities instead of",
        ),
        (SCORES | {"logits": [[0.0]]}, "logits has not as many values"),
        ({name: [] for name in SCORES}, "logits has not as many values"),
        (SCORES | {"logits": [[float("nan")], [0.0], [1.1]]}, "logits of example 1"),
    ],
)
def test_scores_of_another_form_differ(evaluated, says):
    (found,) = judge.problems(answer(), evaluated, BOUNDS)
    assert says in found


def test_the_farthest_score_is_named():
    scores = moved(by=0.2)
    (found,) = judge.problems(answer(), scores, BOUNDS)
    assert "probabilities of example 3 is 0.75, not 0.95" in found


def test_no_example_is_no_proof():
    nothing = {name: [] for name in SCORES}
    found = judge.problems(
        answer(scores=nothing, alone=nothing, raw=None, transformed=None),
        nothing,
        BOUNDS,
    )
    assert found and "no example to ask" in found[0]


def test_without_serving_default_nothing_else_is_said():
    bare = {"signatures": ["predict"], "load_seconds": 1.0, "peak_mb": 1.0}
    found = judge.problems(bare, SCORES, BOUNDS)
    assert len(found) == 3
    assert "has no signature 'serving_default', only predict" in found[1]
