"""What a run leaves of its ingestion in the summary, and on the terminal."""

import json
import pathlib

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
    summary.tell(found, str(tmp_path), outputs, lines.append, 1)
    assert f"dropped  bad rows: {said}" in lines
