"""From TFRecords and a transform graph to a SavedModel that answers."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from trainer_module.export import WARMUP_EXAMPLES
from trainer_module.perturbations import perturb_data
from trainer_module.run_fn import run_fn
from trainer_module.transform_graph import TransformGraph


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run: its arguments, and the model loaded back."""

    fn_args: object
    model: object

    @property
    def signatures(self):
        """The signatures by name."""
        return self.model.signatures


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    fn_args = sample.fn_args(str(tmp_path_factory.mktemp("run")))
    run_fn(fn_args)
    return Run(fn_args, tf.saved_model.load(fn_args.serving_model_dir))


@pytest.fixture(scope="module")
def scores(run, sample):
    output = run.signatures["serving_default"](examples=sample.encode(sample.rows))
    return {name: value.numpy() for name, value in output.items()}


def raw_columns(rows):
    """Dense columns as the `raw` signature takes them."""
    plain = {
        "distance": ("distance", np.float32, np.nan),
        "flat": ("flat", np.float32, np.nan),
        "hours_per_week": ("hours per week", np.int64, np.iinfo(np.int64).min),
        "gust": ("gust", np.float32, np.nan),
        "seats": ("seats", np.int64, np.iinfo(np.int64).min),
        "never": ("never", np.float32, np.nan),
        "carrier": ("carrier", object, b""),
        "maker": ("maker", object, b""),
        "code": ("code", np.int64, np.iinfo(np.int64).min),
        "time": ("time", np.float32, np.nan),
    }
    columns = {
        argument: np.array([row.get(name, [missing]) for row in rows], dtype)
        for argument, (name, dtype, missing) in plain.items()
    }
    pixels = [row.get("pixels", [np.nan] * 3) for row in rows]
    columns["pixels"] = np.array(pixels, np.float32)
    patches = [row.get("patch", [np.nan] * 2) for row in rows]
    columns["patch"] = np.array(patches, np.float32)
    return {name: tf.constant(values) for name, values in columns.items()}


def test_the_outputs_are_logits_and_their_probabilities(scores, sample):
    assert set(scores) == {"logits", "probabilities"}
    assert scores["logits"].shape == (len(sample.rows), 1)
    expected = 1 / (1 + np.exp(-scores["logits"]))
    np.testing.assert_allclose(scores["probabilities"], expected, rtol=1e-5)


def test_it_has_learned_something(scores, sample):
    labels = np.array([row["late"][0] for row in sample.rows])
    late, early = (scores["logits"][labels == value].mean() for value in (1, 0))
    assert late > early + 0.5


def test_the_raw_signature_gives_the_same_scores(run, scores, sample):
    output = run.signatures["raw"](**raw_columns(sample.rows))
    np.testing.assert_allclose(output["logits"], scores["logits"], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def features(sample):
    """The sample's transformed features."""
    graph = TransformGraph.open(sample.transform, sample.config)
    raw = tf.io.parse_example(sample.encode(sample.rows), graph.feature_spec)
    transformed = graph.apply(raw)
    return {feature.name: transformed[feature.name] for feature in graph.features}


def test_the_transformed_signature_gives_the_same_scores(run, scores, features):
    output = run.signatures["transformed"](**features)
    np.testing.assert_allclose(output["logits"], scores["logits"], rtol=1e-5, atol=1e-6)


def test_the_transformed_signature_is_differentiable(run, features):
    with tf.GradientTape() as tape:
        tape.watch(features["numeric_distance"])
        logits = run.signatures["transformed"](**features)["logits"]
    gradient = tape.gradient(logits, features["numeric_distance"])
    assert np.isfinite(gradient).all()
    assert np.any(gradient.numpy() != 0)


def test_a_signature_makes_the_features_that_another_takes(run, sample, features):
    found = run.signatures["transform_features"](examples=sample.encode(sample.rows))
    taken = run.signatures["transformed"].structured_input_signature[1]
    assert set(found) == set(taken) == set(features)
    for name, values in features.items():
        assert found[name].dtype == taken[name].dtype
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_it_says_what_an_attack_may_move(run, features):
    """The same features as training's perturbations move."""
    path = f"{run.fn_args.serving_model_dir}/assets.extra/perturbable.json"
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    present = {n: f for n, f in features.items() if not n.startswith("missing_")}
    moved = perturb_data(present, 100.0, "gaussian")
    assert set(found) == {n for n, f in present.items() if np.any(moved[n] != f)}
    indicators = {n for n in features if n.startswith("missing_")}
    assert {e["missing"] for e in found.values()} - {None} == indicators
    assert found["numeric_gust"] == {"missing": "missing_gust"}
    assert "dense_pixels" in found


def test_it_says_which_column_each_raw_argument_is(run):
    path = f"{run.fn_args.serving_model_dir}/assets.extra/raw_columns.json"
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    assert set(found) == set(run.signatures["raw"].structured_input_signature[1])
    assert found["hours_per_week"] == "hours per week"


def test_absent_and_unknown_values_are_answered_alike(run):
    stranger = {"carrier": [b"never seen"], "maker": [b"never seen"]}
    for row in ({}, stranger):
        example = _encode(row)
        served = run.signatures["serving_default"](examples=example)["logits"]
        raw = run.signatures["raw"](**raw_columns([row]))["logits"]
        assert np.isfinite(served).all()
        np.testing.assert_allclose(served, raw, rtol=1e-5, atol=1e-6)


def _encode(row):
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        for name, values in row.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return tf.constant([example.SerializeToString()])


def test_label_environment_and_excluded_columns_are_no_inputs(run):
    raw = run.signatures["raw"].structured_input_signature[1]
    assert not {"late", "environment", "importance", "known_too_late"} & set(raw)
    transformed = run.signatures["transformed"].structured_input_signature[1]
    assert not {"label", "weight", "environment_id"} & set(transformed)


def test_the_label_cannot_move_the_scores(run, sample):
    row = sample.rows[0]
    turned = row | {"late": [1 - row["late"][0]], "known too late": [9.0]}
    both = sample.encode([row, turned])
    first, second = run.signatures["serving_default"](examples=both)["logits"].numpy()
    assert first == second


def test_the_warm_up_replays_real_examples_without_their_labels(run, sample):
    path = f"{run.fn_args.serving_model_dir}/assets.extra/tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    requests = [log.predict_log.request for log in logs]
    assert {r.model_spec.signature_name for r in requests} == {"serving_default"}
    batches = [tf.make_ndarray(r.inputs["examples"]) for r in requests]
    assert [len(batch) for batch in batches] == [1] * WARMUP_EXAMPLES + [
        WARMUP_EXAMPLES
    ]
    serve = run.signatures["serving_default"]
    expected = serve(examples=sample.encode(sample.rows[:WARMUP_EXAMPLES]))["logits"]
    replayed = serve(examples=tf.constant(batches[-1]))["logits"]
    np.testing.assert_allclose(replayed, expected, rtol=1e-5)
    example = tf.train.Example.FromString(batches[-1][0])
    assert "distance" in example.features.feature
    assert not {"late", "known too late", "importance"} & set(example.features.feature)


def test_the_history_is_that_of_the_run(run):
    with open(f"{run.fn_args.model_run_dir}/history.json", encoding="utf-8") as file:
        history = json.load(file)
    assert history["steps"] == [25, 50, 60]
    assert set(history["eval_risk"]) == set(history["risk"]) == {"north", "south"}
    assert history["method"] == "v_rex"


def test_a_second_run_gives_the_same_bits(run, sample, scores, tmp_path):
    fn_args = sample.fn_args(str(tmp_path))
    run_fn(fn_args)
    again = tf.saved_model.load(fn_args.serving_model_dir)
    output = again.signatures["serving_default"](examples=sample.encode(sample.rows))
    np.testing.assert_array_equal(output["logits"], scores["logits"])


def test_two_replicas_export_the_model_that_one_does(run, sample, scores, tmp_path):
    fn_args = sample.fn_args(str(tmp_path))
    script = pathlib.Path(__file__).with_name("train_sample.py")
    done = subprocess.run(
        [sys.executable, str(script), "2", json.dumps(vars(fn_args))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    model = tf.saved_model.load(fn_args.serving_model_dir)  # on one device
    found = model.signatures["serving_default"](examples=sample.encode(sample.rows))
    np.testing.assert_allclose(found["logits"], scores["logits"], rtol=0.02, atol=0.01)
    paths = [pathlib.Path(args.serving_model_dir) for args in (fn_args, run.fn_args)]
    two, one = ({file.name for file in path.rglob("*")} for path in paths)
    assert two == one


def test_a_bad_config_stops_before_anything_is_written(sample, tmp_path):
    fn_args = sample.fn_args(str(tmp_path), methods=[{"name": "irm"}])
    with pytest.raises(ValueError, match="'irm'.*irm_v1"):
        run_fn(fn_args)
    assert not list(tmp_path.iterdir())
