"""The summary of a run: `summary.json`, and what the terminal is told at its end."""

import dataclasses
import json
import os
import textwrap
from collections.abc import Callable
from typing import Any

import markupsafe

from components import pages
from components.artifact_files import read_json
from components.multi_env_example_gen import bad_rows
from pipeline.config import PipelineConfig
from pipeline.runs import REPORT, SUMMARY
from pipeline.tables import SENTENCE, brief

RELEASE_MARK = "<!-- release -->"  # of the report's template
DECISION_FILE, INFERENCE_FILE = "decision.json", "inference.json"
LOAD_CHECK_FILE = "load_check.json"
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
    decision = {} if error else decision_of(outputs)
    return {
        "run_id": run_id,
        "verdict": decision.get("verdict"),
        "pushed": None if error else _pushed(outputs),
        "not_pushed": None if error else _told(outputs, "not_pushed"),
        "override": _override(outputs),
        "model_digest": decision.get("model_digest"),
        "error": error,
        "checks": decision.get("checks", []),
        "load_check": _load_check(outputs),
        "metrics": decision.get("metrics", {}),
        "undefined": decision.get("undefined", []),
        "environments": decision.get("environments") or _environments(outputs),
        "findings": findings or [],
        "bad_rows": _bad_rows(outputs),
        "inference": inference_of(outputs),
        "notes": decision.get("notes", []),
        "method": config.method_label,
        "stages": [dataclasses.asdict(stage) for stage in stages],
        "versions": decision.get("context", {}).get("versions", {}),
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

    It was written before the push, so what became of that is put into the copy.

    Args:
      outputs: node -> output key -> artifacts.
      path: of the copy.
      node: that wrote it.
      outcome: the run's summary; None where nothing could be pushed.
    """
    report = _artifact(outputs, node, "report")
    if report is None:
        return
    with open(os.path.join(report.uri, REPORT), encoding="utf-8") as file:
        text = file.read()
    if outcome is not None:
        if text.count(RELEASE_MARK) != 1:
            raise RuntimeError(f"{report.uri} has no place for what became of it")
        text = text.replace(RELEASE_MARK, _outcome(outcome))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _outcome(summary: dict[str, Any]) -> markupsafe.Markup:
    """What became of a model, in red where it is not what its verdict says."""
    red = markupsafe.Markup('<p class="waived FAIL"><strong>{}</strong></p>\n')
    plain = markupsafe.Markup('<p class="outcome">{}</p>')
    found = markupsafe.Markup("")
    if summary["override"]:
        found += red.format(_overridden(summary["override"]))
    if summary["pushed"]:
        said = f"Served as {summary['pushed']} when run {summary['run_id']} ended."
        return found + plain.format(pages.printable(said))
    why = summary["not_pushed"]
    said = f"Run {summary['run_id']} released nothing{f': {why}' if why else ''}."
    shape = red if why or summary["verdict"] == "PASS" else plain
    return found + shape.format(pages.printable(said))


def _overridden(override: dict[str, str]) -> str:
    return pages.printable(
        f"Released all the same: {override['who']} answers for it until"
        f" {override['expires']}: {override['why']}"
    )


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
    schema = _artifact(outputs, "SchemaGen", "schema")
    if schema is not None:
        path = os.path.join(schema.uri, "schema.pbtxt")
        say(f"schema   {path} (inferred; check it, and name it as data.schema)")
    loaded = summary["load_check"]
    for problem in loaded["problems"] if loaded else ():
        say(textwrap.fill(f"load check: the model {problem}", 96))
    if summary["override"]:
        text = f"override {_overridden(summary['override'])}"
        say(textwrap.fill(text, 96, subsequent_indent=" " * 9))
    if summary["pushed"]:
        say(f"pushed   {summary['pushed']}", pushed=summary["pushed"])
    else:
        say(f"pushed   nothing: {summary['not_pushed'] or _NOT_BLESSED}")
        if summary["model_digest"]:
            say(f"digest   {summary['model_digest']}", digest=summary["model_digest"])
    report = os.path.join(folder, REPORT)
    say(f"report   {report}", report=report)


def _artifact(outputs: dict[str, Any], node: str, key: str) -> Any:
    found = outputs.get(node, {}).get(key)
    return found[0] if found else None


def decision_of(
    outputs: dict[str, Any], node: str = "InvarianceValidator"
) -> dict[str, Any]:
    """What an InvarianceValidator decided."""
    report = _artifact(outputs, node, "report")
    with open(os.path.join(report.uri, DECISION_FILE), encoding="utf-8") as file:
        return json.load(file)


def _told(outputs: dict[str, Any], key: str) -> str | None:
    """What Pusher told in a property of its output; None where nothing."""
    artifact = _artifact(outputs, "Pusher", "pushed_model")
    return (
        None if artifact is None else artifact.get_string_custom_property(key) or None
    )


def _override(outputs: dict[str, Any]) -> dict[str, str] | None:
    """By which the model was pushed without a blessing."""
    found: dict[str, str] | None = json.loads(_told(outputs, "override") or "null")
    return found


def _pushed(outputs: dict[str, Any]) -> str | None:
    artifact = _artifact(outputs, "Pusher", "pushed_model")
    if artifact is None or artifact.get_int_custom_property("pushed") != 1:
        return None
    return artifact.get_string_custom_property("pushed_destination")


def _load_check(outputs: dict[str, Any]) -> dict[str, Any] | None:
    """What ModelValidator measured; None where the run did not come so far."""
    artifact = _artifact(outputs, "ModelValidator", "blessing")
    return artifact and read_json([artifact], LOAD_CHECK_FILE)


def _environments(outputs: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        name: {split: n["examples"] for split, n in entry["splits"].items()}
        for name, entry in _counts(outputs).get("environments", {}).items()
    }


def inference_of(outputs: dict[str, Any]) -> dict[str, Any] | None:
    """How certain inferred environments are; None where none are."""
    artifact = _artifact(outputs, "EnvironmentInferrer", "inference")
    if artifact is None:
        return None
    path = os.path.join(artifact.uri, INFERENCE_FILE)
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _bad_rows(outputs: dict[str, Any]) -> dict[str, Any]:
    """Those that inference and ingestion dropped."""
    found: dict[str, Any] = {}
    for part in (inference_of(outputs) or {}, _counts(outputs)):
        bad_rows.merge(found, part.get("bad_rows", {}))
    return found


def _counts(outputs: dict[str, Any]) -> dict[str, Any]:
    """Of ingestion, if the run came that far."""
    examples = _artifact(outputs, "MultiEnvExampleGen", "examples")
    if examples is None:
        return {}
    found: dict[str, Any] = json.loads(examples.get_string_custom_property("counts"))
    return found
