"""The load check of real SavedModels, each in a process of its own."""

import json

import numpy as np
import pytest
import tensorflow as tf

from components.errors import DataError
from components.model_validator import executor
from components.model_validator.bounds import Bounds
from components.model_validator.component import ModelValidator

ROWS = 5


def example(x):
    features = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[x]))}
    if x > 1:
        features = {}  # a missing value
    return tf.train.Example(
        features=tf.train.Features(feature=features)
    ).SerializeToString()


XS = np.linspace(-1, 1.5, ROWS).astype(np.float32)
EXAMPLES = [example(float(x)) for x in XS]


class Model(tf.Module):
    """sigmoid(a x), a missing x counts 0; `alone` changes it by the batch's mean."""

    def __init__(self, slope=2.0, raw_slope=2.0, of_batch=0.0, table=None):
        super().__init__()
        self.slope, self.raw_slope, self.of_batch = slope, raw_slope, of_batch
        if table is not None:
            initializer = tf.lookup.TextFileInitializer(
                table, tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(initializer, -1)

    def of(self, x, slope):
        x = tf.where(tf.math.is_nan(x), 0.0, x) * slope
        logits = x + self.of_batch * tf.reduce_mean(x)
        return {"logits": logits, "probabilities": tf.sigmoid(logits)}

    def serve(self, examples):
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32, np.nan)}
        return self.of(tf.io.parse_example(examples, spec)["x"], self.slope)

    def save(self, folder):
        def number(name):
            return tf.TensorSpec([None, 1], tf.float32, name=name)

        def traced(function, spec):
            return tf.function(function).get_concrete_function(spec)

        signatures = {
            "serving_default": traced(
                self.serve, tf.TensorSpec([None], tf.string, name="examples")
            ),
            "raw": traced(
                lambda raw: self.of(raw["x"], self.raw_slope), {"x": number("x")}
            ),
            "transformed": traced(
                lambda features: self.of(features["x"], self.slope), {"x": number("x")}
            ),
        }
        tf.saved_model.save(self, str(folder), signatures=signatures)
        extra = folder / "assets.extra"
        extra.mkdir()
        (extra / "raw_columns.json").write_text(json.dumps({"x": "x"}))
        return str(folder)


def closed_form(slope=2.0):
    z = slope * np.where(XS > 1, 0.0, XS).astype(float)
    return [
        (text, {"logits": [float(v)], "probabilities": [float(1 / (1 + np.exp(-v)))]})
        for text, v in zip(EXAMPLES, z, strict=True)
    ]


def test_a_model_that_gives_the_scores_of_the_closed_form(tmp_path):
    path = Model().save(tmp_path / "model")
    answer, problems = executor.ask(path, closed_form(), Bounds())
    assert problems == []
    expected = [scores["probabilities"] for _, scores in closed_form()]
    for way in ("scores", "alone", "raw"):
        np.testing.assert_allclose(answer[way]["probabilities"], expected, atol=1e-6)
    assert 0 < answer["latency_ms"]["1"][0] <= answer["latency_ms"]["1"][1]
    assert 50 < answer["peak_mb"] < 8_192


def test_all_that_differs_is_told_at_once(tmp_path):
    """Other weights than the evaluated, another raw, scores that the batch moves."""
    path = Model(slope=2.5, raw_slope=1.0, of_batch=0.5).save(tmp_path / "model")
    bounds = Bounds(latency_ms=1e-6, memory_mb=1, load_seconds=1e-6)
    _, problems = executor.ask(path, closed_form(), bounds)
    kinds = [
        "than evaluated",
        "one example at a time",
        "by 'raw'",
        "to load",
        "to answer",
        "of memory",
    ]
    assert len(problems) == len(kinds)
    for kind, problem in zip(kinds, problems, strict=True):
        assert kind in problem


def test_a_model_that_loads_only_where_it_was_made(tmp_path):
    """Its vocabulary is lost: TensorFlow refuses to load it."""
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    path = Model(table=str(words)).save(tmp_path / "model")
    (tmp_path / "model" / "assets" / "words.txt").unlink()
    answer, (problem,) = executor.ask(path, closed_form(), Bounds())
    assert answer == {}
    assert "cannot be served by a clean process (exit 1)" in problem
    assert "words.txt" in problem


def test_a_model_that_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "_START_SECONDS", 0.01)
    bounds = Bounds(load_seconds=0.01)
    _, (problem,) = executor.ask(str(tmp_path), closed_form(), bounds)
    assert "has not answered" in problem


@pytest.fixture
def artifacts(tmp_path):
    from tfx.types import standard_artifacts

    made = {}
    for name, kind in (
        ("model", standard_artifacts.Model),
        ("evaluation", standard_artifacts.ModelEvaluation),
        ("blessing", standard_artifacts.InfraBlessing),
    ):
        made[name] = kind()
        made[name].uri = str(tmp_path / name)
    return made


def run(artifacts):
    inputs = {name: [artifacts[name]] for name in ("model", "evaluation")}
    properties = {executor.BOUNDS_KEY: "{}"}
    executor.Executor().Do(inputs, {"blessing": [artifacts["blessing"]]}, properties)


def test_an_evaluation_without_examples_is_refused(artifacts):
    with pytest.raises(DataError, match="holds no example with its scores"):
        run(artifacts)


@pytest.mark.parametrize("slope", [2.0, 2.5])
def test_the_blessing_is_what_tfx_looks_for(artifacts, tmp_path, slope):
    from tfx.components.util import model_utils

    (tmp_path / "model").mkdir()
    Model(slope).save(tmp_path / "model" / "Format-Serving")
    folder = tmp_path / "evaluation" / "Split-eval"
    folder.mkdir(parents=True)
    listed = [
        {"example": executor.base64.b64encode(text).decode(), "scores": scores}
        for text, scores in closed_form()
    ]
    (folder / "sample.json").write_text(json.dumps(listed))
    run(artifacts)
    blessing = artifacts["blessing"]
    fit = slope == 2.0
    assert model_utils.is_infra_validated(blessing) is fit
    marks = {path.name for path in (tmp_path / "blessing").iterdir()}
    assert marks == {
        "load_check.json",
        "INFRA_BLESSED" if fit else "INFRA_NOT_BLESSED",
    }
    record = json.loads((tmp_path / "blessing" / "load_check.json").read_text())
    assert record["blessed"] is fit and bool(record["problems"]) is not fit
    assert record["examples"] == ROWS
    assert record["compared"] == ["scores", "alone", "raw"]


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"latency": 1}, "unknown bound 'latency'"),
        ({"latency_ms": -1}, "no positive number"),
        ({"memory_mb": float("nan")}, "no positive number"),
    ],
)
def test_bounds_are_checked_when_it_is_made(bounds, says):
    from tfx.types import channel_utils, standard_artifacts

    channels = [
        channel_utils.as_channel([kind()])
        for kind in (standard_artifacts.Model, standard_artifacts.ModelEvaluation)
    ]
    with pytest.raises(ValueError, match=says):
        ModelValidator(*channels, bounds)
