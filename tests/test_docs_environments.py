"""What docs/environments.md shows is legal, and its table is the code's."""

import pathlib
import re

import yaml

from components.environment_validator.checks import CHECKS
from pipeline.inspect_config import Inspect

TEXT = (pathlib.Path(__file__).parents[1] / "docs" / "environments.md").read_text()


def test_the_config_is_legal():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    text = text.replace(": off", ': "off"')  # text in YAML 1.2, which PyYAML is not
    section = Inspect.model_validate(yaml.safe_load(text)["inspect"])
    assert section.as_json()["leak"] == {"level": "error", "bound": 0.97}


def test_the_table_lists_every_check_with_its_defaults():
    rows = [line for line in TEXT.splitlines() if re.match(r"\| `\w+` \|", line)]
    expected = []
    for name, check in CHECKS.items():
        bound = f"{check.bound} {check.value:g}" if check.bound else ""
        expected.append(f"| `{name}` | {check.level} | {bound} | {check.asks} |")
    assert rows == expected
