"""Regression and several classes, from files to the released model, by the command."""

import glob
import json
import textwrap

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model, metrics

from tests.e2e import helpers
from tests.e2e.test_pipeline import SCHEMA

pytestmark = pytest.mark.e2e

NOISES = {"clear": 0.05, "grainy": 0.15, "rough": 0.25}
DIGITS = """
    name: digits
    task: multiclass
    data:
      label:
        name: kind
        from: digit
        classes: [d0, d1, d2, d3, d4, d5, d6, d7, d8, d9]
      environments:
        clear: {parquet: data/clear.parquet}
        grainy: {parquet: data/grainy.parquet}
        rough: {parquet: data/rough.parquet, held_out: true}
      split: {eval: 0.4}
      features: {dense: {pixels: 64}}
    train:
      method: v_rex
      penalty: {weight: 1, anneal_steps: 100}
      steps: 400
      batch_size: 256
      model: {hidden: [32]}
    checks:
      worst: {accuracy: {min: 0.6, over: environment}}
      robustness: {log_loss: {max: 6, epsilon: 0.05, over: environment}}
      gap: {log_loss: {max: 2, over: environment}}
      risk_variance: {max: 2, over: environment}
      baseline: {accuracy: {max_drop: 0.05}}
    verdict: {min_examples: 100}
"""
MINUTES = """\
    checks:
      worst: {mean_squared_error: {max: 100000, over: environment}}
      robustness: {mean_absolute_error: {max: 1000, epsilon: 0.1, over: environment}}
      gap: {mean_prediction: {max: 100, over: environment}}
      calibration_slope: {min: -50, max: 50, over: environment}
      ood_drop: {mean_squared_error: {max: 100000}}
"""


def project_of(folder, text):
    """A project with a config."""
    project = helpers.Project(folder)
    project.config.write_text(textwrap.dedent(text))
    return project


def released(run):
    """The pushed model's scores of the held-out examples, these, and the metrics."""
    assert run.exit_code == 0, run.stdout + run.stderr
    jsonschema.validate(run.summary, json.loads(SCHEMA.read_text()))
    text = (run.folder / "report.html").read_text()
    for check in run.summary["checks"]:
        assert check["verdict"] == "PASS"
        assert check["name"] in text
    assert {"scores", "alone", "raw", "transformed"} <= set(
        run.summary["load_check"]["compared"]
    )
    root = run.folder.parents[1]
    (files,) = (
        sorted(glob.glob(f"{folder}/*.gz"))
        for folder in root.glob("artifacts/MultiEnvExampleGen/examples/*/Split-ood")
    )
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    model = tf.saved_model.load(run.summary["pushed"])
    scores = model.signatures["serving_default"](examples=tf.constant(records))
    examples = [tf.train.Example.FromString(record) for record in records]
    return (
        {name: value.numpy() for name, value in scores.items()},
        [example.features.feature for example in examples],
        run.summary["metrics"]["ood"]["overall"],
    )


def test_delays_are_forecast_in_minutes(tmp_path):
    helpers.write_sample(tmp_path / "data")
    text = helpers.CONFIG.replace(
        "label: {name: late, from: arr_delay, above: 15}", "label: arr_delay"
    ).replace("name: flights-sample", "name: delays\n    task: regression")
    start, end = text.index("    checks:"), text.index("    verdict:")
    run = project_of(tmp_path, text[:start] + MINUTES + text[end:]).run()
    scores, examples, measured = released(run)
    labels = np.array([e["arr_delay"].float_list.value[0] for e in examples])
    predictions = scores["predictions"]
    assert predictions.shape == (len(labels), 1)
    # In minutes: within half a deviation of theirs around their mean.
    assert abs(predictions.mean() - labels.mean()) < labels.std() / 2
    assert np.corrcoef(predictions[:, 0], labels)[0, 1] > 0.05
    slope, _ = np.polyfit(predictions[:, 0], labels, 1)
    for name, expected in (
        ("mean_squared_error", metrics.mean_squared_error(labels, predictions)),
        ("mean_absolute_error", metrics.mean_absolute_error(labels, predictions)),
        ("r_squared", metrics.r2_score(labels, predictions)),
        ("calibration_slope", slope),
    ):
        assert measured[name] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_digits_are_told_by_their_names(tmp_path):
    digits = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    (tmp_path / "data").mkdir()
    worlds = {}
    for i, (name, noise) in enumerate(NOISES.items()):
        rows = order[i::3]
        pixels = digits.data[rows] / 16
        pixels += np.random.default_rng(i).normal(0, noise, pixels.shape)
        worlds[name] = (pixels, digits.target[rows])
        table = pa.table(
            {
                "digit": [f"d{digit}" for digit in digits.target[rows]],
                "pixels": pa.array(list(pixels), pa.list_(pa.float32())),
            }
        )
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    scores, examples, measured = released(project_of(tmp_path, DIGITS).run())
    probabilities = scores["probabilities"]
    assert probabilities.shape == (len(worlds["rough"][1]), 10)
    labels = [example["kind"].int64_list.value[0] for example in examples]
    assert np.bincount(labels).tolist() == np.bincount(worlds["rough"][1]).tolist()
    accuracy = np.mean(scores["logits"].argmax(axis=1) == labels)
    reference = linear_model.LogisticRegression(max_iter=5000)
    training = [worlds[name] for name in ("clear", "grainy")]
    reference.fit(*(np.concatenate(part) for part in zip(*training, strict=True)))
    assert accuracy > reference.score(*worlds["rough"]) - 0.08
    assert measured["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    loss = metrics.log_loss(labels, probabilities.astype(float), labels=range(10))
    assert measured["log_loss"] == pytest.approx(loss, rel=1e-5)
