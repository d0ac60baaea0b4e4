"""The gap matrix: how far every two environments lie apart in a metric.

A cell is the row's environment minus the column's, with the interval of the difference
formed block by block, and a mark where that excludes 0. Environments of eval and of ood
stand together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components import pages
from components.invariance_validator import intervals
from components.invariance_validator.decision import Decision
from components.invariance_validator.kinds import ENVIRONMENT
from components.invariance_validator.meanings import MEANINGS
from components.invariance_validator.metrics import TASKS
from components.invariance_validator.slice_rows import cell, span

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

MOST = 12  # environments of a matrix; of more, those with the most extreme values
_MOST_SPELLED = 6  # environments whose cells have room for the interval, too


@dataclass(frozen=True)
class Cell:
    """A difference of two environments.

    Attributes:
      value: row minus column; NaN where either is undefined.
      interval: two-sided, or None.
      text: the difference with its sign.
      apart: whether the interval excludes 0.
      told: the interval in words, or empty.
      color: a background.
    """

    value: float
    interval: tuple[float, float] | None
    text: str
    apart: bool
    told: str
    color: str


@dataclass(frozen=True)
class Matrix:
    """Of one metric.

    Attributes:
      metric: its name.
      meaning: in words.
      names: of the environments, in the order of rows and columns.
      values: texts of the metric itself.
      rows: cells; None on the diagonal.
      total: how many environments there are.
      bound: of the gap check, or None.
      spelled: whether cells show their interval.
    """

    metric: str
    meaning: str
    names: list[str]
    values: list[str]
    rows: list[list[Cell | None]]
    total: int
    bound: float | None
    spelled: bool


def matrices(decision: Decision, results: "Sequence[SliceResult]") -> list[Matrix]:
    """One for each metric that a gap check names, and for the task's main ones.

    Args:
      decision: what was decided.
      results: that it was decided from.

    Returns:
      Those of at least two environments.
    """
    bounds: dict[str, float | None] = {}
    for check in decision.parsed:
        if check.kind == "gap":
            over = check.over is None or (ENVIRONMENT,) in check.over
            bounds[check.metric] = check.maximum if over else None
    task, found = TASKS[decision.task], []
    for metric in dict.fromkeys([*bounds, *task.shown, task.risk]):
        here = [
            result
            for result in results
            if result.model == "candidate"
            and [feature for feature, _ in result.slice] == [ENVIRONMENT]
            and metric in result.metrics
        ]
        if len(here) > 1:
            meaning = MEANINGS[decision.task][metric]
            found.append(_matrix(metric, meaning, here, decision, bounds.get(metric)))
    return found


def _matrix(
    metric: str,
    meaning: str,
    results: "list[SliceResult]",
    decision: Decision,
    bound: float | None,
) -> Matrix:
    kept = _extreme(metric, results)
    confidence = decision.rule.confidence
    differences = [_differences(metric, one, kept, confidence) for one in kept]
    sizes = [abs(v) for row in differences for v, _ in row if math.isfinite(v)]
    full = bound or max(sizes, default=0.0) or 1.0
    rows = [
        [None if i == j else _cell(*found, full) for j, found in enumerate(row)]
        for i, row in enumerate(differences)
    ]
    return Matrix(
        metric=metric,
        meaning=meaning,
        names=[_name(result) for result in kept],
        values=[cell(result.metrics[metric].value)[0] for result in kept],
        rows=rows,
        total=len(results),
        bound=bound,
        spelled=len(kept) <= _MOST_SPELLED,
    )


def _extreme(metric: str, results: "list[SliceResult]") -> "list[SliceResult]":
    """At most `MOST`, in their order: undefined ones, then the lowest and highest."""
    if len(results) <= MOST:
        return results

    def value(i: int) -> float:
        found = results[i].metrics[metric].value
        return found if math.isfinite(found) else -math.inf

    order = sorted(range(len(results)), key=value)
    chosen = {*order[: MOST // 2], *order[-(MOST - MOST // 2) :]}
    return [result for i, result in enumerate(results) if i in chosen]


def _differences(
    metric: str, one: "SliceResult", others: "list[SliceResult]", confidence: float
) -> list[tuple[float, tuple[float, float] | None]]:
    """Of an environment and each: the difference and its two-sided interval."""
    first = one.metrics[metric]
    rest = [other.metrics[metric] for other in others]
    spread = intervals.difference(
        first.value,
        first.replicates,
        [estimate.value for estimate in rest],
        intervals.rows([e.replicates for e in rest], len(first.replicates)),
        scale=TASKS[one.task].info(metric).scale,
    )
    low, high = spread.limits((1 + confidence) / 2)
    usable = np.broadcast_to(spread.usable, low.shape)
    return [
        (float(spread.value[j]), (float(low[j]), float(high[j])) if usable[j] else None)
        for j in range(len(others))
    ]


def _cell(value: float, interval: tuple[float, float] | None, full: float) -> Cell:
    apart = interval is not None and (interval[0] > 0 or interval[1] < 0)
    share = abs(value) / full if math.isfinite(value) else 0.0
    return Cell(
        value=value,
        interval=interval,
        text=cell(value, "+")[0],
        apart=apart,
        told=span(interval, "+"),
        color=pages.shade(share, warm=value < 0),
    )


def _name(result: "SliceResult") -> str:
    name = result.slice[0][1]
    return f"{name} (held out)" if result.split == "ood" else name
