"""`tfx-irm inspect`: may these environments be trained on together?

Ingestion and statistics are those of `tfx-irm run`, which reuses them.
"""

import json
import os
import shutil
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

from components.environment_validator import figures
from pipeline import local_runner, run_log
from pipeline.config import PipelineConfig
from pipeline.tables import SENTENCE, brief

STAGE = "EnvironmentValidator"
RECORD = "environments.json"
PAGE = "environments.html"
_WIDTH = 96
_MOST_ROWS = 40
_MARKS = {"error": "ERROR", "warn": "warn", "note": "note"}


def inspect(config: PipelineConfig, *, debug: bool = False) -> int:
    """Inspects the environments; leaves the page under `<root>/inspections/<id>/`.

    Args:
      config: validated.
      debug: tracebacks on the terminal too.

    Returns:
      How many findings are errors.

    Raises:
      ConfigError: the inspection did not come to its findings; or anything else that
        ended it, as a RuntimeError.
      KeyboardInterrupt: after the log was closed.
    """
    with run_log.begun(config.root, "inspections") as (folder, say):
        say(f"{config.name}: its environments")
        began = time.time()
        progress = local_runner.launch(lambda: _graph(config), folder, say, debug=debug)
        kept = collect(config.root, progress.outputs, folder, began)
        if kept is None:
            local_runner.raise_error(progress.error([]))
            raise RuntimeError(f"{STAGE} left no {RECORD}; see {folder}/log.txt")
        say("")
        for line in table(kept):
            say(line)
        say("")
        for line in told(kept["findings"]):
            say(line)
        say(f"\npage     {os.path.join(folder, PAGE)}")
    return sum(f["level"] == "error" for f in kept["findings"])


def _graph(config: PipelineConfig) -> Any:
    from pipeline.pipeline import create_inspection
    from pipeline.runtime import Local

    return create_inspection(config, Local(config))


def collect(
    root: str, outputs: Mapping[str, Any], folder: str, began: float
) -> dict[str, Any] | None:
    """Copies the page of an inspection beside a run's log, and reads its findings.

    Args:
      root: the config's.
      outputs: node -> output key -> artifacts.
      folder: to copy to.
      began: when the run did; an error leaves its files in the stage's folder, and
        older ones are not this run's.

    Returns:
      What `components.environment_validator.record` kept; None where there is nothing.
    """
    found = outputs.get(STAGE, {}).get("report")
    if found:
        source = found[0].uri
    else:
        source = os.path.join(root, "artifacts", STAGE)
        path = os.path.join(source, RECORD)
        if not os.path.isfile(path) or os.path.getmtime(path) < began:
            return None
    shutil.copyfile(os.path.join(source, PAGE), os.path.join(folder, PAGE))
    with open(os.path.join(source, RECORD), encoding="utf-8") as file:
        kept: dict[str, Any] = json.load(file)
    return kept


def told(findings: Sequence[Mapping[str, Any]], least: str = "note") -> list[str]:
    """The findings as lines of the terminal.

    Args:
      findings: of `environments.json`, errors first.
      least: the lowest level that is told.
    """
    levels = list(_MARKS)
    lines = []
    for finding in findings:
        if levels.index(finding["level"]) > levels.index(least):
            continue
        lines.append(f"  {_MARKS[finding['level']]:<5}  {finding['check']}")
        text = brief(finding["sentence"], SENTENCE)
        indent = " " * 4
        lines += textwrap.wrap(
            f"{text}.", _WIDTH, initial_indent=indent, subsequent_indent=indent
        )
    return lines or ["  nothing found"]


def table(kept: Mapping[str, Any]) -> list[str]:
    """A row a feature, those first that are farthest apart."""
    titles = ("feature", "distance", "missing", "label AUC", "elsewhere", "environment")
    rows = sorted(map(_row, kept["features"]), key=lambda row: -row[0])
    cells = [titles, *(row[1:] for row in rows[:_MOST_ROWS])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  " + "  ".join(_aligned(line, widths)).rstrip() for line in cells]
    if len(rows) > _MOST_ROWS:
        lines.append(f"  and {len(rows) - _MOST_ROWS} more on the page")
    return lines


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first = line[0].ljust(widths[0])
    return [first, *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]


def _row(feature: Mapping[str, Any]) -> tuple[Any, ...]:
    found = figures.of(feature)
    apart, (least, most) = found.apart or 0.0, found.missing or (0.0, 0.0)
    unit = "JS" if feature["kind"] == "category" else "sd"
    label = "–" if found.label is None else "{:.2f}–{:.2f}".format(*found.label)
    return (
        apart,
        brief(feature["name"]),
        f"{apart:.2f} {unit}",
        f"{100 * least:.0f}–{100 * most:.0f} %",
        label,
        *(
            "–" if v is None else f"{v:.2f}"
            for v in (found.elsewhere, found.environment)
        ),
    )
