"""What a run leaves of its ingestion in the summary, and on the terminal."""

import json
import pathlib
import types

import jsonschema
import pytest

from components.invariance_validator import executor
from components.run_record import facts
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


OVERRIDE = {
    "who": "Ada <b>",
    "why": "it is & urgent",
    "digest": "a" * 32,
    "expires": "2026-01-31T23:59:59+00:00",
}


class Pushed:
    """The artifact, as far as the summary asks it."""

    def __init__(self, **texts):
        self.texts = texts

    def get_int_custom_property(self, name):
        return int(name == "pushed" and "pushed_destination" in self.texts)

    def get_string_custom_property(self, name):
        return self.texts.get(name, "")


def ended(project, tmp_path, **texts):
    """Summary, terminal and report of a refused run, whose Pusher tells `texts`."""
    made, folder = tmp_path / "made", tmp_path / "run"
    made.mkdir()
    folder.mkdir()
    decision = {"verdict": "FAIL", "model_digest": "a" * 32}
    (made / "decision.json").write_text(json.dumps(decision))
    (made / "report.html").write_text(f"<p>x</p>{facts.RELEASE_MARK}<p>y</p>")
    report = types.SimpleNamespace(uri=str(made))
    outputs = {
        "InvarianceValidator": {"report": [report]},
        "Pusher": {"pushed_model": [Pushed(**texts)]},
    }
    found = summary.build(load_config(project.config), "id", [], outputs, None)
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    summary.write(found, str(folder), outputs)
    lines = []
    summary.tell(found, str(folder), outputs, lambda text, **_: lines.append(text), 1)
    return found, "\n".join(lines), (folder / "report.html").read_text()


def test_an_override_shows_and_the_verdict_stays(project, tmp_path):
    texts = {"pushed_destination": "serving/1", "override": json.dumps(OVERRIDE)}
    found, said, report = ended(project, tmp_path, **texts)
    assert (found["verdict"], found["pushed"]) == ("FAIL", "serving/1")
    assert found["override"] == OVERRIDE
    assert summary.exit_code(found) == 0
    for text in ("override Released all the same: Ada <b> answers", "it is & urgent"):
        assert text in " ".join(said.split())
    assert 'class="waived FAIL"' in report
    assert "Ada &lt;b&gt; answers" in report and "it is &amp; urgent" in report


def test_the_template_has_one_place_for_it():
    template = pathlib.Path(executor.__file__).with_name("report.html.j2").read_text()
    assert template.count(facts.RELEASE_MARK) == 1


def test_why_a_model_was_not_pushed(project, tmp_path):
    found, said, report = ended(project, tmp_path, not_pushed="it was rolled back")
    assert (found["pushed"], found["not_pushed"]) == (None, "it was rolled back")
    assert summary.exit_code(found) == 3
    assert "pushed   nothing: it was rolled back" in said
    assert f"digest   {'a' * 32}" in said
    red = '<p class="waived FAIL"><strong>Run id released nothing: it was rolled back.'
    assert red in report


def test_the_report_says_what_is_served(project, tmp_path):
    """No red: the verdict, and what became of it, agree."""
    texts = {"pushed_destination": "serving/<1>"}
    _, _, report = ended(project, tmp_path, **texts)
    assert "Served as serving/&lt;1&gt; when run id ended." in report
    assert "waived" not in report


def test_what_a_check_refused_is_not_said_twice_in_red(project, tmp_path):
    _, _, report = ended(project, tmp_path)
    assert '<p class="outcome">Run id released nothing.</p>' in report
    assert "waived" not in report


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
