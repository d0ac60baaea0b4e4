"""What a run came to, gathered from the artifacts of its stages.

`tfx-irm run` gathers it here at its end; on other orchestrators the stage RunRecord
does. Artifacts are any objects with a `uri` and TFX's custom properties.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import markupsafe

from components import filesystem, pages
from components.artifact_files import read_json
from components.multi_env_example_gen import bad_rows

REPORT_FILE = "report.html"
DECISION_FILE, INFERENCE_FILE = "decision.json", "inference.json"
LOAD_CHECK_FILE = "load_check.json"
RELEASE_MARK = "<!-- release -->"  # of the report's template

Outputs = Mapping[str, Mapping[str, Any]]


def gather(
    outputs: Outputs,
    error: dict[str, Any] | None = None,
    findings: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The facts of a summary that artifacts tell.

    Args:
      outputs: node -> output key -> artifacts, as far as the run came.
      error: exit and sentence, or None; a run that ended in one has no verdict.
      findings: of the EnvironmentValidator; None where the run did not come so far.

    Returns:
      Fields of `pipeline/schema/summary.schema.json`.
    """
    decision = {} if error else decision_of(outputs)
    return {
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
        "versions": decision.get("context", {}).get("versions", {}),
    }


def decision_of(outputs: Outputs, node: str = "InvarianceValidator") -> dict[str, Any]:
    """What an InvarianceValidator decided."""
    report = artifact_of(outputs, node, "report")
    with filesystem.open_file(os.path.join(report.uri, DECISION_FILE)) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def report_of(
    outputs: Outputs,
    node: str = "InvarianceValidator",
    outcome: Mapping[str, Any] | None = None,
) -> str | None:
    """The report that an InvarianceValidator wrote; None where it came not so far.

    It was written before the push, so what became of that is put into it here.

    Args:
      outputs: node -> output key -> artifacts.
      node: that wrote it.
      outcome: of `gather`, with the `run_id` where there is one; None where nothing
        could be pushed.
    """
    report = artifact_of(outputs, node, "report")
    if report is None:
        return None
    with filesystem.open_file(os.path.join(report.uri, REPORT_FILE)) as file:
        text: str = file.read().decode()
    if outcome is None:
        return text
    if text.count(RELEASE_MARK) != 1:
        raise RuntimeError(f"{report.uri} has no place for what became of it")
    return text.replace(RELEASE_MARK, _outcome(outcome))


def _outcome(told: Mapping[str, Any]) -> markupsafe.Markup:
    """What became of a model, in red where it is not what its verdict says."""
    red = markupsafe.Markup('<p class="waived FAIL"><strong>{}</strong></p>\n')
    plain = markupsafe.Markup('<p class="outcome">{}</p>')
    found = markupsafe.Markup("")
    run = f"run {told['run_id']}" if told.get("run_id") else "this run"
    if told["override"]:
        found += red.format(overridden(told["override"]))
    if told["pushed"]:
        said = f"Served as {told['pushed']} when {run} ended."
        return found + plain.format(pages.printable(said))
    why = told["not_pushed"]
    said = f"{run[0].upper()}{run[1:]} released nothing{f': {why}' if why else ''}."
    shape = red if why or told["verdict"] == "PASS" else plain
    return found + shape.format(pages.printable(said))


def overridden(override: Mapping[str, str]) -> str:
    """Who answers for a release that was not blessed."""
    return pages.printable(
        f"Released all the same: {override['who']} answers for it until"
        f" {override['expires']}: {override['why']}"
    )


def inference_of(outputs: Outputs) -> dict[str, Any] | None:
    """How certain inferred environments are; None where none are."""
    artifact = artifact_of(outputs, "EnvironmentInferrer", "inference")
    if artifact is None:
        return None
    with filesystem.open_file(os.path.join(artifact.uri, INFERENCE_FILE)) as file:
        found: dict[str, Any] = json.loads(file.read())
    return found


def artifact_of(outputs: Outputs, node: str, key: str) -> Any:
    """The first artifact of an output; None where the run did not come so far."""
    found = outputs.get(node, {}).get(key)
    return found[0] if found else None


def _told(outputs: Outputs, key: str) -> str | None:
    """What Pusher told in a property of its output; None where nothing."""
    artifact = artifact_of(outputs, "Pusher", "pushed_model")
    return (
        None if artifact is None else artifact.get_string_custom_property(key) or None
    )


def _override(outputs: Outputs) -> dict[str, str] | None:
    """By which the model was pushed without a blessing."""
    found: dict[str, str] | None = json.loads(_told(outputs, "override") or "null")
    return found


def _pushed(outputs: Outputs) -> str | None:
    artifact = artifact_of(outputs, "Pusher", "pushed_model")
    if artifact is None or artifact.get_int_custom_property("pushed") != 1:
        return None
    found: str = artifact.get_string_custom_property("pushed_destination")
    return found


def _load_check(outputs: Outputs) -> dict[str, Any] | None:
    """What ModelValidator measured; None where the run did not come so far."""
    artifact = artifact_of(outputs, "ModelValidator", "blessing")
    return artifact and read_json([artifact], LOAD_CHECK_FILE)


def _environments(outputs: Outputs) -> dict[str, dict[str, int]]:
    return {
        name: {split: n["examples"] for split, n in entry["splits"].items()}
        for name, entry in _counts(outputs).get("environments", {}).items()
    }


def _bad_rows(outputs: Outputs) -> dict[str, Any]:
    """Those that inference and ingestion dropped."""
    found: dict[str, Any] = {}
    for part in (inference_of(outputs) or {}, _counts(outputs)):
        bad_rows.merge(found, part.get("bad_rows", {}))
    return found


def _counts(outputs: Outputs) -> dict[str, Any]:
    """Of ingestion, if the run came that far."""
    examples = artifact_of(outputs, "MultiEnvExampleGen", "examples")
    if examples is None:
        return {}
    found: dict[str, Any] = json.loads(examples.get_string_custom_property("counts"))
    return found
