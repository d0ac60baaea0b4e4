"""The config of docs/inferred.md is legal, and its figures are the benchmark's."""

import json
import pathlib
import re

import numpy as np
import yaml

from pipeline.data_config import Data

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "inferred.md").read_text()
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "inference.json").read_text())
SEEDS = list(RESULTS["seeds"].values())


def row(start):
    (line,) = [one for one in TEXT.splitlines() if one.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_config_is_legal_and_shows_the_defaults():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    data = Data.model_validate(yaml.safe_load(text)["data"])
    shown = data.inferred.infer
    assert shown == type(shown)()
    assert set(yaml.safe_load(text)["data"]["environments"]["infer"]) == set(
        type(shown).model_fields
    )


def test_the_agreement_meets_the_margins_and_is_what_is_shown():
    for start, name, margin in (("colour", "colour", 0.8), ("true", "truth", 0.53)):
        found = [seed["agreement"][name] for seed in SEEDS]
        assert all(one["value"] >= margin for one in found)
        assert all(one["value"] > one["chance"][1] for one in found)
        shown = ", ".join(f"{one['value']:.3f}" for one in found)
        highest = max(one["chance"][1] for one in found)
        assert row(start)[1:] == [shown, f"at most {highest:.3f}"]


def test_the_accuracies_are_those_of_the_benchmark():
    for start, name in (
        ("the pool", "erm, pooled"),
        ("inferred environments, equal", "erm, inferred"),
        ("inferred environments | IRMv1", "irm_v1, inferred"),
        ("inferred environments | V-REx", "v_rex, inferred"),
        ("the true environments", "irm_v1, true"),
    ):
        found = [seed["accuracy"][name]["test"] for seed in SEEDS]
        shown = f"{np.mean(found):.1f} ({np.std(found):.1f})"
        assert row(start)[-1] == shown
