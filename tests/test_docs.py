"""What docs/penalties.md shows works as it stands, and lists what there is."""

import pathlib
import re

import numpy as np
import yaml

from pipeline.train_config import Train
from trainer_module.methods import METHODS

TEXT = (pathlib.Path(__file__).parents[1] / "docs" / "penalties.md").read_text()


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_config_is_legal():
    (text,) = snippets("yaml")
    Train.model_validate(yaml.safe_load(text)["train"])
    summed = re.sub(r"^  method: .*\n", "", text, flags=re.MULTILINE)
    summed = summed.replace("# method", "method").replace("  options: {", "  # {")
    assert len(Train.model_validate(yaml.safe_load(summed)["train"]).method) == 2


def test_the_code_runs():
    (code,) = snippets("python")
    rows = {
        "logits": np.linspace(-1, 1, 6, dtype=np.float32)[:, None],
        "labels": np.array([[0], [1], [0], [1], [0], [1]]),
        "environment_ids": np.array([0, 0, 1, 1, 2, 2]),
    }
    exec(code, rows)
    assert float(rows["value"]) > 0


def written(value):
    """A default as the table has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_every_method_is_listed_with_every_option_and_its_default():
    section = TEXT[TEXT.index("## All of them") : TEXT.index("## What a step costs")]
    table = [line for line in section.splitlines() if line.startswith("|")]
    for name, info in METHODS.items():
        (line,) = [row for row in table if f"`{name}`" in row[:24]]
        for option, default in info.defaults.items():
            assert f"`{option}`" in line, f"{name}.{option} is not listed"
            shown = re.search(rf"`{option}` \(([^)]*)\)", line)
            if shown and default is not None:
                assert shown[1] == written(default), f"{name}.{option}"
