"""Environments that nobody named, run by the command."""

import json
import pathlib
import textwrap

import jsonschema
import pytest

from tests.components.environment_inferrer.conftest import noise, planted
from tests.e2e.helpers import FLIGHTS, Project

pytestmark = pytest.mark.e2e

SCHEMA = FLIGHTS.parents[1] / "pipeline" / "schema" / "summary.schema.json"
CONFIG = """
    name: nameless
    data:
      label: late
      exclude: [row]
      on_bad_row: drop
      environments: {csv: rows.csv, infer: {sample: 2000}}
      features: {numeric: [weak, noise], categorical: [sign]}
    train:
      method: v_rex
      steps: 60
      batch_size: 256
      model: {hidden: [8]}
    checks:
      worst: {log_loss: {max: 3, over: environment}}
    verdict: {min_examples: 50}
"""


@pytest.fixture
def project(tmp_path):
    """Rows without environments, one of which is broken."""
    frame = planted(4000).astype({"noise": "object"})
    frame.loc[5, "noise"] = "broken"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    made = Project(tmp_path)
    made.config.write_text(textwrap.dedent(CONFIG))
    return made


def test_all_checks_pass_and_nothing_is_released(project):
    run = project.run()
    assert run.exit_code == 3, run.stdout + run.stderr
    jsonschema.validate(run.summary, json.loads(SCHEMA.read_text()))
    assert [check["verdict"] for check in run.summary["checks"]] == ["PASS"]
    assert run.summary["verdict"] == "INSUFFICIENT_DATA"
    assert run.summary["pushed"] is None
    assert set(run.summary["environments"]) == {"inferred-1", "inferred-2"}
    inference = run.summary["inference"]
    assert inference["problems"] == []
    assert next(iter(inference["told_by"])) == "sign"
    (note,) = run.summary["notes"]
    assert "No check passes on an environment that is known" in note
    page = pathlib.Path(run.folder, "report.html").read_text()
    assert "adjusted Rand index" in page
    assert "note     The training environments were inferred" in run.stdout
    (entry,) = run.summary["bad_rows"].values()
    assert (entry["rows"], entry["first"]) == (1, [7])


def test_noise_ends_with_one_sentence(project):
    noise(3000).to_csv(project.folder / "rows.csv", index=False)
    run = project.run()
    assert run.exit_code == 2
    said = run.summary["error"]["sentence"]
    assert said.startswith("data.environments.infer: the environments that eiil finds")
    assert "on_uncertain: accept" in said
    assert said in run.stderr
