"""From a refusal by an override to a rollback, on the runs that the others share."""

import datetime
import json
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import digests
from components.pusher import versions
from tests.e2e.helpers import FLIGHTS, KEEP

pytestmark = pytest.mark.e2e

BOUND = {"worst": {"auc": {"min": 0.999, "over": "environment"}}}
OTHER = ["--set", "train.seed=7", "--set", f"checks={json.dumps(BOUND)}"]
OVERRIDE = [*OTHER, "--set", "push.override=override.yaml"]


@pytest.fixture(scope="module")
def other(project, refused):
    """Another model, which is refused."""
    return project.run(*OTHER)


@pytest.fixture(scope="module")
def swapped(project, other):
    """The model was changed after it was judged, and an override names what was."""
    tomorrow = datetime.date.today() + datetime.timedelta(days=2)
    (project.folder / "override.yaml").write_text(
        "who: Ada <Example>\nwhy: the ward needs it\n"
        f"digest: {other.summary['model_digest']}\nexpires: {tomorrow}\n"
    )
    trainer = project.folder / "runs-root" / "artifacts" / "Trainer" / "model"
    for path in trainer.glob("*/Format-Serving"):
        if digests.of_model(str(path)) == other.summary["model_digest"]:
            (path / "fingerprint.pb").rename(path / "fingerprint.pc")
            changed = digests.of_model(str(path))
            run = project.run(*OVERRIDE)
            (path / "fingerprint.pc").rename(path / "fingerprint.pb")
            return run, changed
    raise AssertionError("the model is not there")


@pytest.fixture(scope="module")
def overridden(project, swapped):
    """The same command on the model as it was."""
    return project.run(*OVERRIDE)


@pytest.fixture(scope="module")
def rolled_back(project, overridden):
    """What was served before is served again."""
    return project.command("rollback")


def test_a_swapped_model_is_not_pushed(other, swapped):
    run, changed = swapped
    assert run.exit_code == 2
    assert run.summary["pushed"] is None
    sentence = run.summary["error"]["sentence"]
    assert "is not the one that was judged" in sentence
    assert other.summary["model_digest"] in sentence and changed in sentence
    assert sentence in run.stderr


def test_an_override_releases_and_shows_everywhere(other, overridden):
    assert other.exit_code == 3 and other.summary["pushed"] is None
    assert overridden.exit_code == 0
    summary = overridden.summary
    assert summary["verdict"] == "FAIL"
    assert summary["model_digest"] == other.summary["model_digest"]
    assert digests.of_model(summary["pushed"]) == summary["model_digest"]
    given = summary["override"]
    assert (given["who"], given["why"]) == ("Ada <Example>", "the ward needs it")
    told = pathlib.Path(summary["pushed"]) / "assets.extra" / "release.json"
    assert json.loads(told.read_text())["override"] == given
    report = (overridden.folder / "report.html").read_text()
    assert "Ada &lt;Example&gt; answers for it until" in report
    assert "the ward needs it" in overridden.stdout


def test_a_rollback_serves_the_last_blessed_one(first, overridden, rolled_back):
    assert rolled_back.returncode == 0, rolled_back.stderr
    pushed = pathlib.Path(overridden.summary["pushed"])
    versions = sorted(p.name for p in pushed.parent.iterdir() if p.name.isdigit())
    assert len(versions) == 3
    served = pushed.parent / max(versions, key=int)
    assert f"serving  {served}, as version" in rolled_back.stdout
    assert digests.of_model(str(served)) == first.summary["model_digest"]


def test_a_rerun_does_not_bring_it_back(project, overridden, rolled_back):
    again = project.run(*OVERRIDE)
    assert again.exit_code == 3
    assert again.summary["pushed"] is None
    assert "was rolled back" in again.summary["not_pushed"]
    assert again.summary["not_pushed"] in again.stdout


def test_after_pruning_the_released_model_is_still_there(project, first, rolled_back):
    done = project.command("prune", "--keep", "1")
    assert done.returncode == 0, done.stderr
    assert "InvarianceValidator" in done.stdout  # whose refusals nobody needs
    assert "the last 1 run stays" in done.stdout
    run = project.run()
    assert run.exit_code == 0
    assert run.summary["model_digest"] == first.summary["model_digest"]
    assert digests.of_model(run.summary["pushed"]) == run.summary["model_digest"]
    cached = {s["name"]: s["cached"] for s in run.summary["stages"]}
    assert cached["MultiEnvExampleGen"] and cached["Trainer"]


@pytest.fixture(scope="module")
def stream(project):
    """Other flights of EWR, as they are and with their labels the wrong way round."""
    ewr = pq.read_table(FLIGHTS / "data" / "EWR.parquet")
    rows = pa.array(range(5, ewr.num_rows, 12))
    table = ewr.take(rows).select(KEEP)
    late = [d if d is None else 99 * (d <= 15) for d in table["arr_delay"].to_pylist()]
    at = table.schema.get_field_index("arr_delay")
    flipped = table.set_column(at, "arr_delay", pa.array(late, pa.int64()))
    pq.write_table(table, project.folder / "new.parquet")
    pq.write_table(flipped, project.folder / "flipped.parquet")
    return ["--environment", "EWR", "--data"]


@pytest.fixture(scope="module")
def monitored(project, overridden, stream):
    """The served model on new flights, before anything is rolled back."""
    return project.command("monitor", *stream, str(project.folder / "new.parquet"))


@pytest.fixture(scope="module")
def found_broken(project, monitored, rolled_back, stream):
    """A newer version is released, and then labels are the wrong way round."""
    serving = str(project.folder / "serving")
    model = project.folder / "newer"
    shutil.copytree(versions.latest(serving).path, model)
    (model / "assets.extra" / "note.txt").write_text("makes another digest")
    told = {"blessed": True, "evaluated": versions.latest(serving).release["evaluated"]}
    digest = digests.of_model(str(model))
    before = versions.publish(str(model), serving, digest, told)
    data = str(project.folder / "flipped.parquet")
    return before, project.command("monitor", *stream, data, "--rollback")


def test_a_served_model_holds_on_new_flights(monitored):
    assert monitored.returncode == 0, monitored.stderr
    assert "HOLDS" in monitored.stdout.splitlines()
    assert "environment=EWR (eval)" in monitored.stdout
    assert "score_shift: mean prediction" in monitored.stdout


def test_flipped_labels_break_it_and_roll_it_back(project, first, found_broken):
    before, done = found_broken
    assert done.returncode == 3, done.stderr
    assert f"version {before.number}, look 1:" in done.stdout
    assert "BROKEN" in done.stdout.splitlines()
    assert "calibration on environment=EWR (eval)" in done.stdout
    assert f"replaced {before.path}" in done.stdout
    served = versions.latest(str(project.folder / "serving"))
    assert f"serving  {served.path}" in done.stdout
    assert digests.of_model(served.path) == first.summary["model_digest"]
