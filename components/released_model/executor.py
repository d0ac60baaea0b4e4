"""Executor of ReleasedModel: an index in, a model out, or a sign that there is none."""

import logging
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components import blessed_index
from components.artifact_files import mark_absent
from components.errors import tells_reason
from components.pusher import versions

INDEX_KEY = "index"
SERVING_KEY = "serving"
MODEL_KEY = "model"


class Executor(base_executor.BaseExecutor):
    """Points its output at the model that was blessed last."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for keys."""
        del input_dict
        serving = exec_properties.get(SERVING_KEY)
        gone = versions.rolled_back(serving) if serving else ()
        found = blessed_index.latest(exec_properties[INDEX_KEY], gone)
        model = artifact_utils.get_single_instance(output_dict[MODEL_KEY])
        if found is None:
            mark_absent(model)
            logging.info("No model was blessed yet")
            return
        model.uri = found["model"]
        model.set_string_custom_property("digest", found["digest"])
        logging.info("The latest blessed model is %s", model.uri)
