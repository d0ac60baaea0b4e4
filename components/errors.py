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
_MOST = 400  # characters of an error that was not written for the user


class DataError(Exception):
    """The data, the config or the arguments are wrong (exit 2).

    `str(error)` is one sentence: what was found, where, and the mend.
    """

    exit_code = 2


def tells_reason(do: Callable) -> Callable:
    """Decorates an executor's `Do`: an error also leaves `error.json`.

    An error that was written for the user has an `exit_code`; any other is named by its
    type and its first line. The file lies in `<component>/<ERROR_FILE>`, two folders
    above the outputs, which the launcher removes when a stage fails.
    """

    @functools.wraps(do)
    def wrapped(
        self: Any, input_dict: Any, output_dict: Any, exec_properties: Any
    ) -> Any:
        try:
            return do(self, input_dict, output_dict, exec_properties)
        except Exception as error:
            _write(output_dict, _reason(error))
            raise

    return wrapped


def stage_folder(output_dict: dict[str, list[Any]]) -> str:
    """The folder of a stage, which outlives a failure: `<root>/<component>`."""
    uri = next(artifacts[0].uri for artifacts in output_dict.values() if artifacts)
    return os.path.dirname(os.path.dirname(uri.rstrip("/")))


def _reason(error: Exception) -> dict[str, Any]:
    if (code := getattr(error, "exit_code", None)) is not None:
        return {"exit": code, "sentence": str(error)}
    kind = type(error).__name__
    first = (str(error).strip() or kind).splitlines()[0][:_MOST]
    return {"exit": 1, "sentence": f"{kind}: {first}"}


def _write(output_dict: dict[str, list[Any]], payload: dict[str, Any]) -> None:
    from tfx.dsl.io import fileio

    if any(output_dict.values()):
        folder = stage_folder(output_dict)
        path = os.path.join(folder, ERROR_FILE)
        if "TF_CONFIG" in os.environ and fileio.exists(path):
            return  # of several workers the first tells why; the others miss it then
        fileio.makedirs(folder)
        with fileio.open(path, "w") as file:
            file.write(json.dumps(payload))
