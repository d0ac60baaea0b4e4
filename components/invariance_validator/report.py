"""The report of a verdict: one HTML page that needs nothing but a browser.

Everything that comes from data is escaped: by Jinja in the page, by the XML writer in
the curves. Its one script sorts and filters what is there without it, too.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import markupsafe

from components import pages
from components.environment_validator import page as inspection
from components.invariance_validator import (
    beside,
    changed,
    dots,
    lineage,
    loaded,
    matrix,
    multiples,
    panels,
    slice_rows,
)
from components.invariance_validator.checks import Check
from components.invariance_validator.decision import CheckResult, Decision
from components.invariance_validator.metrics import BINARY, TASKS
from components.invariance_validator.slice_rows import interval, span
from components.invariance_validator.slices import FAIL, INSUFFICIENT_DATA, PASS
from components.multi_env_example_gen import bad_rows

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

_TEMPLATE = "report.html.j2"
_MOST_ROWS = 600  # of the table of all slices; the rest is in decision.json
_MOST_NAMES = 40
_METRICS = (
    "auc",
    "mean_squared_error",
    "mean_absolute_error",
    "r_squared",
    "log_loss",
    "accuracy",
    "balanced_accuracy",
    "calibration",
    "calibration_slope",
    "calibration_intercept",
    "calibration_error",
    "irm_gradient",
    "mean_confidence",
    "mean_prediction",
    "mean_label",
)
# Of the metrics above, those that the table leaves out.
_LEFT_OUT = {BINARY: ("calibration_intercept",)}
_UNFIT = ", and the load check refuses it"
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
      digests: of data, model, checks and code: key -> digest or None.
      environments: `environments.json` of the EnvironmentValidator, or None.
      notes: sentences that go with the verdict.
      load_check: `load_check.json` of the ModelValidator, or None.
      changes: what differs from the last blessed run, or None without one.
    """

    decision: Decision
    results: "Sequence[SliceResult]"
    counts: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str | None] = field(default_factory=dict)
    environments: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    load_check: Mapping[str, Any] | None = None
    changes: changed.Changes | None = None


def render(material: Material) -> str:
    """The page.

    Args:
      material: what to show.

    Returns:
      HTML, whose markup is also well-formed XML; without references to anything
      outside.
    """
    environment = pages.environment(os.path.dirname(os.path.abspath(__file__)))
    environment.filters["svg"] = markupsafe.Markup  # made by `svg.to_svg`, escaped
    decision, results = material.decision, material.results
    confidence, has_baseline = decision.rule.confidence, decision.table.has_baseline
    most = slice_rows.most_rows(_number_of_tables(decision))
    sections = panels.sections(decision, results, most)
    compared = beside.changes(decision, results, most)
    tables = [*(s.table for s in sections), *(c.table for c in compared)]
    loads = loaded.shown(material.load_check)
    return environment.get_template(_TEMPLATE).render(
        name=material.context.get("name") or "model",
        method=material.context.get("method"),
        decision=decision,
        confidence=f"{100 * confidence:g}\u00a0%",
        words=_WORDS,
        colors=dots.COLORS,
        headline=_headline(decision, material.load_check),
        notes=material.notes,
        waived=_waived(decision),
        model_digest=material.digests.get("model_digest"),
        reasons=_reasons(decision, loads),
        load_check=loads,
        checks=[
            _check(decision, check, result)
            for check, result in zip(decision.parsed, decision.checks, strict=True)
        ],
        sections=sections,
        drawn=slice_rows.drawn,
        filters=_filters([table for table in tables if table is not None]),
        has_baseline=has_baseline,
        matrices=matrix.matrices(decision, results),
        compared=compared,
        changes=material.changes,
        curves=multiples.calibration(results, decision.task, confidence),
        training=multiples.training(material.history),
        data=_data(material),
        table=_table(material),
        facts=lineage.facts(material.lineage, material.digests, material.context),
        environments=material.environments
        and inspection.section(material.environments),
    )


def _number_of_tables(decision: Decision) -> int:
    """How many tables of slices there may be, at most."""
    shown = TASKS[decision.task].shown
    sections = {*shown, *(check.metric for check in decision.parsed)}
    compared = {*shown, *(c.metric for c in decision.parsed if c.kind == "baseline")}
    return len(sections) + len(compared) * decision.table.has_baseline


def _filters(tables: Sequence[slice_rows.Table]) -> dict[str, list[str]]:
    """What the tables' rows can be filtered by."""
    rows = [row for table in tables for row in table.rows]
    ways = sorted({row.by for row in rows}, key=lambda by: (by.count("×"), by))
    judged = {row.verdict for row in rows}
    return {
        "split": sorted({row.split for row in rows}),
        "by": ways,
        "verdict": [verdict for verdict in _WORDS if verdict in judged],
    }


def _reasons(
    decision: Decision, loads: Mapping[str, Any] | None
) -> list[dict[str, str]]:
    """A sentence for each check and the load check, what stops a release first."""
    found = [
        {"verdict": check.verdict, "text": check.reason, "name": check.name}
        for check in decision.checks
    ]
    if loads is not None:
        said = (
            "The model loads in a clean process, and gives there the scores that were"
            " evaluated."
        )
        if not loads["fit"]:
            said = " ".join(loads["problems"]) or "The load check refuses the model."
        verdict = PASS if loads["fit"] else FAIL
        found.append({"verdict": verdict, "text": said, "name": "load_check"})
    order = (FAIL, INSUFFICIENT_DATA, PASS)
    return sorted(found, key=lambda reason: order.index(reason["verdict"]))


def _headline(decision: Decision, load_check: Mapping[str, Any] | None) -> str:
    unfit = load_check is not None and not load_check.get("blessed")
    if decision.blessed and unfit:
        met = (
            "Every check is" if decision.verdict == PASS else "Not every check is shown"
        )
        return f"{met} met{_UNFIT}. Not to be released."
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
    many = "1 check" if len(decision.checks) == 1 else f"{len(decision.checks)} checks"
    found = f"Of {many}, {' and '.join(parts)}{_UNFIT if unfit else ''}."
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
                "splits": [_size(size, material.decision.task) for size in sizes],
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


def _size(size: Mapping[str, int], task: str) -> tuple[str, str]:
    """Examples, and where there are such the share of positives."""
    examples = size.get("examples", 0)
    if not examples:
        return "–", ""
    if task != BINARY:
        return f"{examples:,}", ""
    return f"{examples:,}", f"{100 * size.get('positives', 0) / examples:.1f} %"


def _table(material: Material) -> dict[str, Any]:
    """Every slice with its metrics; single features before crosses."""
    found = [r for r in material.results if r.model == "candidate"]
    found.sort(key=lambda r: (len(r.slice), [f for f, _ in r.slice]))
    known = {name for result in found for name in result.metrics}
    left_out = _LEFT_OUT.get(material.decision.task, ())
    metrics = [m for m in _METRICS if m in known and m not in left_out]
    confidence = material.decision.rule.confidence
    binary = material.decision.task == BINARY
    rows = []
    for result in found[:_MOST_ROWS]:
        cells = [_measured(result, metric, confidence) for metric in metrics]
        rows.append(
            {
                "name": result.name,
                "split": result.split,
                "by": slice_rows.by_name(tuple(f for f, _ in result.slice)),
                "examples": result.examples,
                "positives": result.positives if binary else None,
                "cells": cells,
            }
        )
    return {
        "metrics": metrics,
        "rows": rows,
        "more": len(found) - len(rows),
        "binary": binary,
    }


def _measured(
    result: "SliceResult", metric: str, confidence: float
) -> tuple[str, str, str]:
    """Text, sorting key and interval of a cell of the table."""
    if metric not in result.metrics:
        return "–", "", ""
    text, key = slice_rows.cell(result.metrics[metric].value)
    return text, key, span(interval(result, metric, confidence))
