"""The candidate beside the released model, slice by slice, the worst change first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.invariance_validator import intervals, slice_rows, spreads
from components.invariance_validator.decision import Decision
from components.invariance_validator.judging import Outcome
from components.invariance_validator.meanings import MEANINGS
from components.invariance_validator.metrics import TASKS
from components.invariance_validator.slice_rows import Row, Table

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult


@dataclass(frozen=True)
class Change:
    """How a metric changed: a row a slice, with both values in `Row.more`."""

    metric: str
    meaning: str
    table: Table


def changes(
    decision: Decision, results: "Sequence[SliceResult]", most: int
) -> list[Change]:
    """Of each metric that a baseline check names, and of the task's main ones.

    Args:
      decision: what was decided.
      results: of both models.
      most: rows of a table at most.

    Returns:
      Those that both models have on some slice; none without a released model.
    """
    task = TASKS[decision.task]
    named = [c.metric for c in decision.parsed if c.kind == "baseline"]
    found = []
    for metric in dict.fromkeys([*named, *task.shown]):
        rows, bounds = _rows(metric, decision, results)
        if rows:
            bad = slice_rows.badness(task.info(metric).better, (None, None))
            if task.info(metric).better is None:
                bad = abs
            made = slice_rows.finished(rows, bad, bounds, most, marks=(0.0,))
            found.append(Change(metric, MEANINGS[decision.task][metric], made))
    return found


def _rows(
    metric: str, decision: Decision, results: "Sequence[SliceResult]"
) -> tuple[list[Row], slice_rows.Bounds]:
    judged: dict[tuple[str, str], Outcome] = {}
    bounds: slice_rows.Bounds = (None, None)
    for check in decision.parsed:
        if check.kind == "baseline" and check.metric == metric:
            judged = {(o.split, o.slice): o for o in decision.outcomes[check.name]}
            bounds = (check.minimum, check.maximum)
    released = {
        (r.split, r.name): r
        for r in results
        if r.model == "baseline" and metric in r.metrics
    }
    rows = []
    for result in results:
        other = released.get((result.split, result.name))
        if result.model != "candidate" or metric not in result.metrics or not other:
            continue
        outcome = judged.get((result.split, result.name))
        value, ends = _change(result, other, metric, decision.rule.confidence)
        rows.append(
            Row(
                name=result.name,
                split=result.split,
                by=slice_rows.by_name(tuple(feature for feature, _ in result.slice)),
                examples=result.examples,
                value=value,
                interval=ends,
                verdict=outcome.verdict if outcome else None,
                more=(
                    slice_rows.cell(result.metrics[metric].value),
                    slice_rows.cell(other.metrics[metric].value),
                ),
            )
        )
    return rows, bounds


def _change(
    result: "SliceResult", other: "SliceResult", metric: str, confidence: float
) -> tuple[float, tuple[float, float] | None]:
    """Difference and interval; of other examples there is no difference to speak of."""
    replicates = (len(r.metrics[metric].replicates) for r in (result, other))
    if result.examples != other.examples or len(set(replicates)) > 1:
        return math.nan, None
    found = intervals.stack([spreads.change(result, other, metric)])
    return float(found.value[0]), slice_rows.two_sided(found, confidence)
