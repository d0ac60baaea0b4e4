"""ReleasedModel: the latest blessed model, where nothing resolves it."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.released_model import executor


class ReleasedModelSpec(types.ComponentSpec):
    """Contract of ReleasedModel."""

    PARAMETERS = {
        executor.INDEX_KEY: ExecutionParameter(type=str),
        executor.SERVING_KEY: ExecutionParameter(type=str, optional=True),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model)}


class ReleasedModel(base_component.BaseComponent):
    """Finds the latest blessed model in the index that InvarianceValidator keeps.

    Output `model` (`Model`): that model, by its own URI; or one marked as absent, which
    Evaluator, InvarianceValidator and EnvironmentValidator take as none. It must run
    anew each time: nothing in its inputs tells that a model was blessed.
    """

    SPEC_CLASS = ReleasedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, index: str, serving: str | None = None):
        """Makes the component.

        Args:
          index: folder of `components.blessed_index`; may be a URL.
          serving: folder of the released versions, whose rolled-back models do not
            count; None where there is none.
        """
        spec = ReleasedModelSpec(
            index=index,
            serving=serving,
            code=code.of_component(__file__),
            model=types.Channel(type=standard_artifacts.Model),
        )
        super().__init__(spec=spec)
