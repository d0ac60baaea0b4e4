"""Executor of GroupSizeValidator."""

import json
import logging
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.artifact_files import counts_of, write_text
from components.errors import DataError, tells_reason
from components.group_size_validator import shortfalls
from components.invariance_validator.metrics import BINARY

CHECKS_KEY = "checks"
VERDICT_KEY = "verdict"
TASK_KEY = "task"
EXAMPLES_KEY = "examples"
SIZES_KEY = "sizes"
SIZES_FILE = "sizes.json"


class Executor(base_executor.BaseExecutor):
    """Compares the checks with the counts on the examples."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for inputs, outputs and properties.

        Raises:
          DataError: a check can pass with no model, or the examples carry no counts.
        """
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        counts = counts_of(examples)
        if counts is None:
            raise DataError(
                f"the examples at {examples.uri} carry no counts; make them with"
                " MultiEnvExampleGen"
            )
        checks, verdict = (
            json.loads(exec_properties.get(key) or "{}")
            for key in (CHECKS_KEY, VERDICT_KEY)
        )
        found = shortfalls.find(
            checks, verdict, counts, exec_properties.get(TASK_KEY) or BINARY
        )
        if (sentence := shortfalls.sentence(found)) is not None:
            raise DataError(sentence)
        sizes = artifact_utils.get_single_instance(output_dict[SIZES_KEY])
        listed = {"shortfalls": [one.to_dict() for one in found]}
        write_text(sizes.uri, SIZES_FILE, json.dumps(listed))
        logging.info("%d slices are too small and allowed to be", len(found))
