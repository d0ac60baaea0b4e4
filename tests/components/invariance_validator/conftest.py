"""Results and counts made by hand.

Replicates are value +- d in turns, d = error / sqrt(19), so that the jackknife's
sqrt(19/20 * 20 * d^2) is exactly the error asked for.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from components.evaluator.results import CalibrationBin, Estimate, SliceResult

BLOCKS = 20
SIGNS = np.tile([1.0, -1.0], BLOCKS // 2)


def estimate(value, error=0.01, signs=SIGNS):
    """An estimate with a standard error; `signs` says how its blocks move."""
    deviations = np.asarray(signs, float) * error / math.sqrt(BLOCKS - 1)
    return Estimate(value, value + deviations)


def result(name="overall", split="eval", examples=1000, positives=None, **metrics):
    """A slice by name or pairs; metrics are values, (value, error) or estimates."""
    model = metrics.pop("model", "candidate")
    bins = metrics.pop("bins", ())
    scores = metrics.pop("scores", None)
    pairs = name
    if isinstance(name, str):
        pairs = [] if name == "overall" else [p.split("=") for p in name.split(",")]
    made = {}
    for metric, value in metrics.items():
        if not isinstance(value, Estimate):
            value = estimate(*value) if isinstance(value, tuple) else estimate(value)
        made[metric] = value
    return SliceResult(
        split=split,
        slice=tuple((feature, value) for feature, value in pairs),
        model=model,
        examples=examples,
        positives=examples // 4 if positives is None else positives,
        metrics=made,
        calibration=bins,
        scores=scores,
    )


def sketch(centre, error=0.01, signs=SIGNS):
    """Scores all at `centre`, as the Evaluator keeps them; blocks move them by `signs`.

    The distribution function of a point is a step, so between two of them the area
    is the distance of the points.
    """
    edges = np.linspace(0, 1, 129)
    points = centre + np.concatenate([[0.0], signs]) * error / math.sqrt(BLOCKS - 1)
    left, right = edges[:-1], edges[1:]
    return np.clip(right - np.maximum(points[:, None], left), 0, None)


def curve():
    """A calibration curve a little off."""
    return tuple(
        CalibrationBin(i / 10, (i + 1) / 10, 100.0, i / 10 + 0.05, i / 11 + 0.05)
        for i in range(10)
    )


def counts(**environments):
    """Counts of environments alone: EWR=1000, or LGA=("ood", 1000)."""
    made = {}
    for name, size in environments.items():
        split, number = size if isinstance(size, tuple) else ("eval", size)
        made[name] = {
            "held_out": split == "ood",
            "splits": {split: {"examples": number, "positives": number // 4}},
            "dropped": {"no_label": 7},
        }
    return {"environments": made, "slices": {"eval": {}, "ood": {}}}


@pytest.fixture
def make():
    """The makers above."""
    return SimpleNamespace(
        estimate=estimate,
        result=result,
        curve=curve,
        counts=counts,
        signs=SIGNS,
        sketch=sketch,
    )
