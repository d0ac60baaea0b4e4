"""GroupSizeValidator: may these groups be judged at all?"""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import GroupSizes
from components.group_size_validator import executor
from components.invariance_validator import checks as checks_lib
from components.invariance_validator.metrics import BINARY


class GroupSizeValidatorSpec(types.ComponentSpec):
    """Contract of GroupSizeValidator."""

    PARAMETERS = {
        executor.CHECKS_KEY: ExecutionParameter(type=str),
        executor.VERDICT_KEY: ExecutionParameter(type=str),
        executor.TASK_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {executor.SIZES_KEY: ChannelParameter(type=GroupSizes)}


class GroupSizeValidator(base_component.BaseComponent):
    """Refuses, before anything is trained, checks that no model could pass.

    Output `sizes` (`components.GroupSizes`): `sizes.json`, the slices that are too
    small for a check which may end in INSUFFICIENT_DATA.
    """

    SPEC_CLASS = GroupSizeValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        checks: Mapping[str, Any],
        verdict: Mapping[str, Any] | None = None,
        task: str = BINARY,
    ):
        """Makes the component.

        Args:
          examples: `Examples` with the custom property `counts`.
          checks: the config's `checks`.
          verdict: the config's `verdict`.
          task: binary, multiclass or regression.

        Raises:
          ValueError: checks or verdict are not legal.
        """
        checks_lib.parse_rule(verdict)
        checks_lib.parse_checks(checks, task)
        # The rule that it foresees is another component's.
        sources = [code.of_component(file) for file in (__file__, checks_lib.__file__)]
        spec = GroupSizeValidatorSpec(
            examples=examples,
            checks=json.dumps(checks),
            verdict=json.dumps(verdict or {}, sort_keys=True),
            task=task,
            code="".join(sources),
            sizes=types.Channel(type=GroupSizes),
        )
        super().__init__(spec=spec)
