"""On inferred environments alone nothing passes."""

import json
import os

import pytest
from tfx.types import standard_artifacts

from components.artifacts import EnvironmentInference, InvarianceReport
from components.invariance_validator import executor, inferred
from components.invariance_validator.decision import decide

WORST = {"worst": {"auc": {"min": 0.65, "over": "environment"}}}
INFERENCE = {
    "method": "eiil",
    "sentence": "inferred-1 has 800 rows <of 1000>",
    "bad_rows": {"a.csv": {"rows": 2, "unit": "line", "first": [5, 9]}},
}
EVAL = {"worst": {"auc": {"min": 0.65, "split": "eval", "over": "environment"}}}
NAMES = ("inferred-1", "inferred-2")


def decided(make, checks, inferred_auc=0.9, known_auc=None, verdict=None):
    found = [make.result(f"environment={n}", auc=inferred_auc) for n in NAMES]
    sizes = dict.fromkeys(NAMES, 1000)
    if known_auc is not None:
        found.append(make.result("environment=LGA", split="ood", auc=known_auc))
        sizes["LGA"] = ("ood", 1000)
    return decide(found, make.counts(**sizes), checks, verdict)


def test_alone_they_pass_nothing(make):
    before = decided(make, WORST)
    assert before.blessed
    after, (note,) = inferred.limit(before, INFERENCE)
    assert (after.verdict, after.blessed) == ("INSUFFICIENT_DATA", False)
    assert after.checks == before.checks
    assert "inferred-1 has 800 rows" in note
    assert "data.environments.held_out" in note


def test_a_known_environment_may_pass_and_the_note_stays(make):
    after, (note,) = inferred.limit(decided(make, WORST, known_auc=0.9), INFERENCE)
    assert (after.verdict, after.blessed) == ("PASS", True)
    assert "rests on the held-out environments" in note


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        # It is there, and no check looks at it;
        (EVAL, None),
        # or only whether it is worse than the released model, of which there is none;
        ({**EVAL, "baseline": {"auc": {"max_drop": 0.1, "split": "ood"}}}, None),
        # or it may lack data.
        (WORST, {"min_examples": 5000, "allow_insufficient": ["worst.auc"]}),
    ],
)
def test_a_known_environment_that_shows_nothing_does_not_help(make, checks, verdict):
    before = decided(make, checks, known_auc=0.9, verdict=verdict)
    assert before.blessed
    after, (note,) = inferred.limit(before, INFERENCE)
    assert (after.verdict, after.blessed) == ("INSUFFICIENT_DATA", False)
    assert "No check passes on an environment that is known" in note


def test_a_failure_stays_one(make):
    before = decided(make, WORST, inferred_auc=0.4)
    after, _ = inferred.limit(before, INFERENCE)
    assert after.verdict == "FAIL"


def test_known_environments_are_judged_as_ever(make):
    before = decided(make, WORST)
    assert inferred.limit(before, None) == (before, ())


def test_bad_rows_of_both_stages_are_told_together():
    counts = {"rows": 7, "bad_rows": {"b.csv": {"rows": 1, "unit": "row", "first": []}}}
    found = inferred.with_bad_rows(counts, INFERENCE)
    assert found["bad_rows"] == {**INFERENCE["bad_rows"], **counts["bad_rows"]}
    assert found["rows"] == 7
    assert inferred.with_bad_rows(counts, None) == counts


def test_executor_report_and_record_carry_the_note(make, tmp_path, monkeypatch):
    results = [make.result(f"environment={name}", auc=0.9) for name in NAMES]
    monkeypatch.setattr(executor, "load_results", lambda uri: results)
    monkeypatch.setattr(executor, "evaluated_models", lambda uri: {})
    inputs = {
        "evaluation": standard_artifacts.ModelEvaluation(),
        "examples": standard_artifacts.Examples(),
        "model": standard_artifacts.Model(),
        "inference": EnvironmentInference(),
    }
    outputs = {
        "blessing": standard_artifacts.ModelBlessing(),
        "report": InvarianceReport(),
    }
    for key, value in {**inputs, **outputs}.items():
        value.uri = str(tmp_path / key / "1")
    counts = json.dumps(make.counts(**dict.fromkeys(NAMES, 1000)))
    inputs["examples"].set_string_custom_property("counts", counts)
    os.makedirs(inputs["inference"].uri)
    with open(os.path.join(inputs["inference"].uri, "inference.json"), "w") as file:
        json.dump(INFERENCE, file)
    executor.Executor().Do(
        {key: [value] for key, value in inputs.items()},
        {key: [value] for key, value in outputs.items()},
        {"checks": json.dumps(WORST), "verdict": "{}", "context": "{}"},
    )
    assert "NOT_BLESSED" in os.listdir(outputs["blessing"].uri)
    with open(os.path.join(outputs["report"].uri, "decision.json")) as file:
        decision = json.load(file)
    assert decision["verdict"] == "INSUFFICIENT_DATA"
    assert decision["inference"] == INFERENCE
    with open(os.path.join(outputs["report"].uri, "report.html")) as file:
        page = file.read()
    assert "inferred-1 has 800 rows &lt;of 1000&gt;" in page
    assert "Every check is met, but see the note." in page
    assert "2 of a.csv (lines 5, 9)" in page
