"""Regression and several classes, from files to the released model."""

import json
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model

from tests.e2e import helpers

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
    verdict: {min_examples: 100}
"""


DELAY_CHECKS = """
    checks:
      worst: {mean_absolute_error: {max: 60, over: environment}}
      gap: {root_mean_squared_error: {max: 100, over: environment}}
      calibration_slope: {min: -5, max: 20, over: environment}
      baseline: {mean_squared_error: {max_rise: 100}}
"""


def run(folder):
    """`tfx-irm run`: its summary, the pushed model, the examples and the history."""
    done = helpers.Project(folder).run()
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.summary["verdict"] == "PASS"
    artifacts = folder / "runs-root" / "artifacts"
    (history,) = (artifacts / "Trainer" / "model_run").glob("*/history.json")
    (examples,) = (artifacts / "MultiEnvExampleGen" / "examples").iterdir()
    served = tf.saved_model.load(done.summary["pushed"])
    serve = served.signatures["serving_default"]
    return done.summary, serve, examples, json.loads(history.read_text())


def held_out(uri):
    """Serialized examples of the held-out environment."""
    files = sorted(map(str, uri.glob("Split-ood/*.gz")))
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def test_delays_are_forecast_in_minutes(tmp_path):
    helpers.write_sample(tmp_path / "data")
    text = helpers.CONFIG.replace(
        "label: {name: late, from: arr_delay, above: 15}", "label: arr_delay"
    ).replace("name: flights-sample", "name: delays\n    task: regression")
    start, end = text.index("    checks:"), text.index("    verdict:")
    path = tmp_path / "config.yaml"
    path.write_text(textwrap.dedent(text[:start] + DELAY_CHECKS + text[end:]))
    summary, serve, examples, history = run(tmp_path)
    records = held_out(examples)
    labels = []
    for record in records:
        (label,) = (
            tf.train.Example.FromString(record)
            .features.feature["arr_delay"]
            .float_list.value
        )
        labels.append(label)
    predictions = serve(examples=tf.constant(records))["predictions"].numpy()
    assert predictions.shape == (len(records), 1)
    # In minutes: within half a deviation of theirs around their mean.
    assert abs(predictions.mean() - np.mean(labels)) < np.std(labels) / 2
    assert np.corrcoef(predictions[:, 0], labels)[0, 1] > 0.05
    measured = summary["metrics"]["ood"]["environment=LGA"]["mean_absolute_error"]
    expected = np.abs(predictions[:, 0] - labels).mean()
    assert measured == pytest.approx(expected, rel=1e-4)
    assert 20 < history["label_scale"]["deviation"] < 80


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
    path = tmp_path / "config.yaml"
    path.write_text(textwrap.dedent(DIGITS))
    summary, serve, examples, _ = run(tmp_path)
    records = held_out(examples)
    found = {k: v.numpy() for k, v in serve(examples=tf.constant(records)).items()}
    assert found["probabilities"].shape == (len(worlds["rough"][1]), 10)
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-5)
    labels = [
        tf.train.Example.FromString(r).features.feature["kind"].int64_list.value[0]
        for r in records
    ]
    assert np.bincount(labels).tolist() == np.bincount(worlds["rough"][1]).tolist()
    accuracy = np.mean(found["logits"].argmax(axis=1) == labels)
    measured = summary["metrics"]["ood"]["environment=rough"]["accuracy"]
    assert measured == pytest.approx(accuracy, rel=1e-6)
    reference = linear_model.LogisticRegression(max_iter=5000)
    training = [worlds[name] for name in ("clear", "grainy")]
    reference.fit(*(np.concatenate(part) for part in zip(*training, strict=True)))
    assert accuracy > reference.score(*worlds["rough"]) - 0.08
