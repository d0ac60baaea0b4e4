"""ModelValidator: the load check, which gives the `InfraBlessing` without Docker."""

import dataclasses
import json
import math
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.model_validator import executor
from components.model_validator.bounds import Bounds


class ModelValidatorSpec(types.ComponentSpec):
    """Contract of ModelValidator."""

    PARAMETERS = {
        executor.BOUNDS_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.EVALUATION_KEY: ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
    }
    OUTPUTS = {
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class ModelValidator(base_component.BaseComponent):
    """Loads the model in a clean process and asks it for what Evaluator has seen.

    Output `blessing` (`InfraBlessing`), marked as TFX's InfraValidator does, with
    `load_check.json`: what was measured and what is wrong.
    """

    SPEC_CLASS = ModelValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        evaluation: types.BaseChannel,
        bounds: Mapping[str, float] | None = None,
    ):
        """Makes the component.

        Args:
          model: `Model` to load.
          evaluation: `ModelEvaluation` of it by our Evaluator.
          bounds: fields of `Bounds` that differ from its defaults.

        Raises:
          ValueError: an unknown bound, or one that is no positive number.
        """
        given = dict(bounds or {})
        known = [field.name for field in dataclasses.fields(Bounds)]
        for name, value in given.items():
            if name not in known:
                raise ValueError(
                    f"load check: unknown bound {name!r}; known are {', '.join(known)}"
                )
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"load check: {name} is {value}, no positive number")
        whole = dataclasses.asdict(Bounds(**given))
        spec = ModelValidatorSpec(
            model=model,
            evaluation=evaluation,
            bounds=json.dumps(whole, sort_keys=True),
            code=code.of_component(__file__),
            blessing=types.Channel(type=standard_artifacts.InfraBlessing),
        )
        super().__init__(spec=spec)
