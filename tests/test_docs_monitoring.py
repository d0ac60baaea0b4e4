"""What docs/monitoring.md shows works as it stands, and its figures are measured."""

import json
import pathlib
import re
import shlex

import pytest
import yaml

from components.invariance_validator.metrics import NAMES
from components.monitor import quantities
from pipeline import cli
from pipeline.monitor_config import Monitor

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "monitoring.md").read_text()
FIGURES = json.loads((ROOT / "benchmarks" / "results" / "monitoring.json").read_text())


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("command", "".join(snippets("bash")).splitlines())
def test_the_commands_parse(command):
    options = cli._parser().parse_args(shlex.split(command)[1:])
    assert callable(options.do)


def test_the_config_is_legal_and_whole():
    (text,) = snippets("yaml")
    given = yaml.safe_load(text)["monitor"]
    Monitor.model_validate(given)
    assert set(given) == set(Monitor.model_fields)


def test_every_mean_that_is_followed_is_listed():
    for name in set(quantities.RANGES) & set(NAMES):
        assert name in TEXT


def test_the_figures_are_those_that_were_measured():
    good, bad = (c for c in FIGURES["cells"] if "no drift" in c)
    for cell in (good, bad):
        row = f"{cell['false alarms']:.1%} | {cell['at most']:.1%} |"
        assert row.replace("%", " %") in TEXT
    found = [c for c in FIGURES["cells"] if "drift" in c and not c["good days"]]
    for cell in found:
        if cell["days, 95 %"] is not None and (cell["drift"], cell["size"]) != (
            "errors",
            1.0,
        ):
            row = f"| {cell['days']} | {cell['days, 95 %']} |"
            assert f"{row} {cell['examples, 95 %']:,} |" in TEXT
    pairs = {}
    for cell in (c for c in FIGURES["cells"] if "drift" in c):
        pairs.setdefault((cell["drift"], cell["size"]), []).append(cell["days"])
    later = [b - a for a, b in pairs.values() if max(a, b) < 200]
    low, high = map(int, re.search(r"takes (-?\d+) to (\d+) days more", TEXT).groups())
    assert (min(later), max(later)) == (low, high)
