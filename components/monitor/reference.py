"""How a model scored when it was released: what a stream without labels is held to.

Kept in `decision.json` as `scored`, and in a version's `release.json` as `evaluated`:

    {"eval": [{"slice": [["environment", "EWR"]], "examples": 9000, "mean": 0.21,
               "below": [[0.04, 0.05, 0.1], [0.17, 0.18, 0.51], [0.4, 0.42, 0.9]]}]}

`mean` is that of the scores: of the binary task the probability, of several classes
that of the likeliest. `below` tells their distribution at three places: [low, high,
share], where share is the mean of clip((high - score) / (high - low), 0, 1), which is
how much of the scores lies below the place. A regression has neither; `mean` is null
and `below` empty.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from components.evaluator.distribution import SCORE_EDGES
from components.invariance_validator import metrics

QUANTILES = (0.1, 0.5, 0.9)


def of(results: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    """The reference of an evaluation.

    Args:
      results: `SliceResult`s; those of the candidate count.

    Returns:
      split -> slices, as above.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result.model != "candidate":
            continue
        score = metrics.TASKS[result.task].score
        measured = None if score is None else result.metrics.get(score)
        mean = math.nan if measured is None else measured.value
        entry = {
            "slice": [list(pair) for pair in result.slice],
            "examples": result.examples,
            "mean": float(mean) if math.isfinite(mean) else None,
            "below": [] if result.scores is None else below(result.scores[0]),
        }
        found.setdefault(result.split, []).append(entry)
    return found


def below(sketch: np.ndarray) -> list[list[float]]:
    """Where the `QUANTILES` lie, and how much is below.

    Args:
      sketch: of `distribution.score_sketch`, of all; [SCORE_BINS].

    Returns:
      [low, high, share] of at most three bins; none where the sketch has a NaN.
    """
    if not np.isfinite(sketch).all():
        return []
    share = sketch / np.diff(SCORE_EDGES)
    bins = {int(np.argmin(np.abs(share - q))) for q in QUANTILES}
    return [
        [float(SCORE_EDGES[i]), float(SCORE_EDGES[i + 1]), float(share[i])]
        for i in sorted(bins)
    ]


def ramp(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """clip((high - score) / (high - low), 0, 1), whose mean is a `share`."""
    ramped: np.ndarray = np.clip((high - scores) / (high - low), 0.0, 1.0)
    return ramped
