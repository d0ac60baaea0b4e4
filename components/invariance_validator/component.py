"""InvarianceValidator: the only stage that decides a release."""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import (
    EnvironmentInference,
    EnvironmentReport,
    InvarianceReport,
)
from components.environment_validator import page
from components.invariance_validator import checks as checks_lib
from components.invariance_validator import executor
from components.invariance_validator.metrics import BINARY
from components.model_card import card
from components.trainer import variants

# The report draws with the inspection's page, and the card is another room's.
_SOURCES = (__file__, card.__file__, page.__file__)


class InvarianceValidatorSpec(types.ComponentSpec):
    """Contract of InvarianceValidator."""

    PARAMETERS = {
        executor.CHECKS_KEY: ExecutionParameter(type=str),
        executor.VERDICT_KEY: ExecutionParameter(type=str),
        executor.CONTEXT_KEY: ExecutionParameter(type=str),
        executor.INDEX_KEY: ExecutionParameter(type=str, optional=True),
        variants.METHOD_KEY: ExecutionParameter(type=str, optional=True),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.EVALUATION_KEY: ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.BASELINE_MODEL_KEY: ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
        executor.MODEL_RUN_KEY: ChannelParameter(
            type=standard_artifacts.ModelRun, optional=True
        ),
        executor.ENVIRONMENTS_KEY: ChannelParameter(
            type=EnvironmentReport, optional=True
        ),
        executor.INFERENCE_KEY: ChannelParameter(
            type=EnvironmentInference, optional=True
        ),
        executor.INFRA_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
    }
    OUTPUTS = {
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.REPORT_KEY: ChannelParameter(type=InvarianceReport),
    }


class InvarianceValidator(base_component.BaseComponent):
    """Decides by confidence limits whether a model's invariance is shown.

    Outputs:
      blessing: `ModelBlessing`, positive only if every check passes.
      report: `components.InvarianceReport`, `decision.json` and `report.html`.
    """

    SPEC_CLASS = InvarianceValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        evaluation: types.BaseChannel,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        checks: Mapping[str, Any],
        verdict: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        baseline_model: types.BaseChannel | None = None,
        model_run: types.BaseChannel | None = None,
        environments: types.BaseChannel | None = None,
        inference: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        contexts: Mapping[str, Mapping[str, Any]] | None = None,
        method: str | data_types.RuntimeParameter | None = None,
        index: str | None = None,
    ):
        """Makes the component.

        Args:
          evaluation: `ModelEvaluation` of our Evaluator.
          examples: `Examples` with the custom property `counts`.
          model: the candidate, `Model`.
          checks: the config's `checks`.
          verdict: the config's `verdict`: `confidence` (0.95), `min_examples` (200),
            `allow_insufficient` (names of checks, such as `worst.auc`).
          context: shown in the report: `name`, `method`, `versions`, ... It is part of
            the cache key, so leave out what changes from run to run. `task` (binary)
            says which metrics there are. With `environments` and `slices` (and
            `held_out`) in it, the checks are tried against them.
          baseline_model: the released `Model`, or None.
          model_run: `ModelRun` with a `history.json`, or None.
          environments: `components.EnvironmentReport`, shown in the report and kept
            beside a model that is blessed, for the next run to compare with; or None.
          inference: of EnvironmentInferrer, where training environments are inferred:
            on those alone nothing passes.
          infra_blessing: of ModelValidator, whose load check the report shows; or None.
            It decides nothing here: Pusher takes it itself.
          contexts: the context under another method of Trainer, by name.
          method: one of these names; empty or None for `context` itself.
          index: folder of `components.blessed_index`, where a blessing is noted; None
            where the metadata store is asked for it.

        Raises:
          ValueError: a check that no data could meet, or an illegal verdict.
        """
        context = dict(context or {})
        _validate(checks, verdict, context)
        spec = InvarianceValidatorSpec(
            evaluation=evaluation,
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            model_run=model_run,
            environments=environments,
            inference=inference,
            infra_blessing=infra_blessing,
            checks=json.dumps(checks),
            verdict=json.dumps(verdict or {}, sort_keys=True),
            context=json.dumps(variants.with_variants(context, contexts or {})),
            method=method,
            index=index,
            code="".join(map(code.of_component, _SOURCES)),
            blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            report=types.Channel(type=InvarianceReport),
        )
        super().__init__(spec=spec)


def _validate(
    checks: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    context: Mapping[str, Any],
) -> None:
    rule = checks_lib.parse_rule(verdict)
    task = context.get("task") or BINARY
    names = [check.name for check in checks_lib.parse_checks(checks, task)]
    for name in rule.allow_insufficient:
        if name not in names:
            raise ValueError(
                f"verdict.allow_insufficient names {name!r}, which is none of the"
                f" checks {', '.join(names)}"
            )
    if "environments" in context and "slices" in context:
        problems = checks_lib.check_satisfiable(
            checks,
            context["environments"],
            context.get("held_out", ()),
            context["slices"],
            task=task,
        )
        if problems:
            raise ValueError(" ".join(problems))
