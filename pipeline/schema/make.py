"""Makes `config.schema.json` from the typed config.

Run `python -m pipeline.schema.make` after a change of the config's sections.
"""

import json
import os
from typing import Any

from pipeline.config import PipelineConfig

CONFIG_SCHEMA = os.path.join(os.path.dirname(__file__), "config.schema.json")


def config_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a config, as an editor may check it."""
    made = PipelineConfig.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_canonical(made),
        "title": "Config of a tfx-irm pipeline",
    }


def _canonical(part: Any) -> Any:
    """The same text from every version of pydantic: 1 for 1.0, no empty permission.

    Forms that a function tells apart may overlap: the word `each` is a name as well.
    """
    if isinstance(part, dict):
        return {
            "anyOf" if key == "oneOf" else key: _canonical(value)
            for key, value in part.items()
            if not (key == "additionalProperties" and value is True)
        }
    if isinstance(part, list):
        return [_canonical(value) for value in part]
    if isinstance(part, float) and part.is_integer():
        return int(part)
    return part


def text() -> str:
    """The file's content."""
    return json.dumps(config_schema(), indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Writes the file."""
    with open(CONFIG_SCHEMA, "w", encoding="utf-8") as file:
        file.write(text())


if __name__ == "__main__":
    main()
