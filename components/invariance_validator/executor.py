"""Executor of InvarianceValidator: artifacts in, verdict, report and blessing out."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as evaluator_executor
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils
from tfx.utils import path_utils

from components import blessed_index, blessings, code, digests
from components.artifact_files import counts_of, present, read_json, write_text
from components.environment_validator import record as inspection
from components.errors import DataError, tells_reason
from components.evaluator.results import SliceResult, evaluated_models, load_results
from components.invariance_validator import changed, inferred, loaded, record, report
from components.invariance_validator.decision import decide
from components.invariance_validator.metrics import BINARY
from components.model_card import card as model_card
from components.pusher import versions
from components.trainer import variants

CHECKS_KEY = "checks"
VERDICT_KEY = "verdict"
CONTEXT_KEY = "context"
INDEX_KEY = "index"
EVALUATION_KEY = "evaluation"
EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
BASELINE_MODEL_KEY = "baseline_model"
MODEL_RUN_KEY = "model_run"
ENVIRONMENTS_KEY = "environments"
INFERENCE_KEY = "inference"
INFRA_BLESSING_KEY = "infra_blessing"
BLESSING_KEY = "blessing"
REPORT_KEY = "report"

DECISION_FILE = "decision.json"
REPORT_FILE = "report.html"
HISTORY_FILE = "history.json"
INFERENCE_FILE = "inference.json"

Artifacts = dict[str, list[artifact.Artifact]]


class Executor(evaluator_executor.Executor):
    """Decides, writes the report, blesses or does not.

    A subclass of TFX's Evaluator executor, of which it uses nothing: Kubeflow rewrites
    the model's id on a blessing for these alone, and without that no resolver ever
    finds the blessed model.
    """

    @tells_reason
    def Do(
        self,
        input_dict: Artifacts,
        output_dict: Artifacts,
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for inputs, outputs and properties.

        A refusal is a result: it ends like a blessing, without an exception.

        Raises:
          DataError: there is no evaluation, it is not of these models or of this task,
            or the examples carry no counts.
        """
        checks, verdict, context = (
            json.loads(exec_properties.get(key) or "{}")
            for key in (CHECKS_KEY, VERDICT_KEY, CONTEXT_KEY)
        )
        context = variants.chosen(context, exec_properties.get(variants.METHOD_KEY))
        input_dict = present(input_dict)
        evaluation = artifact_utils.get_single_uri(input_dict[EVALUATION_KEY])
        _check_models(evaluated_models(evaluation), input_dict)
        identity = _identity(input_dict)
        results = load_results(evaluation)
        task = context.get("task") or BINARY
        _check_task(results, task)
        counts = _counts(artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY]))
        has_baseline = bool(input_dict.get(BASELINE_MODEL_KEY))
        decision = decide(results, counts, checks, verdict, has_baseline, task)
        inference = read_json(input_dict.get(INFERENCE_KEY), INFERENCE_FILE)
        decision, notes = inferred.limit(decision, inference)
        decided = blessings.Blessing(
            decision.blessed,
            decision.verdict,
            **identity,
            checks_fingerprint=digests.of_settings([checks, verdict]),
        )
        counts = inferred.with_bad_rows(counts, inference)
        kept = record.decision_record(decision, results, counts, context)
        kept |= {"notes": list(notes), "inference": inference, **_digests(decided)}
        reference = changed.reference(kept, {"checks": checks, "verdict": verdict})
        material = report.Material(
            decision=decision,
            results=results,
            counts=counts,
            context=context,
            history=read_json(input_dict.get(MODEL_RUN_KEY), HISTORY_FILE),
            lineage=_lineage(input_dict),
            digests=_digests(decided)
            | {"validator": exec_properties.get(code.CODE_KEY)},
            environments=read_json(
                input_dict.get(ENVIRONMENTS_KEY), inspection.RECORD_FILE
            ),
            notes=notes,
            load_check=read_json(
                input_dict.get(INFRA_BLESSING_KEY), loaded.RECORD_FILE
            ),
            changes=changed.compare(
                read_json(input_dict.get(BASELINE_MODEL_KEY), changed.REFERENCE_FILE),
                reference,
            ),
        )
        written = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        write_text(written.uri, DECISION_FILE, record.to_json(kept))
        write_text(written.uri, REPORT_FILE, report.render(material))
        card = model_card.make(kept, decided.model_digest)
        write_text(written.uri, model_card.JSON_FILE, record.to_json(card))
        write_text(written.uri, model_card.MARKDOWN_FILE, model_card.markdown(card))
        written.set_string_custom_property("verdict", decision.verdict)
        # Last, so that nothing is blessed whose reasons could not be written.
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        if decision.blessed:
            _keep_references(input_dict, reference)
        _bless(blessing, decided, input_dict, exec_properties)
        index = exec_properties.get(INDEX_KEY)
        if index and decision.blessed and decided.model_digest is not None:
            uri = artifact_utils.get_single_uri(input_dict[MODEL_KEY])
            blessed_index.note(index, decided.model_digest, uri, versions.now())
        logging.info("Verdict %s: %s", decision.verdict, written.uri)


def _check_models(
    evaluated: Mapping[str, Mapping[str, str]], input_dict: Artifacts
) -> None:
    """Refuses an evaluation of other models than those to decide on."""
    for name, key in (("candidate", MODEL_KEY), ("baseline", BASELINE_MODEL_KEY)):
        for model in input_dict.get(key) or ():
            below = os.path.join(model.uri, "")
            for split, paths in evaluated.items():
                found = paths.get(name)
                if found is not None and not os.path.join(found, "").startswith(below):
                    raise DataError(
                        f"split {split} was evaluated with the {name} model {found},"
                        f" but the one to decide on is {model.uri}; give the"
                        " evaluation of this model"
                    )


def _identity(input_dict: Artifacts) -> dict[str, str | None]:
    """The digests that the Evaluator recorded, if this is still the model.

    An evaluation without them is judged all the same, and its blessing has none, which
    is not enough for Pusher.
    """
    evaluation = artifact_utils.get_single_instance(input_dict[EVALUATION_KEY])
    found = {
        key: evaluation.get_string_custom_property(key) or None
        for key in (blessings.MODEL_KEY, blessings.EXAMPLES_KEY)
    }
    evaluated = found[blessings.MODEL_KEY]
    if evaluated is not None:
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        old = path_utils.is_old_model_artifact(model)
        path = path_utils.serving_model_path(model.uri, old)
        digest = digests.of_model(path)
        if digest != evaluated:
            raise DataError(
                f"the model in {path} was changed after it was evaluated: its digest"
                f" was {evaluated} and is {digest}; remove {model.uri} and run again,"
                " which trains it anew"
            )
    return found


def _digests(decided: blessings.Blessing) -> dict[str, str]:
    return {key: value for key, value in decided.facts.items() if key != "verdict"}


def _check_task(results: Sequence[SliceResult], task: str) -> None:
    """Refuses an evaluation of another task, whose metrics mean something else."""
    for result in results:
        if result.task != task:
            raise DataError(
                f"the evaluation of {result.name} ({result.split}) is that of task"
                f" {result.task}, but the checks are of task {task}; evaluate it with"
                " the Evaluator's option task"
            )


def _bless(
    blessing: artifact.Artifact,
    decision: blessings.Blessing,
    input_dict: Artifacts,
    exec_properties: Mapping[str, Any],
) -> None:
    """Marks the blessing the way that TFX's Evaluator does, and says of what it is."""
    model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    _set_id(blessing, constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model)
    if input_dict.get(BASELINE_MODEL_KEY):
        baseline = artifact_utils.get_single_instance(input_dict[BASELINE_MODEL_KEY])
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri
        )
        _set_id(blessing, constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline)
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property(
            "component_id", exec_properties["current_component_id"]
        )
    names = [constants.NOT_BLESSED_FILE_NAME, constants.BLESSED_FILE_NAME]
    stale = os.path.join(blessing.uri, names[not decision.blessed])
    if fileio.exists(stale):
        fileio.remove(stale)
    fileio.makedirs(blessing.uri)
    blessings.write(blessing, decision)
    write_text(blessing.uri, names[decision.blessed], "")
    blessed = (
        constants.BLESSED_VALUE if decision.blessed else constants.NOT_BLESSED_VALUE
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)


def _set_id(blessing: artifact.Artifact, key: str, model: artifact.Artifact) -> None:
    """Not of an artifact without a name: Kubeflow's entry point would look it up."""
    if model.id:
        blessing.set_int_custom_property(key, model.id)


def _counts(examples: artifact.Artifact) -> dict[str, Any]:
    found = counts_of(examples)
    if found is None:
        raise DataError(
            f"the examples at {examples.uri} carry no counts, so a slice that vanished"
            " would not be noticed; make them with MultiEnvExampleGen"
        )
    return found


def _keep_references(input_dict: Artifacts, decided: Mapping[str, Any]) -> None:
    """Puts beside the model that is released what the next run compares itself with.

    What it was decided by, and what the environments were like. A blessing would be the
    better place, but a rerun makes a new one for the same model, and whatever takes it
    as input would never be answered from the cache.
    """
    model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
    write_text(model.uri, changed.REFERENCE_FILE, record.to_json(decided))
    reference = read_json(input_dict.get(ENVIRONMENTS_KEY), inspection.REFERENCE_FILE)
    if reference is not None:
        write_text(model.uri, inspection.REFERENCE_FILE, inspection.to_json(reference))


def _lineage(input_dict: Artifacts) -> dict[str, str]:
    labels = {
        MODEL_KEY: "model",
        BASELINE_MODEL_KEY: "released model",
        EVALUATION_KEY: "evaluation",
        EXAMPLES_KEY: "examples",
        MODEL_RUN_KEY: "training run",
        ENVIRONMENTS_KEY: "inspection of the environments",
        INFERENCE_KEY: "inferred environments",
        INFRA_BLESSING_KEY: "load check",
    }
    return {
        label: f"{input_dict[key][0].uri} (id {input_dict[key][0].id})"
        for key, label in labels.items()
        if input_dict.get(key)
    }
