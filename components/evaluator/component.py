"""Evaluator: how good the models are, by slice, with what a verdict needs."""

import json
from typing import Any

from google.protobuf import json_format
from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.evaluator import executor, settings


class EvaluatorSpec(types.ComponentSpec):
    """Contract of Evaluator."""

    PARAMETERS = {
        executor.EVAL_CONFIG_KEY: ExecutionParameter(type=str),
        executor.EXAMPLE_SPLITS_KEY: ExecutionParameter(type=str),
        executor.OPTIONS_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.BASELINE_KEY: ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {
        executor.EVALUATION_KEY: ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Evaluates a model, and a baseline if there is one, on every slice of each split.

    Output `evaluation` (`ModelEvaluation`): for each split a TFMA output folder
    `Split-<name>`; `components.evaluator.results` reads them. It decides nothing.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        eval_config: Any,
        options: dict[str, Any],
        example_splits: list[str] | None = None,
        baseline_model: types.BaseChannel | None = None,
    ):
        """Makes the component.

        Args:
          examples: `Examples` with the custom property `counts`.
          model: `Model` to evaluate.
          eval_config: `tfma.EvalConfig` or its JSON: model, slices by feature_keys and
            metrics; no thresholds.
          options: fields of `components.evaluator.settings.Options`.
          example_splits: splits to evaluate, each apart; default `["eval", "ood"]`.
          baseline_model: `Model` to compare with, on the same rows.

        Raises:
          ValueError: an option or something in the config that is not supported.
        """
        if not isinstance(eval_config, str):
            eval_config = json_format.MessageToJson(
                eval_config, preserving_proto_field_name=True
            )
        if example_splits is None:
            example_splits = ["eval", "ood"]
        splits = json.dumps(example_splits)
        text = json.dumps(options, sort_keys=True)
        settings.parse_splits(splits)
        settings.parse_eval_config(eval_config, settings.parse_options(text))
        spec = EvaluatorSpec(
            examples=examples,
            model=model,
            baseline_model=baseline_model,
            eval_config=eval_config,
            example_splits=splits,
            options=text,
            code=code.of_component(__file__),
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
        )
        super().__init__(spec=spec)
