"""The report's small multiples: calibration by environment, and training."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.invariance_validator import curves, svg
from components.invariance_validator.kinds import ENVIRONMENT
from components.invariance_validator.metrics import BINARY, MULTICLASS
from components.invariance_validator.slice_rows import cell, interval, span

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

_MOST_CURVES = 12
# Of a calibration curve; a regression has none.
_AXES = {
    BINARY: ("mean prediction", "observed share"),
    MULTICLASS: ("mean confidence", "share right"),
}


def calibration(
    results: "Sequence[SliceResult]", task: str, confidence: float
) -> dict[str, Any]:
    """One curve an environment, all on the same axes.

    Args:
      results: of candidate and, thin and grey, released model.
      task: binary, multiclass or regression, which has none.
      confidence: of the intervals of slope and ratio.

    Returns:
      `plots` (name, note, plot), `total` environments that have a curve, `top`: whether
      it is that of the likeliest class.
    """
    found, released = [], {}
    for result in results:
        if [feature for feature, _ in result.slice] == [ENVIRONMENT]:
            if result.model == "candidate" and curves.visible(result.calibration):
                found.append(result)
            elif result.model == "baseline":
                released[result.split, result.name] = result.calibration
    total = len(found)
    if total > _MOST_CURVES:
        found.sort(key=_miscalibration, reverse=True)
        found = found[:_MOST_CURVES]
    ends = [
        max(b.mean_prediction, b.mean_label)
        for result in found
        for b in curves.visible(result.calibration)
    ]
    most = min(1.0, math.ceil(10 * max(ends, default=1.0) + 0.2) / 10)
    drawn = []
    for i, result in enumerate(found):
        name = f"{svg.shortened(result.slice[0][1], 48)} ({result.split})"
        note = [
            _described(result, key, label, confidence)
            for key, label in (("calibration_slope", "slope"), ("calibration", "ratio"))
            if key in result.metrics
        ]
        drawn.append(
            {
                "name": name,
                "note": note,
                "plot": curves.calibration_plot(
                    result.calibration,
                    released.get((result.split, result.name), ()),
                    most,
                    curves.LINES[i % len(curves.LINES)],
                    f"Calibration curve of {name}: {'; '.join(note)}",
                    f"calibration-{i}",
                    _AXES[task],
                ),
            }
        )
    return {"plots": drawn, "total": total, "top": task == MULTICLASS}


def _miscalibration(result: "SliceResult") -> float:
    estimate = result.metrics.get("calibration_slope")
    if estimate is None or not estimate.value > 0:
        return math.inf
    return abs(math.log(estimate.value))


def _described(
    result: "SliceResult", metric: str, label: str, confidence: float
) -> str:
    estimate = result.metrics[metric]
    found = interval(result, metric, confidence)
    text = f"{label} {_number(estimate.value)}"
    return f"{text} ({span(found)})" if found else text


def training(history: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The curves of a training run, or None where there is no `history.json`."""
    if not history:
        return None
    weight = curves.series(history, "steps", "weight")
    penalty = curves.series(history, "steps", "penalty")
    multiplier = curves.series(history, "constraint_steps", "multiplier")
    bounds = " and ".join(
        f"{name} at most {_number(bound)}"
        for name, bound in (history.get("bounds") or {}).items()
    )
    figures: list[dict[str, str]] = []
    for title, lines, step, note in (
        (
            "Risk on training batches",
            curves.series(history, "steps", "risk"),
            None,
            "by environment",
        ),
        (
            "Risk on eval",
            curves.series(history, "eval_steps", "eval_risk"),
            None,
            "by environment",
        ),
        ("Penalty", penalty, weight[0] if weight else None, "its weight in grey"),
        (
            "Constraint",
            curves.series(history, "constraint_steps", "constraint"),
            multiplier[0] if multiplier else None,
            f"{bounds}; what it multiplies the weight by in grey",
        ),
    ):
        if lines:
            ends = [f"{line.name} ends at {_number(line.y[-1])}" for line in lines[:20]]
            label = f"{title} over training steps: {'; '.join(ends)}"
            prefix = f"training-{len(figures)}"
            plot = curves.line_plot(lines, label, prefix, step)
            figures.append({"title": title, "note": note, "plot": plot})
    facts = [
        f"{key} {history[key]}" for key in ("method", "device") if history.get(key)
    ]
    if history.get("steps"):
        facts.append(f"{history['steps'][-1]:,} steps")
    return {"plots": figures, "facts": ", ".join(facts)}


def _number(value: float) -> str:
    return cell(value)[0]
