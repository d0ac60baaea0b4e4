"""Errors of the components, and how a failed stage tells its reason.

A stage may run in another process or on another machine, so the sentence for the
user is also written beside the stage's outputs, as `error.json`.
"""

import functools
import json
import os
from collections.abc import Callable
from typing import Any

ERROR_FILE = "error.json"


class DataError(Exception):
    """The data, the config or the arguments are wrong (exit 2).

    `str(error)` is one sentence: what was found, where, and the mend.
    """


def tells_reason(do: Callable) -> Callable:
    """Decorates an executor's `Do`: a `DataError` also leaves `error.json`.

    The file lies in `<component>/<ERROR_FILE>`, two folders above the outputs, which
    the launcher removes when a stage fails.
    """

    @functools.wraps(do)
    def wrapped(
        self: Any, input_dict: Any, output_dict: Any, exec_properties: Any
    ) -> Any:
        try:
            return do(self, input_dict, output_dict, exec_properties)
        except DataError as error:
            _write(output_dict, {"exit": 2, "sentence": str(error)})
            raise

    return wrapped


def stage_folder(output_dict: dict[str, list[Any]]) -> str:
    """The folder of a stage, which outlives a failure: `<root>/<component>`."""
    uri = next(artifacts[0].uri for artifacts in output_dict.values() if artifacts)
    return os.path.dirname(os.path.dirname(uri.rstrip("/")))


def _write(output_dict: dict[str, list[Any]], payload: dict[str, Any]) -> None:
    from tfx.dsl.io import fileio

    if any(output_dict.values()):
        folder = stage_folder(output_dict)
        fileio.makedirs(folder)
        with fileio.open(os.path.join(folder, ERROR_FILE), "w") as file:
            file.write(json.dumps(payload))
