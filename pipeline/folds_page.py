"""What the folds of `held_out: each` found: the table for the terminal, the page."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.invariance_validator import dots, svg
from components.invariance_validator.judging import SEVERITY
from pipeline import comparison, pages, tables
from pipeline.config import ENVIRONMENT

_SHOWN = ("held_out", "mean")
_MOST = 60  # characters of a name
_MOST_OF_REASON = 600


def measured(fold: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metrics of each environment: those trained on by `eval`, the held-out by `ood`.

    Args:
      fold: an item of `folds` in `summary.json`.

    Returns:
      environment -> split, examples and metrics, NaN where undefined; the held-out one
      first, without those that were too few to be measured apart.
    """
    held_out = fold["environment"]
    found = {}
    for name in sorted(fold["environments"], key=lambda n: (n != held_out, n)):
        split = "ood" if name == held_out else "eval"
        values = fold["metrics"].get(split, {}).get(f"{ENVIRONMENT}={name}")
        if values is not None:
            found[name] = {
                "split": split,
                "examples": fold["environments"][name][split],
                **{
                    metric: math.nan if values.get(metric) is None else values[metric]
                    for metric in comparison.metrics_of(values)
                },
            }
    return found


def columns_of(folds: Sequence[Mapping[str, Any]]) -> list[comparison.Column]:
    """Figures that are shown: score, loss and slope, held out and in training."""
    names = {n for fold in folds for e in measured(fold).values() for n in e}
    score, loss = comparison.metrics_of(names)[:2]
    keys = [f"{metric}_{part}" for metric in (score, loss) for part in _SHOWN]
    keys += ["slope_held_out", "slope_training"]
    return [c for key in keys for c in comparison.COLUMNS if c.key == key]


def _cells(fold: Mapping[str, Any], columns: Sequence[comparison.Column]) -> list[str]:
    figures = comparison.figures_of(measured(fold))
    return [
        comparison.cell([figures.get(c.key, math.nan), math.nan], c.digits)
        for c in columns
    ]


def table(folds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The folds as lines of a Markdown table, columns aligned."""
    columns = columns_of(folds)
    lines = [["held out", "verdict", *(column.title for column in columns)]]
    for fold in folds:
        name = tables.brief(fold["environment"]).replace("|", "\\|")
        lines.append([name, fold["verdict"] or "failed", *_cells(fold, columns)])
    return tables.markdown(lines)


def page(name: str, seconds: float, summary: Mapping[str, Any]) -> str:
    """The HTML page.

    Args:
      name: of the config.
      seconds: that it took.
      summary: what `summary.json` holds.
    """
    folds = summary["folds"]
    columns = columns_of(folds)
    return pages.render(
        "folds.html.j2",
        name=name,
        facts=f"{summary['method']}, {datetime.date.today()}, {seconds:.0f} s",
        headline=_headline(folds),
        colors=dots.COLORS,
        columns=columns,
        rows=[
            {
                "name": svg.shortened(fold["environment"], _MOST),
                "verdict": fold["verdict"],
                "cells": _cells(fold, columns),
                "worst": _worst(fold),
                "report": fold["report"],
            }
            for fold in folds
        ],
        titles=comparison.titles_of(
            [e for fold in folds for e in measured(fold).values()]
        ),
        lines=[
            {
                "held_out": svg.shortened(fold["environment"], _MOST),
                "environment": svg.shortened(name, _MOST),
                "split": entry["split"],
                "examples": f"{entry['examples']:,}",
                "numbers": comparison.numbers(entry),
            }
            for fold in folds
            for name, entry in measured(fold).items()
        ],
    )


def _headline(folds: Sequence[Mapping[str, Any]]) -> str:
    passed = sum(fold["verdict"] == "PASS" for fold in folds)
    failed = sum(fold["error"] is not None for fold in folds)
    text = f"{passed} of {len(folds)} environments pass when held out"
    return f"{text}; {failed} could not be tried" if failed else text


def _worst(fold: Mapping[str, Any]) -> dict[str, str]:
    """The check that decided, with its reason; or the error."""
    if fold["error"]:
        return {"name": "", "reason": _reason(fold["error"]["sentence"])}
    check = min(fold["checks"], key=lambda check: SEVERITY[check["verdict"]])
    if check["verdict"] == "PASS":
        return {"name": "", "reason": "Every check passes."}
    return {"name": check["name"], "reason": _reason(check["reason"])}


def _reason(text: str) -> str:
    return svg.shortened(text, _MOST_OF_REASON)
