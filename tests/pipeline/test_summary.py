"""What a run leaves of its ingestion in the summary, and on the terminal."""

import json
import pathlib
import types

import jsonschema
import pytest

from pipeline import summary
from pipeline.config_io import load_config
from pipeline.schema import make

SCHEMA = pathlib.Path(make.CONFIG_SCHEMA).with_name("summary.schema.json")
FILE = "data/jfk.csv"


class Examples:
    """The artifact, as far as the summary asks it."""

    def __init__(self, bad_rows):
        self.counts = {"environments": {}, "bad_rows": bad_rows}

    def get_string_custom_property(self, name):
        assert name == "counts"
        return json.dumps(self.counts)


def test_what_was_inferred_is_told_though_a_later_stage_broke(project, tmp_path):
    inference = {
        "method": "eiil",
        "number": 2,
        "environments": {"inferred-1": {"rows": 3, "positives": 1}},
        "reference": {"auc": 0.8, "low": 0.7, "high": 0.9},
        "stability": {"mean": 0.9, "draws": [0.9]},
        "separation": {"penalty": 0.5, "random": 0.1, "p": 0.01},
        "silhouette": None,
        "told_by": {"colour": 0.9},
        "problems": [],
        "sentence": "inferred-1 has 3 rows",
        "bad_rows": {FILE: {"rows": 2, "unit": "line", "first": [5, 6]}},
    }
    (tmp_path / "inference.json").write_text(json.dumps(inference))
    artifact = types.SimpleNamespace(uri=str(tmp_path))
    outputs = {
        "EnvironmentInferrer": {"inference": [artifact]},
        "MultiEnvExampleGen": {"examples": [Examples({})]},
    }
    error = {"exit": 1, "sentence": "it broke later"}
    found = summary.build(load_config(project.config), "id", [], outputs, error)
    assert found["inference"] == inference
    assert found["bad_rows"] == inference["bad_rows"]
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"rows": 4, "unit": "line", "first": [17, 90, 1091]},
            "4 of data/jfk.csv (lines 17, 90, 1,091, ...)",
        ),
        ({"rows": 1, "unit": "row", "first": [7]}, "1 of data/jfk.csv (row 7)"),
        ({"rows": 2, "unit": "row", "first": []}, "2 of data/jfk.csv"),
    ],
)
def test_bad_rows_are_told(project, tmp_path, entry, said):
    outputs = {"MultiEnvExampleGen": {"examples": [Examples({FILE: entry})]}}
    error = {"exit": 1, "sentence": "it broke later"}
    found = summary.build(load_config(project.config), "id", [], outputs, error)
    assert found["bad_rows"] == {FILE: entry}
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    lines = []
    found |= {"error": None, "verdict": "PASS", "pushed": "serving/1"}
    summary.tell(found, str(tmp_path), outputs, lambda text, **_: lines.append(text), 1)
    assert f"dropped  bad rows: {said}" in lines
