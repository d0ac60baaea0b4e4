"""`tfx-irm monitor` on a released version whose model is a stand-in."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components import digests
from components.monitor import scoring
from components.pusher import versions
from pipeline import cli
from tests.pipeline.conftest import encode_example, encode_records

EVALUATED = {
    "eval": [
        {"slice": [], "examples": 99, "mean": 0.3, "below": []},
        {"slice": [["environment", "EWR"]], "examples": 99, "mean": 0.3, "below": []},
        {"slice": [["environment", "JFK"]], "examples": 99, "mean": 0.3, "below": []},
    ],
    "ood": [
        {"slice": [["environment", "LGA"]], "examples": 99, "mean": 0.3, "below": []}
    ],
}


class Stub:
    """A model whose score is the distance / 1000."""

    columns = {"distance": "float", "carrier": "bytes"}

    def __init__(self, path, task):
        self.path = path

    def __call__(self, examples):
        found = []
        for text in examples.to_pylist():
            feature = tf.train.Example.FromString(text).features.feature
            values = feature["distance"].float_list.value
            found.append(values[0] / 1000 if values else np.nan)
        return np.array(found)


@pytest.fixture
def serving(project):
    return str(project.folder / "serving")


@pytest.fixture
def release(project, serving):
    """Releases one more version."""

    def go(text, evaluated=EVALUATED, **more):
        model = project.folder / f"model-{text}"
        model.mkdir()
        (model / "saved_model.pb").write_text(text)
        told = {"blessed": True, "evaluated": evaluated, **more}
        return versions.publish(str(model), serving, digests.of_model(str(model)), told)

    return go


@pytest.fixture
def monitor(project, release, monkeypatch, capsys):
    """Runs the command on a released version; (status, output, errors)."""
    monkeypatch.setattr(scoring, "ServedModel", Stub)
    release("a")

    def go(*arguments):
        status = cli.main(["monitor", str(project.config), *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return go


def table(size=300, seed=0, shift=0.0, environment="EWR"):
    """Flights, late as forecast but for a shift, over 28 days of a month each."""
    rng = np.random.default_rng(seed)
    distance = rng.uniform(200, 400, size)
    late = rng.random(size) < distance / 1000 + shift
    return pa.table(
        {
            "month": rng.integers(1, 13, size),
            "arr_delay": np.where(late, 30, 0),
            "dep_delay": np.zeros(size, np.int64),
            "distance": distance,
            "carrier": rng.choice(["UA", "AA"], size),
            "environment": [environment] * size,
        }
    )


@pytest.fixture
def write(project):
    """Writes a file of the stream; its path."""

    def go(content, name="new.parquet"):
        path = project.folder / name
        pq.write_table(content, path)
        return path

    return go


def state_of(project):
    (path,) = (project.folder / "serving" / "monitor").glob("*/state.json")
    return json.loads(path.read_text())


def test_holds(project, monitor, write):
    status, out, err = monitor("--data", write(table()))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("look 1: 300 new examples")
    assert "HOLDS" in lines
    assert "  not followed: worst.auc auc is no mean" in lines
    (record,) = (project.folder / "serving" / "monitor").glob("*/look-00001.json")
    assert lines[-1] == f"record {record}"
    told = json.loads(record.read_text())
    assert told["environments"] == {"EWR": {"rows": 300, "split": "eval", "new": False}}
    assert (told["verdict"], told["labelled"], told["reasons"]) == ("HOLDS", True, [])


def broken(monitor, write, *arguments):
    """Looks until it is broken."""
    for i in range(40):
        path = write(table(seed=i, shift=0.5), f"day-{i}.parquet")
        found = monitor("--data", path, *arguments)
        if found[0]:
            return found
    raise AssertionError("never broken")


def test_holding_says_how_many_checks_it_is_of(project, monitor, write):
    """An AUC and a gap: what is followed is the config's `monitor`."""
    _, out, _ = monitor("--data", write(table()))
    lines = out.splitlines()
    said = "  of 2 checks 0 can be followed; of the others this says nothing"
    assert lines[lines.index("HOLDS") + 1] == said
    assert sum("not followed:" in line for line in lines) == 2


def test_a_column_that_is_gone_is_said_though_nothing_bounds_it(
    project, monitor, write
):
    content = table()
    holes = pa.array([None] * 225 + content["carrier"].to_pylist()[225:])
    file = project.folder / "m.txt"
    path = write(content.set_column(4, "carrier", holes))
    status, out, _ = monitor("--data", path, "--metrics", file)
    assert status == 0
    assert "  missing values: carrier 75 %" in out.splitlines()
    text = file.read_text()
    assert 'tfx_irm_monitor_missing{column="carrier"} 0.75' in text
    assert 'tfx_irm_monitor_checks{followed="false"} 2.0' in text
    assert 'tfx_irm_monitor_checks{followed="true"} 0.0' in text


def test_what_an_override_released_is_not_said_to_hold_its_verdict(
    project, release, monitor, write
):
    override = {"who": "Ada <b>", "why": "x", "digest": "a" * 32, "expires": "x"}
    release("b", blessed=False, verdict="FAIL", override=override)
    _, out, _ = monitor("--data", write(table()))
    assert "  released by an override (Ada <b>): its verdict is FAIL" in out
    (record,) = (project.folder / "serving" / "monitor").glob("*/look-00001.json")
    told = json.loads(record.read_text())["released"]
    assert told == {"verdict": "FAIL", "override": override}


def test_is_broken_and_stays_so(monitor, write):
    status, out, _ = broken(monitor, write)
    assert status == 3
    assert "BROKEN" in out.splitlines()
    assert "calibration on environment=EWR (eval): mean label less mean" in out
    status, out, _ = monitor("--data", write(table(seed=99)))
    assert status == 3 and "BROKEN" in out.splitlines()


def test_rolls_back_and_begins_anew(project, monitor, write, release):
    newer = release("b")
    status, out, _ = broken(monitor, write, "--rollback")
    assert status == 3
    assert f"replaced {newer.path}" in out
    assert f"{newer.told} is not pushed again" in out
    served = versions.latest(str(project.folder / "serving"))
    assert f"serving  {served.path}" in out
    assert served.told != newer.told
    status, out, _ = monitor("--data", write(table(seed=99)))
    assert status == 0
    assert out.startswith(f"version {served.number}, look 1:")


def test_looks_that_cannot_be_kept(monitor, write, serving):
    """A file lies where their folder would."""
    with open(f"{serving}/monitor", "w"):
        pass
    status, out, err = monitor("--data", write(table()))
    assert (status, out) == (2, "")
    assert "looks cannot be read and written there: " in err


class TestStore:
    """The versions lie on a store; TensorFlow's in memory stands for it."""

    @pytest.fixture
    def serving(self, project, tmp_path):
        url = f"ram://{tmp_path.name}/serving"
        with open(project.config, "a") as file:
            file.write(f"push: {{path: '{url}'}}\n")
        return url

    def test_looks_are_kept_there(self, monitor, write, serving):
        path = write(table())
        status, out, err = monitor("--data", path)
        assert (status, err) == (0, "")
        record = out.splitlines()[-1].removeprefix("record ")
        assert record.startswith(f"{serving}/monitor/")
        with tf.io.gfile.GFile(record) as file:
            assert json.loads(file.read())["verdict"] == "HOLDS"
        _, out, _ = monitor("--data", path)
        assert f"{path} was counted before, and is not again" in out
        _, out, _ = monitor("--data", write(table(seed=1), "b.parquet"))
        assert "look 2: 300 new examples" in out

    def test_what_is_broken_is_rolled_back_there(
        self, monitor, write, release, serving, project
    ):
        newer = release("b")
        status, out, _ = broken(monitor, write, "--rollback")
        assert status == 3 and f"replaced {newer.path}" in out
        served = versions.latest(serving)
        assert served.told != newer.told and served.path.startswith(serving)
        assert cli.main(["rollback", str(project.config)]) == 2
        back = ["rollback", str(project.config), "--to", str(newer.number)]
        assert cli.main(back) == 0
        assert versions.latest(serving).told == newer.told


def test_nothing_to_roll_back_to_is_said(project, monitor, write):
    status, out, _ = broken(monitor, write, "--rollback")
    assert status == 3
    assert "not rolled back:" in out and "no version to roll back to" in out


def test_holding_rolls_nothing_back(project, monitor, write, release):
    newer = release("b")
    assert monitor("--data", write(table()), "--rollback")[0] == 0
    assert versions.latest(str(project.folder / "serving")).number == newer.number


def test_the_same_file_counts_once(project, monitor, write):
    first, copy = write(table()), write(table(), "copy.parquet")
    monitor("--data", first)
    before = state_of(project)
    status, out, _ = monitor("--data", copy)
    assert status == 0
    assert f"{copy} was counted before, and is not again" in out
    assert state_of(project) == before
    status, out, _ = monitor("--data", copy, write(table(seed=1), "b.parquet"))
    assert "look 2: 300 new examples" in out


def test_two_files_of_the_same_bytes_count_once(monitor, write):
    _, out, _ = monitor("--data", write(table()), write(table(), "copy.parquet"))
    assert "look 1: 300 new examples" in out
    assert "copy.parquet was counted before" in out


def test_a_dry_run_keeps_nothing(project, monitor, write):
    status, out, _ = monitor("--data", write(table()), "--dry-run")
    assert status == 0 and "dry run: nothing was kept" in out
    assert not list((project.folder / "serving" / "monitor").glob("*/*"))
    status, _, err = monitor("--data", write(table()), "--dry-run", "--rollback")
    assert status == 2 and "leave one of the two out" in err


def test_without_labels(monitor, write):
    status, out, _ = monitor("--data", write(table().drop(["arr_delay"])))
    assert status == 0
    assert "300 new examples, without labels" in out
    assert "score_shift: mean prediction" in out
    assert "calibration " not in out


def test_a_new_environment_is_listed(monitor, write):
    status, out, _ = monitor("--data", write(table(environment="SFO")))
    assert status == 0
    assert "new: not in the released evaluation" in out
    assert "environment=SFO (ood)" in out


def test_the_environment_may_be_named(monitor, write):
    content = table().drop(["environment"])
    status, out, _ = monitor("--data", write(content), "--environment", "JFK")
    assert status == 0 and "environment=JFK (eval)" in out
    other = table(seed=1).drop(["environment"])
    status, _, err = monitor("--data", write(other, "b.parquet"))
    assert status == 2
    assert "no column 'environment'" in err and "--environment" in err


def test_a_prediction_that_is_none(monitor, write):
    content = table()
    holes = pa.array([None] * 5 + content["distance"].to_pylist()[5:])
    content = content.set_column(3, "distance", holes)
    status, out, _ = monitor("--data", write(content))
    assert status == 3
    assert "5 predictions are none: NaN" in out


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tfrecord", "jsonl"])
def test_other_formats_tell_the_same(project, monitor, write, form):
    content = table()
    monitor("--data", write(content), "--set", "monitor.missing=0.5")
    wanted = state_of(project)["watched"]
    project.config.write_text(project.config.read_text() + "push: {path: again}\n")
    (project.folder / "serving").rename(project.folder / "again")
    for path in (project.folder / "again" / "monitor").glob("*/*"):
        path.unlink()
    path = project.folder / f"new.{form}"
    rows = content.to_pylist()
    if form == "tfrecord":
        records = [
            encode_example(
                {k: [v.encode() if isinstance(v, str) else v] for k, v in row.items()}
            )
            for row in rows
        ]
        path.write_bytes(encode_records(records))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with pa.output_stream(str(path)) as out:
            pa_csv.write_csv(content, out)
    status, _, err = monitor("--data", path, "--set", "monitor.missing=0.5")
    assert (status, err) == (0, "")
    (kept,) = (project.folder / "again" / "monitor").glob("*/state.json")
    found = json.loads(kept.read_text())["watched"]
    assert set(found) == set(wanted) and len(found) > 10
    for key, one in found.items():
        assert one["peak"] == pytest.approx(wanted[key]["peak"], abs=1e-6)
        assert one["all"] == pytest.approx(wanted[key]["all"], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.slice(0, 0), "has no rows to look at"),
        (lambda t: t.drop(["distance"]), "no column 'distance', which the served"),
        (lambda t: t.drop(["month"]), "no column 'month', which data.split.by names"),
        (
            lambda t: t.set_column(3, "distance", pa.array(["far"] * len(t))),
            "column 'distance' holds text, and the served model takes numbers",
        ),
        (
            lambda t: t.set_column(4, "carrier", pa.array([1] * len(t))),
            "column 'carrier' holds numbers, and the served model takes text",
        ),
    ],
)
def test_data_that_cannot_be_looked_at(project, monitor, write, change, said):
    status, out, err = monitor("--data", write(change(table())))
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert said in line
    assert not list((project.folder / "serving" / "monitor").glob("*/*"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.parquet", None, "gone.parquet is not there; name files"),
        ("new.parquet", b"", "cannot be read as parquet"),
        ("new.data", b"x", "does not tell its format by its name"),
    ],
)
def test_files_that_are_none(project, monitor, name, content, said):
    path = project.folder / name
    if content is not None:
        path.write_bytes(content)
    status, _, err = monitor("--data", path)
    assert status == 2 and said in err


def test_nothing_is_served(project, capsys):
    assert cli.main(["monitor", str(project.config), "--data", "x.csv"]) == 2
    assert "no version is served from there" in capsys.readouterr().err


def test_a_version_that_was_changed(project, monitor, write):
    version = versions.latest(str(project.folder / "serving"))
    with open(f"{version.path}/saved_model.pb", "a") as file:
        file.write("x")
    status, _, err = monitor("--data", write(table()))
    assert status == 2 and "was changed: it was released with" in err


def test_a_release_that_tells_no_scores(project, release, monitor, write):
    release("b", {})
    status, out, _ = monitor("--data", write(table()))
    assert status == 0
    assert "the release tells no scores" in out
    assert "calibration" in out and "score_shift:" not in out


def test_another_question_begins_anew(project, monitor, write):
    path = write(table())
    monitor("--data", path)
    status, out, _ = monitor("--data", path, "--set", "monitor.calibration=0.2")
    assert status == 0 and "look 1: 300 new examples" in out


def test_metrics_and_json_lines(project, monitor, write):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    file = project.folder / "metrics.txt"
    status, out, _ = monitor(
        "--data", write(table()), "--metrics", file, "--log-format", "json"
    )
    assert status == 0
    messages = [json.loads(line)["message"] for line in out.splitlines()]
    assert "HOLDS" in messages
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
    assert found["tfx_irm_monitor_holds"] == 1
    assert found["tfx_irm_monitor_looks"] == 1
    assert found["tfx_irm_monitor_examples"] == 300
    assert 0 <= found["tfx_irm_monitor_evidence"] < 1
