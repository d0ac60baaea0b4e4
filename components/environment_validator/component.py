"""EnvironmentValidator: may these environments be trained on together?"""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import EnvironmentReport
from components.environment_validator import checks, executor


class EnvironmentValidatorSpec(types.ComponentSpec):
    """Contract of EnvironmentValidator."""

    PARAMETERS = {
        executor.OPTIONS_KEY: ExecutionParameter(type=str),
        executor.INSPECT_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.STATISTICS_KEY: ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        ),
        executor.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema),
        executor.RELEASED_KEY: ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS = {
        executor.REPORT_KEY: ChannelParameter(type=EnvironmentReport),
    }


class EnvironmentValidator(base_beam_component.BaseBeamComponent):
    """Looks for what makes environments unfit to be trained on together.

    Output `report` (`components.EnvironmentReport`): `environments.json`,
    `environments.html`, TFDV's `statistics.pb` by environment and split, and
    `environments_reference.json`, what a later run compares with.
    """

    SPEC_CLASS = EnvironmentValidatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        options: executor.Options,
        inspect: Mapping[str, Any] | None = None,
        released: types.BaseChannel | None = None,
    ):
        """Makes the component.

        Args:
          examples: `Examples` with the custom property `counts`.
          statistics: `ExampleStatistics` of them: which columns there are.
          schema: `Schema` that every environment is held against.
          options: which column is what.
          inspect: levels and bounds, see `checks.parse`.
          released: the released `Model`, to see drift since its run.

        Raises:
          ValueError: an unknown check or level, or a bound outside its range.
        """
        checks.parse(inspect)
        spec = EnvironmentValidatorSpec(
            examples=examples,
            statistics=statistics,
            schema=schema,
            released=released,
            options=options.as_json(),
            inspect=json.dumps(inspect or {}, sort_keys=True),
            code=code.of_component(__file__),
            report=types.Channel(type=EnvironmentReport),
        )
        super().__init__(spec=spec)
