"""Damaged and mistaken evaluations on disk: none releases a model."""

import json
import os
import shutil

import numpy as np
import pytest
from tfx.types import standard_artifacts

from components.artifacts import InvarianceReport
from components.invariance_validator import executor

from .conftest import draw

CHECKS = {"worst": {"auc": {"min": 0.55}, "accuracy": {"min": 0.5}}}
ROWS = 3000


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, write_examples, write_model, evaluate):
    """The folder with models, examples and their evaluation; the counts."""
    folder = tmp_path_factory.mktemp("hostile")
    splits = {"eval": draw(ROWS, ["EWR", "JFK"], 0), "ood": draw(ROWS, ["LGA"], 1)}
    examples = write_examples(folder / "examples", splits)
    model = write_model(folder / "model")
    write_model(folder / "other")
    slices = [("environment",)]
    evaluate(folder, examples, model, splits=("eval", "ood"), slices=slices)
    environments = {}
    for split, columns in splits.items():
        for name in np.unique(columns["environment"]):
            there = columns["environment"] == name
            environments[name.decode()] = {
                "held_out": split == "ood",
                "splits": {
                    split: {
                        "examples": int(there.sum()),
                        "positives": int(columns["late"][there].sum()),
                    }
                },
            }
    return folder, {"environments": environments, "slices": {"eval": {}, "ood": {}}}


@pytest.fixture
def run(tmp_path, evaluated):
    """Decides on a copy of the evaluation that was tampered with; whether blessed."""
    source, counts = evaluated

    def go(tamper=None, model="model", counts=counts):
        folder = tmp_path / "evaluation"
        shutil.copytree(source / "a" / "b" / "evaluation", folder)
        if tamper is not None:
            tamper(folder)
        inputs = {
            "evaluation": standard_artifacts.ModelEvaluation(),
            "examples": standard_artifacts.Examples(),
            "model": standard_artifacts.Model(),
        }
        inputs["evaluation"].uri = str(folder)
        inputs["examples"].uri = str(source / "examples")
        inputs["model"].uri = str(source / model)
        inputs["examples"].set_string_custom_property("counts", json.dumps(counts))
        outputs = {
            "blessing": standard_artifacts.ModelBlessing(),
            "report": InvarianceReport(),
        }
        for key, value in outputs.items():
            value.uri = str(tmp_path / key)
        try:
            executor.Executor().Do(
                {key: [value] for key, value in inputs.items()},
                {key: [value] for key, value in outputs.items()},
                {"checks": json.dumps(CHECKS), "verdict": "{}", "context": "{}"},
            )
        except Exception as error:
            assert not os.path.exists(outputs["blessing"].uri), error
            return False
        return "BLESSED" in os.listdir(outputs["blessing"].uri)

    return go


def test_the_evaluation_that_all_are_made_from_releases(run):
    assert run()


def test_an_evaluation_of_another_model(run):
    assert not run(model="other")


def removed(*parts):
    def tamper(folder):
        for path in folder.glob("/".join(parts)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return tamper


def cut(*parts):
    """Only the first half of the files is left."""

    def tamper(folder):
        found = [path for path in folder.glob("/".join(parts)) if path.is_file()]
        assert found
        for path in found:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return tamper


def emptied(*parts):
    def tamper(folder):
        found = [path for path in folder.glob("/".join(parts)) if path.is_file()]
        assert found
        for path in found:
            path.write_bytes(b"")

    return tamper


def flipped(folder):
    """One byte in the middle of the metrics is another."""
    (path,) = (p for p in folder.glob("Split-ood/metrics*") if p.is_file())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def swapped(folder):
    (folder / "Split-eval").rename(folder / "Split-x")
    (folder / "Split-ood").rename(folder / "Split-eval")
    (folder / "Split-x").rename(folder / "Split-ood")


def copied(folder):
    """The split of the training environments, measured, in place of the other."""
    shutil.rmtree(folder / "Split-ood")
    shutil.copytree(folder / "Split-eval", folder / "Split-ood")


def renamed(folder):
    (folder / "Split-ood").rename(folder / "Split-test")


TAMPERS = {
    "the whole folder": shutil.rmtree,
    "all splits": removed("Split-*"),
    "a split": removed("Split-ood"),
    "the config of a split": removed("Split-ood", "eval_config.json"),
    "the config, emptied": emptied("Split-ood", "eval_config.json"),
    "the metrics of a split": removed("Split-ood", "metrics*"),
    "half of the metrics": cut("Split-ood", "metrics*"),
    "the metrics, emptied": emptied("Split-ood", "metrics*"),
    "a byte of the metrics": flipped,
    "splits swapped": swapped,
    "a split copied over another": copied,
    "a split renamed": renamed,
}


@pytest.mark.parametrize("name", TAMPERS)
def test_files_that_were_tampered_with(run, name):
    assert not run(TAMPERS[name])


def test_counts_of_other_data(run, evaluated):
    _, counts = evaluated
    more = json.loads(json.dumps(counts))
    more["environments"]["LGA"]["splits"]["ood"]["examples"] += 1
    assert not run(counts=more)
