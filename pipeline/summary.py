"""The summary of a run: `summary.json`, and what the terminal is told at its end."""

import dataclasses
import json
import os
import textwrap
from collections.abc import Callable
from typing import Any

from components.multi_env_example_gen import bad_rows
from components.run_record import facts
from pipeline.config import PipelineConfig
from pipeline.runs import REPORT, SUMMARY
from pipeline.tables import SENTENCE, brief

_NOT_BLESSED = "only a model that passes every check is released"
_MOST_WARNINGS = 5


def build(
    config: PipelineConfig,
    run_id: str,
    stages: list[Any],
    outputs: dict[str, Any],
    error: dict[str, Any] | None,
    findings: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Puts a run's summary together.

    Args:
      config: of the run.
      run_id: its id.
      stages: `run_log.Stage`s in order.
      outputs: node -> output key -> artifacts, as far as the run came.
      error: exit and sentence, or None.
      findings: of the EnvironmentValidator; None where the run did not come so far.

    Returns:
      The fields of `schema/summary.schema.json`.
    """
    return {
        "run_id": run_id,
        **facts.gather(outputs, error, findings),
        "method": config.method_label,
        "stages": [dataclasses.asdict(stage) for stage in stages],
    }


def write(summary: dict[str, Any], folder: str, outputs: dict[str, Any]) -> str:
    """Writes `summary.json` and copies the report beside it; path of the summary."""
    if summary["error"] is None:
        copy_report(outputs, os.path.join(folder, REPORT), outcome=summary)
    return write_json(summary, folder)


def write_json(summary: dict[str, Any], folder: str) -> str:
    """Writes `summary.json` alone; its path."""
    path = os.path.join(folder, SUMMARY)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=1, allow_nan=False)
    return path


def copy_report(
    outputs: dict[str, Any],
    path: str,
    node: str = "InvarianceValidator",
    outcome: dict[str, Any] | None = None,
) -> None:
    """Copies the report that an InvarianceValidator wrote, if it came that far.

    Args:
      outputs: node -> output key -> artifacts.
      path: of the copy.
      node: that wrote it.
      outcome: the run's summary; None where nothing could be pushed.
    """
    text = facts.report_of(outputs, node, outcome)
    if text is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def exit_code(summary: dict[str, Any]) -> int:
    """0 pushed (by an override too), 3 not, else the error's."""
    if summary["error"]:
        return int(summary["error"]["exit"])
    return 0 if summary["pushed"] else 3


def tell(
    summary: dict[str, Any],
    folder: str,
    outputs: dict[str, Any],
    say: Callable[..., None],
    seconds: float,
) -> None:
    """Says how a run ended: verdict, a sentence a check, model, report."""
    say("")
    if summary["error"]:
        return
    say(
        f"verdict  {summary['verdict']}   ({seconds:.0f} s)",
        verdict=summary["verdict"],
        seconds=round(seconds, 3),
    )
    for check in summary["checks"]:
        body = textwrap.fill(
            check["reason"], 96, initial_indent=" " * 4, subsequent_indent=" " * 4
        )
        say(
            f"  {check['name']}: {check['verdict']}\n{body}",
            check=check["name"],
            verdict=check["verdict"],
        )
    say("")
    findings = [f for f in summary["findings"] if f["level"] == "warn"]
    for finding in findings[:_MOST_WARNINGS]:
        say(f"warning  {brief(finding['sentence'], SENTENCE)}")
    if len(findings) > _MOST_WARNINGS:
        say(f"warning  {len(findings) - _MOST_WARNINGS} more are in the report")
    for note in summary["notes"]:
        say(textwrap.fill(f"note     {note}", 96, subsequent_indent=" " * 9))
    for phrase in bad_rows.told(summary["bad_rows"]):
        say(f"dropped  bad rows: {phrase}")
    schema = facts.artifact_of(outputs, "SchemaGen", "schema")
    if schema is not None:
        path = os.path.join(schema.uri, "schema.pbtxt")
        say(f"schema   {path} (inferred; check it, and name it as data.schema)")
    loaded = summary["load_check"]
    for problem in loaded["problems"] if loaded else ():
        say(textwrap.fill(f"load check: the model {problem}", 96))
    if summary["override"]:
        text = f"override {facts.overridden(summary['override'])}"
        say(textwrap.fill(text, 96, subsequent_indent=" " * 9))
    if summary["pushed"]:
        say(f"pushed   {summary['pushed']}", pushed=summary["pushed"])
    else:
        say(f"pushed   nothing: {summary['not_pushed'] or _NOT_BLESSED}")
        if summary["model_digest"]:
            say(f"digest   {summary['model_digest']}", digest=summary["model_digest"])
    report = os.path.join(folder, REPORT)
    say(f"report   {report}", report=report)
