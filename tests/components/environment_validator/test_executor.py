"""The whole component on tf.Examples: what it writes, and how it stops."""

import json
import pathlib

import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, channel_utils, standard_artifacts

from components.artifacts import EnvironmentReport
from components.environment_validator import executor, page, record
from components.environment_validator.component import EnvironmentValidator
from components.errors import DataError

from .conftest import OPTIONS

LOCAL = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=embed"]
PORTABLE += ["--environment_type=LOOPBACK"]


def write(root, world):
    """The artifacts that the component takes."""
    import tensorflow as tf

    splits = ("train", "eval", "ood")
    examples = standard_artifacts.Examples()
    examples.uri = str(root / "examples")
    examples.split_names = artifact_utils.encode_split_names(list(splits))
    names = {name for _, name in world}
    held_out = {name for split, name in world if split == "ood"}
    counts = {n: {"held_out": n in held_out, "splits": {}} for n in names}
    examples.set_string_custom_property(
        "counts", json.dumps({"environments": counts, "slices": {}})
    )
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(root / "statistics")
    statistics.split_names = examples.split_names
    for split in splits:
        tables = [t for (s, _), t in sorted(world.items()) if s == split]
        table = pa.concat_tables(tables)
        folder = root / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        options = tf.io.TFRecordOptions("GZIP")
        for i in range(2):
            path = str(folder / f"data-{i:05d}-of-00002.gz")
            rows = table.to_pylist()[i::2]
            with tf.io.TFRecordWriter(path, options) as writer:
                for row in rows:
                    writer.write(_example(row))
        found = tfdv.generate_statistics_from_dataframe(table.to_pandas())
        place = root / "statistics" / f"Split-{split}"
        place.mkdir(parents=True)
        (place / "FeatureStats.pb").write_bytes(found.SerializeToString())
    schema = standard_artifacts.Schema()
    schema.uri = str(root / "schema")
    (root / "schema").mkdir()
    tfdv.write_schema_text(
        tfdv.infer_schema(found), str(root / "schema" / "schema.pbtxt")
    )
    return {"examples": [examples], "statistics": [statistics], "schema": [schema]}


def _example(row):
    import tensorflow as tf

    example = tf.train.Example()
    for name, value in row.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes | str):
            text = value if isinstance(value, bytes) else value.encode()
            feature.bytes_list.value.append(text)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        elif value is not None:
            feature.float_list.value.append(value)
    return example.SerializeToString()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, world):
    small = {cell: table.slice(0, 600) for cell, table in world.items()}
    return write(tmp_path_factory.mktemp("inputs"), small)


def run(root, inputs, inspect=None, released=None, arguments=(LOCAL,)):
    report = EnvironmentReport()
    report.uri = str(root / "EnvironmentValidator" / "report" / "1")
    taken = dict(inputs)
    if released is not None:
        taken["released"] = [released]
    context = executor.Executor.Context(
        beam_pipeline_args=list(arguments), tmp_dir=str(root), unique_id="1"
    )
    executor.Executor(context).Do(
        taken,
        {"report": [report]},
        {"options": OPTIONS.as_json(), "inspect": json.dumps(inspect or {})},
    )
    return report


def read(report, name):
    return json.loads((pathlib.Path(report.uri) / name).read_text())


def test_it_writes_its_findings_a_page_and_statistics(tmp_path, inputs):
    report = run(tmp_path, inputs)
    kept = json.loads((tmp_path / report.uri / record.RECORD_FILE).read_text())
    assert kept["environments"] == ["north", "south", "west"]
    assert kept["training"] == 2
    assert {c["examples"] for c in kept["counts"]} == {600}
    assert [f["name"] for f in kept["features"]] == [*OPTIONS.features[:-1]]
    assert (
        "<h1>Environments of clinics</h1>"
        in (tmp_path / report.uri / page.PAGE_FILE).read_text()
    )
    loaded = tfdv.load_stats_binary(str(tmp_path / report.uri / "statistics.pb"))
    assert sorted(d.name for d in loaded.datasets) == [
        "north (eval)",
        "north (train)",
        "south (eval)",
        "south (train)",
        "west (ood)",
    ]
    assert sorted(fileio.listdir(report.uri)) == sorted(
        [
            record.RECORD_FILE,
            record.REFERENCE_FILE,
            page.PAGE_FILE,
            executor.STATISTICS_FILE,
        ]
    )


def test_the_portable_runner_finds_the_same(tmp_path, inputs):
    one = run(tmp_path / "local", inputs)
    other = run(tmp_path / "portable", inputs, arguments=PORTABLE)
    for name in (record.RECORD_FILE, record.REFERENCE_FILE):
        assert read(one, name) == read(other, name)


def test_an_error_stops_with_its_sentence_and_leaves_the_page(tmp_path, inputs):
    with pytest.raises(DataError) as stopped:
        run(tmp_path, inputs, {"examples": {"level": "error", "bound": 601}})
    sentence = str(stopped.value)
    assert sentence.startswith("north has 600 examples in train, fewer than 601")
    assert "4 more errors" in sentence and "inspect.examples" in sentence
    stage = tmp_path / "EnvironmentValidator"
    told = json.loads((stage / "error.json").read_text())
    assert told == {"exit": 2, "sentence": sentence}
    assert str(stage / page.PAGE_FILE) in sentence
    assert (stage / page.PAGE_FILE).exists()
    kept = json.loads((stage / record.RECORD_FILE).read_text())
    assert {f["check"] for f in kept["findings"]} == {"examples"}
    assert not (stage / "report" / "1" / record.RECORD_FILE).exists()


def test_drift_is_seen_from_what_lies_beside_the_released_model(tmp_path, inputs):
    report = run(tmp_path / "first", inputs)
    reference = read(report, record.REFERENCE_FILE)
    reference["environments"]["south"]["positives"] -= 0.1
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / record.REFERENCE_FILE).write_text(json.dumps(reference))
    again = run(tmp_path / "second", inputs, released=model)
    kept = read(again, record.RECORD_FILE)
    (found,) = [f for f in kept["findings"] if f["check"].endswith("drift")]
    assert (found["check"], found["environments"]) == ("label_drift", ["south"])
    assert found["value"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("inspect", "sentence"),
    [
        ({"leek": {"level": "warn"}}, "inspect.leek is no check"),
        ({"leak": {"level": "loud"}}, "inspect.leak is 'loud'"),
        ({"leak": {"bound": 0.2}}, "it must be from 0.5 to 1"),
        ({"schema_anomalies": {"bound": 1}}, "has no bound"),
    ],
)
def test_a_wrong_setting_is_refused_when_it_is_made(inspect, sentence):
    channels = [
        channel_utils.as_channel([kind()])
        for kind in (
            standard_artifacts.Examples,
            standard_artifacts.ExampleStatistics,
            standard_artifacts.Schema,
        )
    ]
    with pytest.raises(ValueError, match=sentence):
        EnvironmentValidator(*channels, options=OPTIONS, inspect=inspect)


def test_a_key_that_no_example_has_is_refused(tmp_path, inputs):
    with pytest.raises(DataError, match="key names the column 'patient', which no"):
        run(tmp_path, inputs, {"key": ["patient"]})
