"""The whole component on several classes and on numbers, against stock TFMA."""

import numpy as np
import pytest
from scipy import special
from sklearn import linear_model, metrics

from components.errors import DataError
from components.evaluator import (
    blocks,
    multiclass,
    regression,
    results,
    tfma_metrics,
)
from components.invariance_validator import report
from components.invariance_validator.decision import decide
from components.invariance_validator.metrics import TASKS

from .conftest import draw

SLICES = (("environment",), ("carrier",))
WEIGHTS = np.float32([0.9, 0.1, -1.0])
SHIFTS = np.float32([0.2, 0.5, 0.0])
OPTIONS = {
    "multiclass": {"label": "kind", "classes": ["cat", "dog", "bird"]},
    "regression": {"label": "delay"},
}
MODULES = {"multiclass": multiclass, "regression": regression}
# TFMA's metrics of the task, by the names that ours have.
STOCK = {
    "multiclass": {
        "SparseCategoricalCrossentropy": "log_loss",
        "SparseCategoricalAccuracy": "accuracy",
    },
    "regression": {
        "MeanSquaredError": "mean_squared_error",
        "RootMeanSquaredError": "root_mean_squared_error",
        "MeanAbsoluteError": "mean_absolute_error",
        "MeanLabel": "mean_label",
        "MeanPrediction": "mean_prediction",
    },
}


def columns_of(n, environments, seed):
    """As `draw`, with a label of three classes and one that is a number."""
    columns = draw(n, environments, seed)
    rng = np.random.default_rng(seed + 100)
    x = columns["x"].astype(float)[:, None]
    shares = special.softmax(1.2 * (x * WEIGHTS + SHIFTS), axis=1)
    columns["kind"] = (rng.random((n, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    noise = rng.standard_t(5, n)
    columns["delay"] = (7 + 2 * columns["x"] + noise).astype(np.float32)
    return columns


def probabilities(x):
    return special.softmax(x.astype(float)[:, None] * WEIGHTS + SHIFTS, axis=1)


def predictions(x):
    return 6.5 + 2.5 * x.astype(float)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Exports a model of a task, with what it gives for the smallest x replaced."""
    import tensorflow as tf
    from tfx.types import standard_artifacts

    def make(task, wrong=None):
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serve(examples):
            x = tf.io.parse_example(examples, spec)["x"]
            if task == "multiclass":
                found = tf.nn.softmax(x * WEIGHTS + SHIFTS)
            else:
                found = 6.5 + 2.5 * x
            if wrong is not None:
                found = tf.where(x < -4.0, tf.constant(wrong, tf.float32), found)
            key = "probabilities" if task == "multiclass" else "predictions"
            return {key: found, "logits": x}

        module = tf.Module()
        module.serve = serve
        folder = tmp_path_factory.mktemp("model")
        signatures = {"serving_default": serve.get_concrete_function()}
        path = str(folder / "Format-Serving")
        tf.saved_model.save(module, path, signatures=signatures)
        artifact = standard_artifacts.Model()
        artifact.uri = str(folder)
        return artifact

    return make


@pytest.fixture(scope="module")
def toy(tmp_path_factory, write_examples, write, evaluate):
    """Both tasks on the same rows: results by task and slice."""
    root = tmp_path_factory.mktemp("tasks")
    columns = {
        "eval": columns_of(500, ["EWR", "JFK"], seed=1),
        "ood": columns_of(400, ["LGA"], seed=2),
    }
    examples = write_examples(root / "examples", columns, list(map(list, SLICES)))
    models, found = {}, {}
    for task, options in OPTIONS.items():
        models[task] = write(task)
        uri = evaluate(
            root / task,
            examples,
            models[task],
            splits=("eval", "ood"),
            slices=SLICES,
            cluster_by=["month", "day"],
            task=task,
            **options,
        )
        loaded = results.load_results(uri)
        found[task] = {(r.split, r.name): r for r in loaded}
    return {"columns": columns, "examples": examples, "models": models, "found": found}


@pytest.mark.parametrize("task", STOCK)
def test_it_equals_stock_tfma(toy, stock, task):
    import tensorflow_model_analysis as tfma

    key = "probabilities" if task == "multiclass" else "predictions"
    names = STOCK[task].items()
    own = [m for m in tfma_metrics.METRICS if m.MEASURE in MODULES[task].METRICS]
    folder = stock(
        toy["examples"],
        "eval",
        {"candidate": toy["models"][task]},
        [["environment"], ["carrier"]],
        metrics=[
            *(
                {"class_name": name, "config": f'{{"name": "{ours}"}}'}
                for name, ours in names
            ),
            *(
                {
                    "class_name": metric.__name__,
                    "module": tfma_metrics.__name__,
                    "config": f'{{"task": "{task}"}}',
                }
                for metric in own
            ),
        ],
        label_key=OPTIONS[task]["label"],
        prediction_key=key,
    )
    compared = 0
    for key, output in tfma.load_eval_result(folder).slicing_metrics:
        name = ",".join(f"{f}={v}" for f, v in key) or "overall"
        ours = toy["found"][task]["eval", name]
        for metric in STOCK[task].values():
            expected = output[""][""][metric]["doubleValue"]
            # Keras adds up in float32.
            assert ours.metrics[metric].value == pytest.approx(expected, rel=3e-6)
            compared += 1
        for metric in own:
            value = output[""][""][metric.MEASURE]["doubleValue"]
            expected = ours.metrics[metric.MEASURE].value
            assert value == pytest.approx(expected, abs=1e-9, rel=1e-9)
    assert compared == 6 * len(STOCK[task])  # two airports, three carriers, overall


def test_classes_are_scikit_learns(toy):
    columns = toy["columns"]["ood"]
    ours = toy["found"]["multiclass"]["ood", "overall"]
    p, y = probabilities(columns["x"]), columns["kind"]
    values = {name: e.value for name, e in ours.metrics.items()}
    assert values["log_loss"] == pytest.approx(metrics.log_loss(y, p), rel=1e-5)
    top = p.argmax(axis=1)
    assert values["accuracy"] == metrics.accuracy_score(y, top)
    assert values["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(y, top)
    )
    assert ours.class_examples == tuple(np.bincount(y, minlength=3))
    assert (ours.task, ours.positives, ours.invalid_predictions) == ("multiclass", 0, 0)
    assert sum(b.weight for b in ours.calibration) == 400
    right = sum(b.weight * b.mean_label for b in ours.calibration)
    assert right == pytest.approx((top == y).sum())
    assert 1 - ours.scores[0].sum() == pytest.approx(p.max(axis=1).mean(), rel=1e-5)


def test_numbers_are_scikit_learns(toy):
    columns = toy["columns"]["ood"]
    ours = toy["found"]["regression"]["ood", "overall"]
    f, y = predictions(columns["x"]), columns["delay"].astype(float)
    values = {name: e.value for name, e in ours.metrics.items()}
    assert values["r_squared"] == pytest.approx(metrics.r2_score(y, f), rel=1e-5)
    fit = linear_model.LinearRegression().fit(f[:, None], y)
    assert values["calibration_slope"] == pytest.approx(fit.coef_[0], rel=1e-5)
    assert values["calibration_intercept"] == pytest.approx(fit.intercept_, rel=1e-4)
    assert (ours.task, ours.positives, ours.class_examples) == ("regression", 0, ())
    assert ours.calibration == ()
    assert ours.scores is None


@pytest.mark.parametrize("task", OPTIONS)
def test_a_replicate_is_the_value_without_its_days(toy, task):
    columns = toy["columns"]["eval"]
    block = blocks.assign([columns["month"], columns["day"]])
    metric = TASKS[task].risk
    found = toy["found"][task]["eval", "overall"].metrics[metric]
    if task == "multiclass":
        p = probabilities(columns["x"])
        loss = -np.log(p[np.arange(500), columns["kind"]])
    else:
        loss = (predictions(columns["x"]) - columns["delay"]) ** 2
    for number in range(20):
        expected = loss[block != number].mean()
        assert found.replicates[number] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", OPTIONS)
def test_what_was_written_is_judged_and_shown(toy, task):
    """Bounds far from the values on either side: what passes, and what fails."""
    found = list(toy["found"][task].values())
    risk = TASKS[task].risk
    value = max(r.metrics[risk].value for r in found if len(r.slice) < 2)
    where = {"over": ["overall", "environment"]}
    checks = {
        "worst": {risk: {"max": 2 * value, **where}},
        "gap": {risk: {"max": value, "over": "environment"}},
        "risk_variance": {"max": value**2, "over": "environment"},
        "ood_drop": {risk: {"max": value}},
    }
    sizes = {"EWR": "eval", "JFK": "eval", "LGA": "ood"}
    environments = {
        name: {
            "held_out": split == "ood",
            "splits": {
                split: {
                    "examples": toy["found"][task][
                        split, f"environment={name}"
                    ].examples,
                    "positives": 0,
                }
            },
        }
        for name, split in sizes.items()
    }
    counts = {"environments": environments, "slices": {}}
    good = decide(found, counts, checks, {"min_examples": 100}, task=task)
    assert {c.name: c.verdict for c in good.checks if c.verdict != "PASS"} == {}
    checks["worst"][risk]["max"] = 0.5 * value
    bad = decide(found, counts, checks, {"min_examples": 100}, task=task)
    assert bad.checks[0].verdict == "FAIL"
    page = report.render(report.Material(bad, found, counts, {"task": task}))
    assert ("mean confidence" in page) == (task == "multiclass")
    assert ("There is no calibration curve" in page) == (task == "regression")


@pytest.mark.parametrize("task", OPTIONS)
def test_every_metric_is_there_in_every_slice_with_replicates(toy, task):
    names = (multiclass if task == "multiclass" else regression).METRICS
    assert set(TASKS[task].metrics) <= set(names)
    for result in toy["found"][task].values():
        assert set(result.metrics) == set(names)
        assert all(len(e.replicates) == 20 for e in result.metrics.values())
        assert sum(result.block_examples) == result.examples


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("multiclass", [np.nan] * 3),
        ("multiclass", [0.5, 0.5, 0.5]),
        ("regression", [np.nan]),
        ("regression", [np.inf]),
    ],
)
def test_invalid_predictions_make_nan_where_they_are(
    toy, write, evaluate, tmp_path, task, wrong
):
    uri = evaluate(
        tmp_path,
        toy["examples"],
        write(task, wrong),
        slices=[["carrier"]],
        task=task,
        **OPTIONS[task],
    )
    columns = toy["columns"]["eval"]
    low, seen = columns["x"] < -4.0, set()
    for result in results.load_results(uri):
        name = result.name.removeprefix("carrier=").encode()
        mine = low if result.name == "overall" else low & (columns["carrier"] == name)
        assert result.invalid_predictions == mine.sum()
        value = result.metrics[TASKS[task].risk].value
        assert np.isnan(value) == mine.any()
        seen.add(bool(mine.any()))
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("task", "column", "says"),
    [
        ("multiclass", np.int64([0, 1, 3]), "label 'y' in split 'eval': found 3 in"),
        (
            "multiclass",
            np.int64([0, -1, 2]),
            "found -1 in an example, expected",
        ),
        ("multiclass", np.float32([0, 0.5, 2]), "found 0.5 in an example"),
        ("regression", np.float32([0, np.nan, 2]), "label 'y' in split 'eval': found"),
        ("regression", np.float32([0, np.inf, 2]), "expected a finite number"),
    ],
)
def test_labels_that_are_none_are_refused(
    toy, write_examples, evaluate, tmp_path, task, column, says
):
    columns = {"x": np.zeros(3, np.float32), "y": column}
    examples = write_examples(tmp_path / "in", {"eval": columns})
    options = {**OPTIONS[task], "label": "y"}
    with pytest.raises(DataError, match=says):
        evaluate(tmp_path, examples, toy["models"][task], task=task, **options)


def test_a_model_of_another_number_of_classes_is_refused(toy, evaluate, tmp_path):
    with pytest.raises(DataError, match="a model of 2 classes gives so many"):
        evaluate(
            tmp_path,
            toy["examples"],
            toy["models"]["multiclass"],
            task="multiclass",
            label="late",
            classes=["no", "yes"],
        )


def test_a_model_of_another_task_is_refused(toy, evaluate, tmp_path):
    with pytest.raises(DataError, match="no output 'predictions'"):
        evaluate(
            tmp_path,
            toy["examples"],
            toy["models"]["multiclass"],
            task="regression",
            label="delay",
        )
