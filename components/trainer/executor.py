"""Executor of Trainer: TFX's, told which method to train with."""

from typing import Any

from tfx.components.trainer import executor as tfx_trainer
from tfx.types import standard_component_specs
from tfx.utils import json_utils

from components.errors import tells_reason
from components.trainer import variants

CUSTOM_CONFIG_KEY = standard_component_specs.CUSTOM_CONFIG_KEY


class Executor(tfx_trainer.GenericExecutor):
    """Runs `run_fn` with the settings of the method."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for keys.

        Raises:
          DataError: there is no such method.
        """
        super().Do(input_dict, output_dict, with_method(exec_properties))


def with_method(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """The same, with the `custom_config` of the method alone."""
    settings = json_utils.loads(exec_properties[CUSTOM_CONFIG_KEY])
    method = exec_properties.get(variants.METHOD_KEY)
    told = json_utils.dumps(variants.chosen(settings, method))
    return {**exec_properties, CUSTOM_CONFIG_KEY: told}
