"""The report of a verdict: one HTML page that needs nothing but a browser.

Everything that comes from data is escaped: by Jinja in the page, by the XML writer in
the curves.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import markupsafe

from components import pages
from components.environment_validator import page as inspection
from components.invariance_validator import curves, dots, panels, svg
from components.invariance_validator.checks import ENVIRONMENT, Check
from components.invariance_validator.decision import CheckResult, Decision
from components.invariance_validator.slices import FAIL, INSUFFICIENT_DATA, PASS
from components.multi_env_example_gen import bad_rows

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

_TEMPLATE = "report.html.j2"
_MOST_ROWS = 600  # of the table of all slices; the rest is in decision.json
_MOST_CURVES = 12
_MOST_NAMES = 40
_METRICS = (
    "auc",
    "log_loss",
    "accuracy",
    "calibration",
    "calibration_slope",
    "calibration_error",
    "irm_gradient",
    "mean_prediction",
    "mean_label",
)
_WORDS = {PASS: "Pass", FAIL: "Fail", INSUFFICIENT_DATA: "Insufficient data"}


@dataclass(frozen=True)
class Material:
    """What a report is made from.

    Attributes:
      decision: of `decision.decide`.
      results: that it was made from.
      counts: of the Examples.
      context: of the component: name, method, versions, ...
      history: `history.json` of the ModelRun, or None.
      lineage: what was judged: label -> URI or id.
      environments: `environments.json` of the EnvironmentValidator, or None.
      notes: sentences that go with the verdict.
    """

    decision: Decision
    results: "Sequence[SliceResult]"
    counts: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()


def render(material: Material) -> str:
    """The page.

    Args:
      material: what to show.

    Returns:
      HTML, whose markup is also well-formed XML; without references to anything
      outside. Its one script sorts the tables of the environments.
    """
    environment = pages.environment(os.path.dirname(os.path.abspath(__file__)))
    environment.filters["svg"] = markupsafe.Markup  # made by `svg.to_svg`, escaped
    decision = material.decision
    return environment.get_template(_TEMPLATE).render(
        name=material.context.get("name") or "model",
        method=material.context.get("method"),
        decision=decision,
        confidence=f"{100 * decision.rule.confidence:g}\u00a0%",
        words=_WORDS,
        colors=dots.COLORS,
        headline=_headline(decision),
        notes=material.notes,
        waived=_waived(decision),
        checks=[
            _check(decision, check, result)
            for check, result in zip(decision.parsed, decision.checks, strict=True)
        ],
        sections=panels.sections(decision, material.results),
        has_baseline=decision.table.has_baseline,
        curves=_calibration(material),
        training=_training(material.history),
        data=_data(material),
        table=_table(material),
        facts=_facts(material),
        environments=material.environments
        and inspection.section(material.environments),
        script=inspection.script_digest(),
    )


def _headline(decision: Decision) -> str:
    if not decision.checks:
        return "There is no check, so nothing is shown: not to be released."
    if decision.verdict == PASS:
        return "Every check is met. This model may be released."
    if decision.blessed:
        return "Not every check is shown to be met. This model may be released."
    failed = sum(check.verdict == FAIL for check in decision.checks)
    lacking = sum(check.verdict == INSUFFICIENT_DATA for check in decision.checks)
    if not failed and not lacking:
        return "Every check is met, but see the note. Not to be released."
    parts = [f"{failed} failed"] if failed else []
    if lacking:
        parts.append(f"{lacking} {_are(lacking)} not settled by the data")
    found = f"Of {len(decision.checks)} checks, {' and '.join(parts)}."
    return f"{found} This model is not to be released."


def _waived(decision: Decision) -> list[str]:
    """What `allow_insufficient` lets pass, or would; the page has it in red."""
    found = []
    for check in decision.checks:
        if check.name not in decision.rule.allow_insufficient:
            continue
        if check.verdict == INSUFFICIENT_DATA:
            found.append(f"{check.name} is not shown and let pass all the same")
        else:
            found.append(f"{check.name} might have ended without enough data")
    return found


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _check(decision: Decision, check: Check, result: CheckResult) -> dict[str, Any]:
    """A row of the table of checks, with the slices that do not pass."""
    outcomes = decision.outcomes[check.name]
    others = [f"{o.reason}." for o in outcomes[1:] if o.verdict != PASS]
    signed = "+" if check.kind in ("baseline", "ood_drop") else ""
    return {
        "name": result.name,
        "verdict": result.verdict,
        "reason": result.reason,
        "asked": asked(check),
        "value": number(result.value, signed),
        "interval": span(result.interval, signed),
        "slice": result.slice or "",
        "split": result.split or "",
        "examples": "" if result.examples is None else f"{result.examples:,}",
        "others": others[:_MOST_NAMES],
        "more": max(0, len(others) - _MOST_NAMES),
    }


def asked(check: Check) -> str:
    """The bound in words: `≥ 0.65`, `drop ≤ 0.01`."""
    if check.kind == "baseline":
        drop = "" if check.minimum is None else f"drop ≤ {abs(check.minimum):g}"
        rise = "" if check.maximum is None else f"rise ≤ {check.maximum:g}"
        return ", ".join(filter(None, [drop, rise]))
    if check.kind == "ood_drop":
        return f"worse by ≤ {check.maximum:g}"
    low = "" if check.minimum is None else f"≥ {check.minimum:g}"
    high = "" if check.maximum is None else f"≤ {check.maximum:g}"
    return ", ".join(filter(None, [low, high]))


def number(value: float | None, sign: str = "") -> str:
    """Three decimals, two digits of what is smaller, a dash for no number."""
    if value is None or not math.isfinite(value):
        return "–"
    return dots.number(value, sign)


def span(interval: Sequence[float] | None, sign: str = "") -> str:
    """`0.671 to 0.705`, or nothing."""
    if interval is None:
        return ""
    return f"{number(interval[0], sign)} to {number(interval[1], sign)}"


def _calibration(material: Material) -> dict[str, Any]:
    """Small multiples: one curve an environment, all on the same axes."""
    found, released = [], {}
    for result in material.results:
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
    confidence = material.decision.rule.confidence
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
                ),
            }
        )
    return {"plots": drawn, "total": total}


def _miscalibration(result: "SliceResult") -> float:
    estimate = result.metrics.get("calibration_slope")
    if estimate is None or not estimate.value > 0:
        return math.inf
    return abs(math.log(estimate.value))


def _described(
    result: "SliceResult", metric: str, label: str, confidence: float
) -> str:
    estimate = result.metrics[metric]
    found = panels.interval(result, metric, confidence)
    text = f"{label} {number(estimate.value)}"
    return f"{text} ({span(found)})" if found else text


def _training(history: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The curves of a training run, or None where there is no history."""
    if not history:
        return None
    weight = curves.series(history, "steps", "weight")
    penalty = curves.series(history, "steps", "penalty")
    multiplier = curves.series(history, "constraint_steps", "multiplier")
    bounds = " and ".join(
        f"{name} at most {number(bound)}"
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
            ends = [f"{line.name} ends at {number(line.y[-1])}" for line in lines[:20]]
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


def _data(material: Material) -> dict[str, Any]:
    """Counts by environment and split, what was dropped, what was pooled."""
    environments = material.counts.get("environments", {})
    entries = environments.items()
    splits = [
        split
        for split in ("train", "eval", "ood")
        if any(split in entry.get("splits", {}) for _, entry in entries)
    ]
    reasons = list(dict.fromkeys(k for _, e in entries for k in e.get("dropped", {})))
    rows = []
    for name, entry in entries:
        sizes = [entry.get("splits", {}).get(split, {}) for split in splits]
        rows.append(
            {
                "name": name,
                "role": "held out" if entry.get("held_out") else "training",
                "splits": [_size(size) for size in sizes],
                "dropped": [f"{entry.get('dropped', {}).get(r, 0):,}" for r in reasons],
            }
        )
    pooled = [
        {
            "where": f"{features.replace(',', ' × ')} in {split}",
            "values": [f"{value} ({n:,})" for value, n in values[:_MOST_NAMES]],
            "more": max(0, len(values) - _MOST_NAMES),
            "total": f"{sum(n for _, n in values):,}",
        }
        for split, by_feature in material.decision.table.pooled().items()
        for features, values in by_feature.items()
    ]
    missing = material.counts.get("missing") or {}
    return {
        "splits": splits,
        "reasons": [reason.replace("_", " ") for reason in reasons],
        "rows": rows,
        "pooled": pooled,
        "missing": [f"{name} {n:,}" for name, n in missing.items() if n],
        "bad_rows": bad_rows.told(material.counts.get("bad_rows") or {}),
        "left_out": material.counts.get("left_out", 0),
    }


def _size(size: Mapping[str, int]) -> tuple[str, str]:
    examples = size.get("examples", 0)
    if not examples:
        return "–", ""
    return f"{examples:,}", f"{100 * size.get('positives', 0) / examples:.1f} %"


def _table(material: Material) -> dict[str, Any]:
    """Every slice with its metrics; single features before crosses."""
    found = [r for r in material.results if r.model == "candidate"]
    found.sort(key=lambda r: (len(r.slice), [f for f, _ in r.slice]))
    known = {name for result in found for name in result.metrics}
    metrics = [metric for metric in _METRICS if metric in known]
    confidence = material.decision.rule.confidence
    rows = []
    for result in found[:_MOST_ROWS]:
        cells = [_measured(result, metric, confidence) for metric in metrics]
        rows.append(
            {
                "name": result.name,
                "split": result.split,
                "examples": f"{result.examples:,}",
                "positives": f"{result.positives:,}",
                "cells": cells,
            }
        )
    return {"metrics": metrics, "rows": rows, "more": len(found) - len(rows)}


def _measured(result: "SliceResult", metric: str, confidence: float) -> tuple[str, str]:
    """Value and interval of a cell of the table."""
    if metric not in result.metrics:
        return "–", ""
    interval = panels.interval(result, metric, confidence)
    return number(result.metrics[metric].value), span(interval)


def _facts(material: Material) -> list[tuple[str, str]]:
    """Lineage and context as label and text; nested ones by path."""
    facts = [(key, str(value)) for key, value in material.lineage.items()]
    for key, value in material.context.items():
        facts += _flattened(key, value)
    return facts


def _flattened(key: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair
            for name, inner in value.items()
            for pair in _flattened(f"{key}: {name}", inner)
        ]
    if isinstance(value, list | tuple):
        return [(key, ", ".join(map(str, value)))] if value else []
    return [] if value is None else [(key, str(value))]
