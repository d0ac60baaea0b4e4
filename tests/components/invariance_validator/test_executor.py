import json
import os

import pytest
from tfx.components.evaluator import executor as evaluator_executor
from tfx.types import channel_utils, standard_artifacts

from components import blessings, digests
from components.artifacts import InvarianceReport
from components.errors import DataError
from components.invariance_validator import component, executor

CHECKS = {"worst": {"auc": {"min": 0.65, "over": "environment"}}}
MODEL_ID, BASELINE_ID = 11, 7


@pytest.fixture
def run(tmp_path, monkeypatch, make):
    """Runs the executor; returns blessing, report and the decision."""

    def go(
        auc,
        baseline=False,
        counts=True,
        results=None,
        of="model",
        recorded=(),
        loaded=None,
        **properties,
    ):
        found = [make.result("environment=EWR", auc=auc, log_loss=0.5)]
        if baseline:
            found.append(make.result("environment=EWR", auc=0.7, model="baseline"))
        found = found if results is None else results
        monkeypatch.setattr(executor, "load_results", lambda uri: found)
        models = {"candidate": str(tmp_path / of / "Format-Serving")}
        monkeypatch.setattr(executor, "evaluated_models", lambda uri: {"eval": models})
        inputs = {
            "evaluation": standard_artifacts.ModelEvaluation(),
            "examples": standard_artifacts.Examples(),
            "model": standard_artifacts.Model(),
            "model_run": standard_artifacts.ModelRun(),
        }
        if baseline:
            inputs["baseline_model"] = standard_artifacts.Model()
        if loaded is not None:
            inputs["infra_blessing"] = standard_artifacts.InfraBlessing()
            (tmp_path / "infra_blessing").mkdir()
            (tmp_path / "infra_blessing" / "load_check.json").write_text(
                json.dumps(loaded)
            )
        for i, (key, value) in enumerate(inputs.items()):
            value.uri, value.id = str(tmp_path / key), i
        inputs["model"].id = MODEL_ID
        for key, value in dict(recorded).items():
            inputs["evaluation"].set_string_custom_property(key, value)
        if baseline:
            inputs["baseline_model"].id = BASELINE_ID
        if counts:
            text = json.dumps(make.counts(EWR=1000))
            inputs["examples"].set_string_custom_property("counts", text)
        os.makedirs(inputs["model_run"].uri, exist_ok=True)
        with open(os.path.join(inputs["model_run"].uri, "history.json"), "w") as file:
            json.dump({"steps": [0, 1], "penalty": [1.0, float("nan")]}, file)
        outputs = {
            "blessing": standard_artifacts.ModelBlessing(),
            "report": InvarianceReport(),
        }
        for key, value in outputs.items():
            value.uri = str(tmp_path / "outputs" / key / "1")
        executor.Executor().Do(
            {key: [value] for key, value in inputs.items()},
            {key: [value] for key, value in outputs.items()},
            {
                "checks": json.dumps(CHECKS),
                "verdict": "{}",
                "context": json.dumps({"name": "flights", "method": "erm"}),
                **properties,
            },
        )
        with open(os.path.join(outputs["report"].uri, "decision.json")) as file:
            return outputs["blessing"], outputs["report"], json.load(file)

    return go


def test_a_model_that_is_shown_to_be_good_is_blessed(run, tmp_path):
    blessing, report, decision = run(0.9)
    assert sorted(os.listdir(blessing.uri)) == ["BLESSED", "blessing.json"]
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_model") == str(
        tmp_path / "model"
    )
    assert blessing.get_int_custom_property("current_model_id") == MODEL_ID
    assert not blessing.has_custom_property("baseline_model")
    assert report.get_string_custom_property("verdict") == "PASS"
    assert sorted(os.listdir(report.uri)) == [
        *("decision.json", "model_card.json", "model_card.md", "report.html"),
    ]
    assert (decision["verdict"], decision["blessed"]) == ("PASS", True)
    assert decision["method"] == "erm"


@pytest.fixture
def model(tmp_path):
    """SavedModel, and what the Evaluator records of it."""
    path = tmp_path / "model" / "Format-Serving"
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_text("graph")
    digest = digests.of_model(str(path))
    return path, {"model_digest": digest, "examples_fingerprint": "e" * 32}


@pytest.mark.parametrize("auc", [0.9, 0.1])
def test_the_blessing_says_what_it_is_of(run, model, auc):
    _, recorded = model
    blessing, _, decision = run(auc, recorded=recorded)
    found = blessings.read(blessing)
    assert found.model_digest == decision["model_digest"] == recorded["model_digest"]
    assert found.examples_fingerprint == decision["examples_fingerprint"] == "e" * 32
    expected = digests.of_settings([CHECKS, {}])
    assert found.checks_fingerprint == decision["checks_fingerprint"] == expected
    assert (found.blessed, found.verdict) == (auc == 0.9, decision["verdict"])


def test_a_model_that_changed_after_its_evaluation_is_not_judged(run, model, tmp_path):
    path, recorded = model
    (path / "saved_model.pb").write_text("grapf")
    with pytest.raises(DataError, match="was changed after it was evaluated") as error:
        run(0.9, recorded=recorded)
    assert recorded["model_digest"] in str(error.value)
    assert digests.of_model(str(path)) in str(error.value)
    assert not (tmp_path / "outputs" / "blessing" / "1").exists()


def reference(tmp_path, of):
    path = tmp_path / of / "decision_reference.json"
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize("auc", [0.9, 0.1])
def test_only_a_blessed_model_gets_what_it_was_decided_by(run, model, tmp_path, auc):
    path, recorded = model
    _, _, decision = run(auc, recorded=recorded)
    kept = reference(tmp_path, "model")
    assert (kept is not None) == (auc == 0.9)
    # It is beside the model, not of it: what is pushed and digested stays as it was.
    assert digests.of_model(str(path)) == recorded["model_digest"]
    if kept is not None:
        assert kept["settings"] == {"checks": CHECKS, "verdict": {}}
        assert kept["context"] == decision["context"]
        assert kept["environments"] == {"EWR": {"eval": 1000}}
        assert kept["model_digest"] == recorded["model_digest"]
        (check,) = kept["checks"]
        assert (check["name"], check["verdict"]) == ("worst.auc", "PASS")


def test_the_next_run_tells_what_changed(run, tmp_path):
    run(0.9)
    (tmp_path / "baseline_model").mkdir()
    (tmp_path / "model" / "decision_reference.json").rename(
        tmp_path / "baseline_model" / "decision_reference.json"
    )
    context = json.dumps({"name": "flights", "method": "v_rex"})
    _, report, _ = run(0.8, baseline=True, context=context)
    with open(os.path.join(report.uri, "report.html")) as file:
        text = file.read().partition('id="changes"')[2].partition("</section>")[0]
    assert ">method</th>" in text
    assert '<td class="text">erm</td><td class="text">v_rex</td>' in text
    assert "0.900" in text and "0.800" in text
    assert ">name</th>" not in text  # which is the same


def test_a_released_model_that_left_nothing_is_no_error(run):
    _, report, _ = run(0.9, baseline=True)
    with open(os.path.join(report.uri, "report.html")) as file:
        assert "left nothing to compare with" in file.read()


def test_the_load_check_is_in_the_report_and_decides_nothing(run):
    problems = ["takes <9> GiB of memory"]
    blessing, report, decision = run(
        0.9, loaded={"blessed": False, "problems": problems}
    )
    assert blessing.get_int_custom_property("blessed") == 1 and decision["blessed"]
    with open(os.path.join(report.uri, "report.html")) as file:
        text = file.read()
    assert "The model takes &lt;9&gt; GiB of memory." in text
    assert "the load check refuses it. Not to be released." in text


def test_an_evaluation_that_does_not_say_of_which_model_gives_no_digest(run):
    blessing, _, _ = run(0.9)
    assert blessings.read(blessing).model_digest is None


@pytest.mark.parametrize("auc", [0.1, 0.65, float("nan")])
def test_a_refusal_is_a_result(run, auc):
    blessing, _, decision = run(auc)
    assert sorted(os.listdir(blessing.uri)) == ["NOT_BLESSED", "blessing.json"]
    assert blessing.get_int_custom_property("blessed") == 0
    assert blessing.get_int_custom_property("current_model_id") == MODEL_ID
    assert decision["blessed"] is False


def test_an_evaluation_of_another_task_is_refused(run):
    checks = {"worst": {"mean_squared_error": {"max": 1.0, "over": "environment"}}}
    with pytest.raises(DataError, match="is that of task binary, but the checks are"):
        run(
            0.9,
            checks=json.dumps(checks),
            context=json.dumps({"task": "regression"}),
        )


def test_what_may_lack_data_is_blessed(run):
    rule = json.dumps({"allow_insufficient": ["worst.auc"]})
    blessing, report, _ = run(0.65, verdict=rule)
    assert sorted(os.listdir(blessing.uri)) == ["BLESSED", "blessing.json"]
    assert report.get_string_custom_property("verdict") == "INSUFFICIENT_DATA"


def test_the_baseline_is_on_the_blessing(run, tmp_path):
    blessing, _, _ = run(0.9, baseline=True, current_component_id="validator")
    baseline = str(tmp_path / "baseline_model")
    assert blessing.get_string_custom_property("baseline_model") == baseline
    assert blessing.get_int_custom_property("baseline_model_id") == BASELINE_ID
    assert blessing.get_string_custom_property("component_id") == "validator"


def test_a_baseline_that_was_not_evaluated_is_not_blessed(run, make):
    checks = json.dumps({"baseline": {"auc": {"max_drop": 0.1, "over": "environment"}}})
    results = [make.result("environment=EWR", auc=0.9)]
    blessing, _, _ = run(0.9, baseline=True, results=results, checks=checks)
    assert sorted(os.listdir(blessing.uri)) == ["NOT_BLESSED", "blessing.json"]


def test_an_older_blessing_in_the_same_folder_does_not_survive(run, tmp_path):
    folder = tmp_path / "outputs" / "blessing" / "1"
    folder.mkdir(parents=True)
    (folder / "BLESSED").touch()
    blessing, _, _ = run(0.1)
    assert sorted(os.listdir(blessing.uri)) == ["NOT_BLESSED", "blessing.json"]


def test_without_checks_nothing_is_blessed(run):
    blessing, _, _ = run(0.9, checks="{}")
    assert sorted(os.listdir(blessing.uri)) == ["NOT_BLESSED", "blessing.json"]


def test_examples_without_counts_are_an_error(run, tmp_path):
    with pytest.raises(DataError, match="carry no counts"):
        run(0.9, counts=False)
    assert not (tmp_path / "outputs" / "blessing" / "1").exists()
    with open(tmp_path / "outputs" / "error.json") as file:
        assert "carry no counts" in json.load(file)["sentence"]


@pytest.mark.parametrize("of", ["model2", "mode", "baseline_model"])
def test_an_evaluation_of_another_model_is_an_error(run, tmp_path, of):
    with pytest.raises(DataError, match="the one to decide on is"):
        run(0.9, of=of)
    assert not (tmp_path / "outputs" / "blessing" / "1").exists()


def test_kubeflow_takes_it_for_an_evaluator():
    assert issubclass(executor.Executor, evaluator_executor.Executor)


def channels(**kwargs):
    return {
        "evaluation": channel_utils.as_channel([standard_artifacts.ModelEvaluation()]),
        "examples": channel_utils.as_channel([standard_artifacts.Examples()]),
        "model": channel_utils.as_channel([standard_artifacts.Model()]),
        **kwargs,
    }


def test_the_component_has_the_contract_of_an_evaluator():
    made = component.InvarianceValidator(
        **channels(),
        checks=CHECKS,
        verdict={"confidence": 0.9},
        context={"environments": ["EWR", "JFK"], "slices": ["carrier"]},
    )
    assert made.outputs["blessing"].type is standard_artifacts.ModelBlessing
    assert made.outputs["report"].type is InvarianceReport
    properties = made.spec.exec_properties
    assert json.loads(properties["checks"]) == CHECKS
    assert json.loads(properties["verdict"]) == {"confidence": 0.9}
    assert "baseline_model" not in made.inputs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"checks": {}}, "at least one check"),
        ({"checks": {"worst": {"acu": {"min": 0.6}}}}, "did you mean 'auc'"),
        ({"checks": CHECKS, "verdict": {"confidence": 2}}, "below 1"),
        ({"checks": CHECKS, "verdict": {"allow_insufficient": ["x"]}}, "none of the"),
        (
            {
                "checks": {"gap": {"auc": {"max": 0.1}}},
                "context": {"environments": ["EWR"], "slices": []},
            },
            "a gap needs two",
        ),
    ],
)
def test_what_could_never_pass_is_refused_before_anything_runs(arguments, words):
    with pytest.raises(ValueError, match=words):
        component.InvarianceValidator(**channels(), **arguments)
