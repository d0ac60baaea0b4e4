"""`held_out: each`, run by the command on a sample of the flights."""

import json
import pathlib
import subprocess
import sys
import textwrap

import jsonschema
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from pipeline import tfx_local
from pipeline.config_io import load_config
from pipeline.pipeline import create_pipeline
from pipeline.runtime import Local
from tests.e2e.helpers import FLIGHTS, Project

pytestmark = pytest.mark.e2e

SCHEMA = FLIGHTS.parents[1] / "pipeline" / "schema" / "summary.schema.json"
COLUMNS = ["day", "distance", "arr_delay"]
NAMES = ("JFK", "Newark / UA, ☃", "Newark, all others")  # sorted
CONFIG = """
    name: flights-each
    data:
      label: {name: late, from: arr_delay, above: 15}
      exclude: [day]
      environments: {parquet: all.parquet, environment_column: place, held_out: each}
      split: {eval: 0.4, by: [day]}
      features: {numeric: [distance]}
    train:
      method: v_rex
      steps: 60
      batch_size: 256
      model: {hidden: [8]}
    checks:
      worst: {log_loss: {max: 2, over: environment}}
      baseline: {auc: {max_drop: 0.05}}
    verdict: {min_examples: 50}
"""


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    """A project in which the data alone name three environments; run once."""
    folder = tmp_path_factory.mktemp("each")
    ewr = pq.read_table(FLIGHTS / "data" / "EWR.parquet")
    jfk = pa_csv.read_csv(min((FLIGHTS / "data").glob("jfk-*.csv.gz")))
    places = [NAMES[1 if c == "UA" else 2] for c in ewr["carrier"].to_pylist()]
    places += [NAMES[0]] * jfk.num_rows
    ewr, jfk = ewr.select(COLUMNS), jfk.select(COLUMNS)
    table = pa.concat_tables([ewr, jfk.cast(ewr.schema)])
    table = table.append_column("place", pa.array(places))
    pq.write_table(table.take(list(range(0, len(table), 12))), folder / "all.parquet")
    project = Project(folder)
    project.config.write_text(textwrap.dedent(CONFIG))
    return project, project.run()


def test_every_environment_has_its_verdict(each):
    _, run = each
    assert run.exit_code == 0, run.stdout
    jsonschema.validate(run.summary, json.loads(SCHEMA.read_text()))
    assert run.summary["verdict"] == "PASS"
    assert tuple(fold["environment"] for fold in run.summary["folds"]) == NAMES
    for fold in run.summary["folds"]:
        assert [check["name"] for check in fold["checks"]] == ["worst.log_loss"]
        assert set(fold["metrics"]["ood"]) >= {f"environment={fold['environment']}"}
    assert "Newark / UA, ☃" in run.stdout


def places_in(folder):
    found = set()
    for path in folder.glob("*.gz"):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            found.add(feature["environment"].bytes_list.value[0].decode())
    return found


@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES, 1)))
def test_what_is_held_out_is_in_no_other_split(each, number, name):
    project, run = each
    artifacts = project.folder / "runs-root" / "artifacts"
    (examples,) = (artifacts / f"MultiEnvExampleGen.{number}" / "examples").iterdir()
    others = set(NAMES) - {name}
    assert places_in(examples / "Split-ood") == {name}
    assert places_in(examples / "Split-train") == others
    assert places_in(examples / "Split-eval") == others
    counted = run.summary["folds"][number - 1]["environments"]
    assert {place for place, splits in counted.items() if "ood" in splits} == {name}
    (logs,) = (artifacts / f"Trainer.{number}" / "model_run").iterdir()
    history = json.loads((logs / "history.json").read_text())
    assert set(history["risk"]) == others


def test_the_page_links_every_report(each):
    project, run = each
    page = (run.folder / "report.html").read_text()
    for fold in run.summary["folds"]:
        assert f'href="{fold["report"]}"' in page
        assert "invariance report" in (run.folder / fold["report"]).read_text()
    command = [sys.executable, "-m", "pipeline.cli", "report", str(project.config)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=FLIGHTS.parents[1], timeout=60
    )
    assert pathlib.Path(done.stdout.strip()) == run.folder / "report.html"


def test_nothing_is_released_nor_a_baseline_of_later_runs(each):
    project, run = each
    assert run.summary["pushed"] is None
    assert not (project.folder / "serving").exists()
    sets = ["data.environments.held_out=JFK"]
    config = load_config(str(project.config), sets=sets)
    nodes = tfx_local.prepare(create_pipeline(config, Local(config)), "later")
    (resolver,) = [node for node in nodes if node.name == "LatestBlessedModel"]
    resolver.launch()
    with metadata.Metadata(Local(config).metadata_connection()) as handle:
        store = handle.store
        resolved = max(store.get_executions(), key=lambda execution: execution.id)
        assert resolved.last_known_state == metadata_store_pb2.Execution.COMPLETE
        assert not store.get_events_by_execution_ids([resolved.id])


def test_a_rerun_reuses_everything(each):
    project, _ = each
    again = project.run()
    stages = {stage["name"]: stage["cached"] for stage in again.summary["stages"]}
    assert [name for name, cached in stages.items() if not cached] == ["start"]
    assert again.summary["folds"] == each[1].summary["folds"]
