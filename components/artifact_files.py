"""Small files and facts of artifacts, wherever these lie."""

import json
import os
from typing import Any

from tfx.dsl.io import fileio

COUNTS_PROPERTY = "counts"


def write_text(folder: str, name: str, text: str) -> None:
    """Writes UTF-8; makes the folder, which Kubeflow does not."""
    fileio.makedirs(folder)
    with fileio.open(os.path.join(folder, name), "wb") as file:
        file.write(text.encode("utf-8", "replace"))


def read_json(artifacts: list[Any] | None, name: str) -> Any:
    """What an optional input left in a file.

    Args:
      artifacts: of the input, or None.
      name: of the file in the first.

    Returns:
      Its content; None without an artifact or the file.
    """
    if not artifacts:
        return None
    path = os.path.join(artifacts[0].uri, name)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file:
        return json.loads(file.read())


def counts_of(examples: Any) -> dict[str, Any] | None:
    """What MultiEnvExampleGen counted; None where the Examples carry nothing."""
    found = examples.get_string_custom_property(COUNTS_PROPERTY)
    return json.loads(found) if found else None
