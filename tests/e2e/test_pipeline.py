"""The real pipeline, run by its command on a sample of the flights."""

import gzip
import json
import pathlib
import subprocess
import sys
import textwrap

import jsonschema
import pytest

from components import digests
from tests.e2e.helpers import CONFIG, Project, write_sample

pytestmark = pytest.mark.e2e

REPOSITORY = pathlib.Path(__file__).parents[2]
SCHEMA = REPOSITORY / "pipeline" / "schema" / "summary.schema.json"
STAGES = [
    "SourceManifest",
    "MultiEnvExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "EnvironmentValidator",
    "ExampleValidator",
    "GroupSizeValidator",
    "Transform",
    "Trainer",
    "LatestBlessedModel",
    "Evaluator",
    "ModelValidator",
    "InvarianceValidator",
    "Pusher",
]


def cached(run):
    stages = run.summary["stages"]
    return {s["name"]: s["cached"] for s in stages if s["name"] in STAGES}


def test_first_run_is_released_and_says_so(first):
    assert first.exit_code == 0, first.stdout
    assert first.summary["verdict"] == "PASS"
    assert first.summary["error"] is None
    assert first.summary["pushed"] in first.stdout
    for stage in STAGES:
        assert stage in first.stdout
    for check in first.summary["checks"]:
        assert check["verdict"] == "PASS"
        assert check["reason"]
    assert str(first.folder / "report.html") in first.stdout
    assert not any(cached(first).values())
    (line,) = [x for x in first.stdout.splitlines() if x.startswith("schema ")]
    assert pathlib.Path(line.split()[1]).read_text().count("feature {") > 10


def test_the_model_was_loaded_and_asked_in_a_process_of_its_own(first):
    loaded = first.summary["load_check"]
    assert loaded["blessed"] and loaded["problems"] == []
    assert {"scores", "alone", "raw"} <= set(loaded["compared"])
    assert loaded["examples"] >= 64 and loaded["warmup"] == 9
    (mark,) = first.folder.parents[1].glob("artifacts/ModelValidator/**/INFRA_BLESSED")
    assert json.loads((mark.parent / "load_check.json").read_text()) == loaded


def test_the_log_tells_where_it_trained(first):
    text = (first.folder / "log.txt").read_text()
    assert "trainer_module.devices: Training on" in text
    assert "trainer_module.fit: Step 200 of 200" in text


def test_summary_keeps_its_schema(first, refused):
    schema = json.loads(SCHEMA.read_text())
    for run in (first, refused):
        jsonschema.validate(run.summary, schema)


def test_every_environment_and_split_was_counted_and_measured(first):
    environments = first.summary["environments"]
    assert set(environments) == {"EWR", "JFK", "LGA"}
    assert set(environments["LGA"]) == {"ood"}
    assert set(environments["EWR"]) == {"train", "eval"}
    metrics = first.summary["metrics"]
    assert {"overall", "environment=EWR", "environment=JFK"} <= set(metrics["eval"])
    assert "environment=LGA" in metrics["ood"]
    assert any(name.startswith("environment=EWR,carrier=") for name in metrics["eval"])
    for values in metrics["eval"]["overall"], metrics["ood"]["environment=LGA"]:
        assert 0 < values["auc"] < 1
        assert values["log_loss"] > 0


def test_report_stands_alone(first):
    text = (first.folder / "report.html").read_text()
    assert "LGA" in text and "PASS" in text
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in text


def test_the_exported_model_was_attacked(first):
    (check,) = [c for c in first.summary["checks"] if "robustness" in c["name"]]
    assert check["name"] == "robustness.log_loss.fgsm-linf-0.1"
    clean = first.summary["metrics"][check["split"]][check["slice"]]["log_loss"]
    assert clean < check["value"] < clean + 1
    reports = first.folder.parents[1] / "artifacts" / "InvarianceValidator" / "report"
    decision = min(reports.glob("*/decision.json"), key=lambda p: int(p.parent.name))
    attacked = json.loads(decision.read_text())["attacked"]["fgsm-linf-0.1"]
    for split, slices in attacked.items():
        for name, values in slices.items():
            untouched = first.summary["metrics"][split][name]
            assert values["log_loss"] > untouched["log_loss"]


def test_what_the_environments_are_like_is_told_and_kept(first, second):
    checks = {f["check"] for f in first.summary["findings"]}
    assert "groups" in checks and not any(c.endswith("drift") for c in checks)
    assert "error" not in {f["level"] for f in first.summary["findings"]}
    text = (first.folder / "report.html").read_text()
    assert "Distance between environments" in text
    assert (first.folder / "environments.html").exists()
    # The second run compared with the first's, whose model is released.
    (reference,) = (first.folder.parents[1] / "artifacts" / "Trainer").glob(
        "model/*/environments_reference.json"
    )
    assert set(json.loads(reference.read_text())["environments"]) == {
        *("EWR", "JFK", "LGA")
    }
    assert second.summary["findings"] == first.summary["findings"]


def test_what_is_unfit_stops_the_run_before_transform(project, third):
    leak = project.run("--set", "inspect.leak={max: 0.5}", "--set", "train.seed=5")
    assert leak.exit_code == 2
    names = [stage["name"] for stage in leak.summary["stages"]]
    assert names[-1] == "EnvironmentValidator"
    assert "alone tells the label in" in leak.summary["error"]["sentence"]
    assert leak.summary["error"]["sentence"] in leak.stderr
    assert leak.summary["findings"][0]["level"] == "error"
    assert (leak.folder / "environments.html").exists()


def test_inspect_tells_everything_and_trains_nothing(project, third):
    told = project.command("inspect")
    assert told.returncode == 0, told.stderr
    assert "EnvironmentValidator" in told.stdout and "Transform" not in told.stdout
    assert "label AUC" in told.stdout
    unfit = project.command("inspect", "--set", "inspect.leak={max: 0.5}")
    assert unfit.returncode == 2
    assert "ERROR  leak" in unfit.stdout
    assert "are errors, so tfx-irm run would stop there" in unfit.stderr
    (line,) = [x for x in unfit.stdout.splitlines() if x.startswith("page ")]
    assert pathlib.Path(line.split()[1]).read_text().startswith("<!DOCTYPE html>")


def test_pushed_model_answers_in_a_clean_process(first):
    script = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
example = tf.train.Example()
feature = example.features.feature
feature["carrier"].bytes_list.value.append(b"UA")
feature["dest"].bytes_list.value.append(b"ORD")
feature["distance"].int64_list.value.append(719)
feature["month"].int64_list.value.append(1)
feature["sched_dep_time"].int64_list.value.append(1800)
out = model.signatures["serving_default"](tf.constant([example.SerializeToString()]))
print(json.dumps({k: v.numpy().tolist() for k, v in out.items()}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, first.summary["pushed"]],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert 0 < answer["probabilities"][0][0] < 1
    warm_up = pathlib.Path(first.summary["pushed"]) / "assets.extra"
    assert (warm_up / "tf_serving_warmup_requests").stat().st_size > 0


def test_rerun_reuses_all_but_what_hangs_on_the_baseline(first, second):
    assert second.exit_code == 0
    again = {"LatestBlessedModel", "EnvironmentValidator", "Evaluator"}
    again |= {"ModelValidator", "InvarianceValidator", "Pusher"}
    assert {name for name, hit in cached(second).items() if not hit} == again
    (check,) = [c for c in second.summary["checks"] if c["name"].startswith("baseline")]
    assert check["verdict"] == "PASS"
    assert check["value"] == pytest.approx(0, abs=1e-9)


def served(run):
    """Numbers of the versions in the serving folder, ascending."""
    folder = pathlib.Path(run.summary["pushed"]).parent
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_same_model_is_not_pushed_twice(first, second):
    assert second.summary["pushed"] == first.summary["pushed"]
    assert len(served(first)) == 1


def test_what_is_released_is_what_was_judged(first, project):
    digest = digests.of_model(first.summary["pushed"])
    assert first.summary["model_digest"] == digest
    told = pathlib.Path(first.summary["pushed"]) / "assets.extra" / "release.json"
    release = json.loads(told.read_text())
    assert release["digest"] == digest
    assert (release["blessed"], release["run"]) == (True, first.summary["run_id"])
    assert release["pipeline"] == "flights-sample"
    artifacts = project.folder / "runs-root" / "artifacts"
    for path in (artifacts / "InvarianceValidator" / "blessing").iterdir():
        blessing = json.loads((path / "blessing.json").read_text())
        assert blessing["model_digest"] == digest
        assert blessing["examples_fingerprint"] == release["examples_fingerprint"]


def test_third_run_is_all_cached(third):
    assert third.exit_code == 0
    cold = {name for name, hit in cached(third).items() if not hit}
    assert cold <= {"LatestBlessedModel"}


def test_unreachable_bound_is_refused_and_nothing_is_pushed(first, refused):
    assert refused.exit_code == 3
    assert refused.summary["verdict"] == "FAIL"
    assert refused.summary["pushed"] is None
    (check,) = refused.summary["checks"]
    assert "0.999" in check["reason"]
    assert cached(refused)["Trainer"]
    assert refused.summary["model_digest"] in refused.stdout
    assert len(served(first)) == 1
    assert (refused.folder / "report.html").is_file()


def test_training_left_its_curves(first, project):
    trainer = project.folder / "runs-root" / "artifacts" / "Trainer"
    (logs,) = (trainer / "model_run").iterdir()
    history = json.loads((logs / "history.json").read_text())
    assert set(history["risk"]) == {"EWR", "JFK"}
    assert len(history["steps"]) == len(history["penalty"])
    assert list(logs.rglob("events.out.tfevents.*"))


def test_bad_source_ends_in_a_sentence_and_leaves_nothing(tmp_path):
    """One that only ingestion meets: what `validate` finds never makes a run."""
    write_sample(tmp_path / "data")
    broken = Project(tmp_path)
    broken.config.write_text(textwrap.dedent(CONFIG))
    source = tmp_path / "data" / "jfk-b.csv.gz"
    with gzip.open(source, "at") as file:
        file.write("1,2\n")
    run = broken.run()
    assert run.exit_code == 2
    assert run.stderr.count("\n") == 1
    assert "jfk-b.csv.gz, line " in run.stderr
    assert ": has 2 fields where " in run.stderr
    assert run.summary["error"] == {
        "exit": 2,
        "sentence": run.stderr.removeprefix("tfx-irm: ").strip(),
    }
    left = tmp_path / "runs-root" / "artifacts" / "MultiEnvExampleGen"
    told = json.loads((left / "error.json").read_text())
    assert told == run.summary["error"]
    assert not list((left / "examples").glob("*"))
    assert not (tmp_path / "serving").exists()


def test_methods_are_compared_on_the_artifacts_of_the_runs(project, first, third):
    """Nothing before training runs again, and the same training gives the same."""
    command = [sys.executable, "-m", "pipeline.cli", "compare", str(project.config)]
    done = subprocess.run(
        [*command, "--methods", "erm,v_rex"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    stages = [line.split() for line in done.stdout.splitlines() if " s" in line]
    reused = {words[0] for words in stages if words[-1] == "reused"}
    assert {"MultiEnvExampleGen", "StatisticsGen", "Transform"} <= reused
    assert not any(name.startswith(("Trainer", "Evaluator")) for name in reused)
    (folder,) = (project.folder / "runs-root" / "comparisons").iterdir()
    document = json.loads((folder / "comparison.json").read_text())
    assert [run["method"] for run in document["runs"]] == ["erm", "v_rex"]
    assert document["training"] == ["EWR", "JFK"]
    erm, v_rex = (run["environments"] for run in document["runs"])
    for name, split in (("EWR", "eval"), ("JFK", "eval"), ("LGA", "ood")):
        expected = first.summary["metrics"][split][f"environment={name}"]
        for metric in ("auc", "log_loss", "calibration_slope"):
            assert v_rex[name][metric] == pytest.approx(expected[metric], rel=1e-9)
        assert erm[name]["log_loss"] != v_rex[name]["log_loss"]
    assert "| v_rex" in done.stdout
    assert str(folder / "comparison.html") in done.stdout
    assert "0 failed" not in (folder / "comparison.html").read_text()


def test_tuning_never_reads_what_is_held_out(project, third):
    """Its examples are not even there."""
    examples = project.folder / "runs-root" / "artifacts" / "MultiEnvExampleGen"
    held_out = list(examples.glob("examples/*/Split-ood"))
    assert held_out
    command = [sys.executable, "-m", "pipeline.cli", "tune", str(project.config)]
    away = [folder.rename(folder.with_name("away")) for folder in held_out]
    try:
        done = subprocess.run(
            [*command, "--trials", "2", "--select", "training_environments"],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=600,
        )
    finally:
        for folder, before in zip(away, held_out, strict=True):
            folder.rename(before)
    assert done.returncode == 0, done.stderr + done.stdout
    (folder,) = (project.folder / "runs-root" / "tunings").iterdir()
    results = json.loads((folder / "tuning.json").read_text())
    assert results["environments"] == ["EWR", "JFK"]
    assert len(results["trials"]) == 2
    assert results["trials"][0]["settings"]["weights"] == [10.0]
    assert f"environments names trial {results['chosen'] + 1}:" in done.stdout
    assert "tfx-irm run" in done.stdout
    assert not list((project.folder / "runs-root" / "checkpoints").iterdir())
