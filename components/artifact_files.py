"""Small files and facts of artifacts, wherever these lie."""

import json
import os
from typing import Any

from tfx.dsl.io import fileio

COUNTS_PROPERTY = "counts"
ABSENT_PROPERTY = "absent"


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


def mark_absent(artifact: Any) -> None:
    """Says that there is nothing: a container task cannot leave an output away."""
    artifact.set_int_custom_property(ABSENT_PROPERTY, 1)


def present(input_dict: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The inputs without artifacts that say that there is nothing."""
    return {
        key: [a for a in artifacts if not a.get_int_custom_property(ABSENT_PROPERTY)]
        for key, artifacts in input_dict.items()
    }
