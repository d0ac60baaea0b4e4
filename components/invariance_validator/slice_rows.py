"""The report's tables of all slices: a metric's value on each, sortable, filterable."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import markupsafe

from components.invariance_validator import distances, intervals, spreads
from components.invariance_validator.decision import Decision
from components.invariance_validator.dots import number
from components.invariance_validator.judging import SEVERITY, Outcome
from components.invariance_validator.kinds import CALIBRATION_ERROR, CALIBRATION_SLOPE
from components.invariance_validator.metrics import TASKS
from components.invariance_validator.slices import PASS
from components.invariance_validator.strips import scale, strip

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

MOST_ROWS = 600  # of a table
_MOST_OF_ALL = 4_000  # rows of all tables of a report
# Kinds whose bounds hold for the metric of every slice.
_ABSOLUTE = ("worst", CALIBRATION_SLOPE, CALIBRATION_ERROR)


@dataclass(frozen=True)
class Row:
    """A slice in a table.

    Attributes:
      name: of the slice, `carrier=UA`.
      split: eval or ood.
      by: the features it is sliced by, `environment × carrier`, or `overall`.
      examples: evaluated, of the slice.
      value: what is drawn; NaN where it is undefined or was not evaluated.
      interval: two-sided, or None.
      verdict: of the slice in the check, or None where none judges it.
      strip: its dot plot.
      more: further cells, each a text and the number to sort by.
    """

    name: str
    split: str
    by: str
    examples: int
    value: float
    interval: tuple[float, float] | None
    verdict: str | None
    strip: markupsafe.Markup = markupsafe.Markup("")
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows, the worst first; `total` is how many there would be without a cap."""

    rows: list[Row]
    total: int
    low: float
    high: float

    @property
    def judged(self) -> bool:
        """Whether a check judges any of its rows."""
        return any(row.verdict for row in self.rows)


Bounds = tuple[float | None, float | None]


def interval(
    result: "SliceResult", metric: str, confidence: float
) -> tuple[float, float] | None:
    """Two-sided interval of a metric on a slice, or None where it has none."""
    found: intervals.Spread
    if metric in TASKS[result.task].norms:
        found = distances.of_estimates([result.metrics[metric]])
    else:
        found = intervals.stack([spreads.single(result, metric)])
    return two_sided(found, confidence)


def two_sided(
    spread: intervals.Spread, confidence: float
) -> tuple[float, float] | None:
    """Two-sided interval of a spread of shape [1], or None where it has none."""
    if not spread.usable[0]:
        return None
    low, high = spread.limits((1 + confidence) / 2)
    return float(low[0]), float(high[0])


def absolute(metric: str, decision: Decision) -> tuple[Sequence[Outcome], Bounds]:
    """What bounds a metric on every slice, and what that says to each.

    Returns:
      Outcomes and (minimum, maximum) of the first such check; none where none is.
    """
    for check in decision.parsed:  # both `worst` and `calibration_slope` may be there
        if check.metric == metric and check.kind in _ABSOLUTE:
            return decision.outcomes[check.name], (check.minimum, check.maximum)
    return (), (None, None)


def most_rows(tables: int) -> int:
    """How many rows each of so many tables may have."""
    return min(MOST_ROWS, _MOST_OF_ALL // max(tables, 1))


def table(
    metric: str,
    decision: Decision,
    results: "Sequence[SliceResult]",
    most: int = MOST_ROWS,
) -> Table | None:
    """All slices of a metric, undefined and failed ones first.

    Args:
      metric: a key of the results' metrics.
      decision: what was decided.
      results: that it was decided from.
      most: rows at most.

    Returns:
      The table; None where the metric is of no slice.
    """
    outcomes, bounds = absolute(metric, decision)
    judged = {(o.split, o.slice): o for o in outcomes}
    rows = []
    for result in results:
        if result.model == "candidate" and metric in result.metrics:
            outcome = judged.pop((result.split, result.name), None)
            rows.append(_row(result, metric, decision, outcome))
    if not rows:
        return None
    for outcome in judged.values():
        by = by_name(outcome.scope)
        missing = (outcome.examples, math.nan, None, outcome.verdict)
        rows.append(Row(outcome.slice, outcome.split, by, *missing))
    better = TASKS[decision.task].info(metric).better
    return finished(rows, badness(better, bounds), bounds, most)


def _row(
    result: "SliceResult", metric: str, decision: Decision, outcome: Outcome | None
) -> Row:
    return Row(
        name=result.name,
        split=result.split,
        by=by_name(tuple(feature for feature, _ in result.slice)),
        examples=result.examples,
        value=result.metrics[metric].value,
        interval=interval(result, metric, decision.rule.confidence),
        verdict=outcome.verdict if outcome else None,
    )


def badness(better: str | None, bounds: Bounds) -> Callable[[float], float]:
    """How bad a value is; of one without a better end, how near to its bounds."""
    low, high = bounds
    if better == "higher":
        return lambda value: -value
    if better == "lower":
        return lambda value: value
    if low is not None and high is not None:
        return lambda value: abs(value - (low + high) / 2)
    return (lambda value: -value) if low is not None else (lambda value: value)


def finished(
    rows: Sequence[Row],
    bad: Callable[[float], float],
    bounds: Bounds,
    most: int,
    marks: Sequence[float] = (),
) -> Table:
    """Sorted, capped and drawn on one scale.

    Args:
      rows: without their plots.
      bad: the larger, the worse a value.
      bounds: drawn where a row is judged.
      most: rows at most.
      marks: drawn always.
    """

    def order(row: Row) -> tuple[int, float, str, str]:
        severity = SEVERITY[row.verdict or PASS]
        badly = math.inf if math.isnan(row.value) else bad(row.value)
        return severity, -badly, row.name, row.split

    kept = sorted(rows, key=order)[:most]
    drawn = [bound for bound in bounds if bound is not None]
    drawn = [*marks, *(drawn if any(row.verdict for row in kept) else [])]
    on = scale((r.value for r in kept), (r.interval for r in kept), drawn)
    finals = [
        replace(row, strip=strip(row.value, row.interval, row.verdict, on, drawn))
        for row in kept
    ]
    return Table(finals, len(rows), on.low, on.high)


def by_name(scope: tuple[str, ...]) -> str:
    """What a slice is sliced by, in words."""
    return " × ".join(scope) or "overall"


def cell(value: float, sign: str = "") -> tuple[str, str]:
    """A number's text and what to sort it by; empty where there is none."""
    if not math.isfinite(value):
        return "–", ""
    return number(value, sign), f"{value:.6g}"


def span(ends: Sequence[float] | None, sign: str = "") -> str:
    """`0.671 to 0.705`, or nothing."""
    if ends is None:
        return ""
    return f"{cell(ends[0], sign)[0]} to {cell(ends[1], sign)[0]}"


def drawn(found: Table | None, sign: str = "") -> Mapping[str, object] | None:
    """A table as the template takes it."""
    if found is None:
        return None
    return {
        "rows": [
            {
                "row": row,
                "value": cell(row.value, sign),
                "interval": span(row.interval, sign),
                "examples": (f"{row.examples:,}", str(row.examples)),
            }
            for row in found.rows
        ],
        "judged": found.judged,
        "more": found.total - len(found.rows),
        "total": found.total,
        "ends": (cell(found.low, sign)[0], cell(found.high, sign)[0]),
    }
