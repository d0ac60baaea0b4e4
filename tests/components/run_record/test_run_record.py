"""What the last stage of a compiled pipeline leaves."""

import json
import pathlib

import pytest
from tfx.dsl.components.base import base_executor
from tfx.types import channel, standard_artifacts

from components import artifacts
from components.run_record import executor
from components.run_record.component import RunRecord

OVERRIDE = {
    "who": "Ada <b>",
    "why": "it is urgent",
    "digest": "a" * 32,
    "expires": "2026-01-31T23:59:59+00:00",
}
DECISION = {
    "verdict": "FAIL",
    "model_digest": "a" * 32,
    "checks": [{"name": "worst.auc"}],
    "context": {"method": "v_rex", "versions": {"tfx": "1"}},
}
FINDINGS = [{"level": "warn", "sentence": "it differs"}]


def artifact(kind, folder, **texts):
    made = kind()
    made.uri = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in texts.items():
        setter = (
            made.set_int_custom_property
            if isinstance(value, int)
            else made.set_string_custom_property
        )
        setter(key, value)
    return made


@pytest.fixture
def left(tmp_path):
    """Runs the stage on the artifacts of a refused model; what it left."""

    def run(**pushed):
        standard = standard_artifacts
        folders = {name: tmp_path / name for name in "abcde"}
        inputs = {
            "examples": [artifact(standard.Examples, folders["a"], counts="{}")],
            "environments": [artifact(artifacts.EnvironmentReport, folders["b"])],
            "infra_blessing": [artifact(standard.InfraBlessing, folders["c"])],
            "report": [artifact(artifacts.InvarianceReport, folders["d"])],
            "pushed_model": [artifact(standard.PushedModel, folders["e"], **pushed)],
        }
        kept = {"findings": FINDINGS}
        (folders["b"] / "environments.json").write_text(json.dumps(kept))
        (folders["b"] / "environments.html").write_text("<p>é</p>")
        (folders["d"] / "decision.json").write_text(json.dumps(DECISION))
        report = "<p>ü</p><!-- release --><p>y</p>"
        (folders["d"] / "report.html").write_text(report, encoding="utf-8")
        record = artifact(artifacts.RunRecord, tmp_path / "record")
        (tmp_path / "record").rmdir()  # Kubeflow makes no folder
        stage = executor.Executor(base_executor.BaseExecutor.Context())
        stage.Do(inputs, {"record": [record]}, {})
        folder = pathlib.Path(record.uri)
        return json.loads((folder / "summary.json").read_text()), folder

    return run


def test_a_refusal(left):
    found, folder = left(pushed=0, not_pushed="it was refused")
    assert found["verdict"] == "FAIL" and found["pushed"] is None
    assert found["not_pushed"] == "it was refused"
    assert found["method"] == "v_rex"
    assert found["findings"] == FINDINGS
    assert (folder / "environments.html").read_text(encoding="utf-8") == "<p>é</p>"
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "This run released nothing: it was refused." in report


def test_an_override_shows_in_the_report(left):
    found, folder = left(
        pushed=1, pushed_destination="s/1", override=json.dumps(OVERRIDE)
    )
    assert (found["pushed"], found["override"]) == ("s/1", OVERRIDE)
    assert "Ada &lt;b&gt; answers" in (folder / "report.html").read_text()


def test_the_component_takes_what_the_pipeline_has():
    standard = standard_artifacts
    kinds = {
        "examples": standard.Examples,
        "environments": artifacts.EnvironmentReport,
        "infra_blessing": standard.InfraBlessing,
        "report": artifacts.InvarianceReport,
        "pushed_model": standard.PushedModel,
    }
    made = RunRecord(**{k: channel.Channel(type=v) for k, v in kinds.items()})
    assert set(made.inputs) == set(kinds)
    assert made.outputs["record"].type is artifacts.RunRecord
