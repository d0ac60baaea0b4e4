"""Regression and several classes, from TFRecords to the exported model.

A network without hidden layers is a linear model: its optimum is known in closed form,
or to scikit-learn.
"""

import copy
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from sklearn import linear_model, metrics

from tests.trainer_module import conftest
from tests.trainer_module.toy import CONFIG, FEATURES, coloured, make_split
from trainer_module import data, devices, selection, tuning
from trainer_module.errors import SetupError
from trainer_module.fit import fit
from trainer_module.labels import LabelScale, Moments
from trainer_module.model import make_model
from trainer_module.run_fn import run_fn
from trainer_module.settings import Columns, TrainSettings
from trainer_module.transform_graph import TransformGraph

COLUMNS = ("distance", "hours per week", "seats")
LINEAR = {
    "features": {"numeric": list(COLUMNS), "categorical": []},
    "methods": [{"name": "erm"}],
    "schedule": {"kind": "constant"},
    "steps": 3000,
    "batch_size": 240,  # all rows of both environments
    "learning_rate": 0.02,
    "log_every": 1000,
    "model": {"hidden": []},
}


def rows_of(count, seed, label):
    """Rows of two environments, as many of each; the label is `label(random, row)`."""
    random = np.random.default_rng(seed)
    rows = conftest.make_rows(count, seed)
    for i, row in enumerate(rows):
        row["environment"] = [b"north" if i % 2 else b"south"]
        row["late"] = [int(label(random, row))]
    return rows


def minutes(random, row):
    away = row["environment"] == [b"north"]
    return row["distance"][0] / 7 + 20 * away + random.normal(0, 30)


def kind(random, row):
    shifted = (row["distance"][0] - 1000) / 300 + random.normal(0, 0.8)
    return np.digitize(shifted, [-0.6, 0.7])


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished run: its rows, its config, its model and its history."""

    rows: list
    evaluated: list
    config: dict
    graph: TransformGraph
    model: object
    history: dict

    def scores(self, rows):
        """The outputs of `serving_default`."""
        serve = self.model.signatures["serving_default"]
        found = serve(examples=conftest.Sample.encode(rows))
        return {name: value.numpy() for name, value in found.items()}


@pytest.fixture(scope="module")
def transform(tmp_path_factory):
    """One graph for all: the label goes through it as it is."""
    folder = str(tmp_path_factory.mktemp("transform"))
    config = copy.deepcopy(conftest.CONFIG) | LINEAR
    conftest.run_transform(conftest.make_rows(240, 1), config, folder)
    return folder


@pytest.fixture(scope="module")
def train(transform, tmp_path_factory):
    def trained(label, **changes):
        folder = str(tmp_path_factory.mktemp("run"))
        rows, evaluated = rows_of(240, 1, label), rows_of(90, 2, label)
        conftest.write_examples(rows, f"{folder}/Split-train/data.gz")
        conftest.write_examples(evaluated, f"{folder}/Split-eval/data.gz")
        files = [f"{folder}/Split-{split}/*" for split in ("train", "eval")]
        sample = conftest.Sample(rows, transform, *files)
        fn_args = sample.fn_args(folder, **(LINEAR | changes))
        run_fn(fn_args)
        with open(f"{folder}/run/history.json") as file:
            history = json.load(file)
        return Trained(
            rows,
            evaluated,
            fn_args.custom_config,
            TransformGraph.open(transform, fn_args.custom_config),
            tf.saved_model.load(fn_args.serving_model_dir),
            history,
        )

    return trained


@pytest.fixture(scope="module")
def regression(train):
    return train(minutes, task="regression")


@pytest.fixture(scope="module")
def multiclass(train):
    return train(kind, task="multiclass", classes=3)


def design(rows, reference=None):
    """Z-scores of the numbers, 0 where missing, and which is missing; by NumPy."""
    reference = rows if reference is None else reference
    columns = []
    for name in COLUMNS:
        known = [row[name][0] for row in reference if name in row]
        mean, deviation = np.mean(known), np.std(known)
        columns.append(
            [(row[name][0] - mean) / deviation if name in row else 0.0 for row in rows]
        )
    columns.append([float("seats" not in row) for row in rows])
    return np.stack(columns, axis=1)


def weights_of(rows):
    """Weights of the rows in the risk: environments count alike."""
    north = np.array([row["environment"] == [b"north"] for row in rows])
    weights = np.array([row["importance"][0] for row in rows])
    return weights / np.where(north, weights[north].sum(), weights[~north].sum())


def labels_of(rows):
    return np.array([row["late"][0] for row in rows], float)


def test_a_linear_regression_is_that_of_least_squares(regression):
    rows = regression.rows
    # The graph's z-scores are of other rows than these: any linear map will do.
    x = np.column_stack([np.ones(len(rows)), design(rows)])
    root = np.sqrt(weights_of(rows))
    y = labels_of(rows)
    solution, *_ = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)
    found = regression.scores(rows)
    assert set(found) == {"predictions"}
    np.testing.assert_allclose(
        found["predictions"][:, 0], x @ solution, atol=0.01 * y.std()
    )


def test_risks_of_a_regression_are_in_variances_of_the_label(regression):
    y = labels_of(regression.rows)
    scale = regression.history["label_scale"]
    assert scale["mean"] == pytest.approx(y.mean(), rel=1e-6)
    assert scale["deviation"] == pytest.approx(y.std(), rel=1e-6)
    rows = regression.evaluated
    predictions = regression.scores(rows)["predictions"][:, 0]
    squares = (predictions - labels_of(rows)) ** 2
    for name, risks in regression.history["eval_risk"].items():
        own = np.array([row["environment"] == [name.encode()] for row in rows])
        weights = np.array([row["importance"][0] for row in rows])[own]
        expected = np.average(squares[own], weights=weights) / y.var()
        assert risks[-1] == pytest.approx(expected, rel=1e-4)
    assert regression.history["task"] == "regression"


def test_the_unit_of_the_label_changes_nothing_but_the_unit(train):
    method = {
        "methods": [{"name": "v_rex", "weight": 10.0}],
        "steps": 200,
        "model": {"hidden": [8]},
    }
    plain = train(minutes, task="regression", **method)
    other = train(
        lambda random, row: 60 * int(minutes(random, row)) - 7000,
        task="regression",
        **method,
    )
    ours = plain.scores(plain.rows)["predictions"]
    assert ours.std() > 10
    theirs = other.scores(plain.rows)["predictions"]
    np.testing.assert_allclose((theirs + 7000) / 60, ours, atol=0.05)
    for name in ("penalty", "loss"):
        np.testing.assert_allclose(
            plain.history[name], other.history[name], rtol=1e-3, atol=1e-6
        )


def test_a_linear_softmax_is_scikit_learns(multiclass):
    rows = multiclass.rows
    x = design(rows)
    reference = linear_model.LogisticRegression(penalty=None, tol=1e-9, max_iter=10_000)
    # Weights of sum 1 stop its optimizer too early.
    weights = weights_of(rows) * len(rows)
    reference.fit(x, labels_of(rows), sample_weight=weights)
    found = multiclass.scores(rows)
    assert found["logits"].shape == found["probabilities"].shape == (len(rows), 3)
    np.testing.assert_allclose(
        found["probabilities"], reference.predict_proba(x), atol=0.01
    )


def test_risks_of_classes_are_cross_entropies(multiclass):
    rows = multiclass.evaluated
    found = multiclass.scores(rows)
    labels = labels_of(rows)
    for name, risks in multiclass.history["eval_risk"].items():
        own = np.array([row["environment"] == [name.encode()] for row in rows])
        weights = np.array([row["importance"][0] for row in rows])[own]
        expected = metrics.log_loss(
            labels[own], found["probabilities"][own], sample_weight=weights
        )
        assert risks[-1] == pytest.approx(expected, rel=1e-4)
    assert multiclass.history["label_scale"] is None


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_all_three_signatures_give_the_same_scores(task, request):
    trained = request.getfixturevalue(task)
    rows = trained.rows[:40]
    expected = trained.scores(rows)
    raw = {
        "distance": np.array([row["distance"] for row in rows], np.float32),
        "hours_per_week": np.array([row["hours per week"] for row in rows], np.int64),
        "seats": np.array(
            [row.get("seats", [np.iinfo(np.int64).min]) for row in rows], np.int64
        ),
    }
    parsed = tf.io.parse_example(
        conftest.Sample.encode(rows), trained.graph.feature_spec
    )
    features = trained.graph.apply(parsed)
    transformed = {f.name: features[f.name] for f in trained.graph.features}
    signatures = trained.model.signatures
    for found in (
        signatures["raw"](**{name: tf.constant(v) for name, v in raw.items()}),
        signatures["transformed"](**transformed),
    ):
        assert set(found) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)


def test_moments_are_numpys_whatever_the_batches():
    values = np.random.default_rng(0).normal(1e6, 3, 1000)
    moments = Moments()
    for part in np.split(values, [1, 1, 400]):
        moments.add(part)
    assert moments.scale.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.scale.deviation == pytest.approx(values.std(), rel=1e-9)


def test_a_constant_label_is_divided_by_one():
    moments = Moments()
    moments.add(np.full(10, np.float32(0.1)))
    assert moments.scale == LabelScale(pytest.approx(0.1), 1.0)
    assert Moments().scale == LabelScale()


@pytest.mark.parametrize(("label", "said"), [(3, "is 3"), (-1, "is -1")])
def test_a_label_that_is_no_class_is_refused(transform, tmp_path, label, said):
    rows = rows_of(20, 1, kind)
    rows[7]["late"] = [label]
    conftest.write_examples(rows, f"{tmp_path}/split/data.gz")
    config = copy.deepcopy(conftest.CONFIG) | LINEAR
    graph = TransformGraph.open(transform, config)
    with pytest.raises(ValueError, match=f"Label 'late' {said} .* from 0 to 2"):
        data.load_split(
            [f"{tmp_path}/split/*"], graph, Columns.from_config(config), classes=3
        )


def toy_split(task, seed):
    """The toy's features; a number that shape and colour make, or 3 classes."""
    features, labels, ids = coloured((0.1, 0.3), rows=300, seed=seed)
    noise = np.random.default_rng(seed).normal(size=len(labels))
    numbers = 5 * features[:, 0] + 3 * features[:, 1] * (ids + 1) + noise + 100
    if task == "multiclass":
        return make_split(features, np.digitize(numbers, [95.0, 105.0]) * 1.0, ids)
    split = make_split(features, numbers, ids)
    scale = LabelScale(float(numbers.mean()), float(numbers.std()))
    return dataclasses.replace(
        split, layout=dataclasses.replace(split.layout, scale=scale)
    )


def toy_fit(task, **config):
    classes = 3 if task == "multiclass" else None
    settings = TrainSettings.from_config(
        CONFIG | {"task": task, "classes": classes, "batch_size": 600} | config
    )
    devices.seed_everything(settings.seed, True)
    model = make_model(FEATURES, settings.model, settings.outputs)
    return fit(model, [toy_split(task, 0), toy_split(task, 1)], settings)


METHODS = [
    {"name": "irm_v1", "weight": 1.0},
    {"name": "group_dro"},
    {"name": "dann", "weight": 0.1},
    {"name": "adversarial", "options": {"epsilon": 0.1}},
    {"name": "adversarial", "options": {"discrepancy": "wasserstein"}},
    {"name": "coral", "weight": 0.1},
]


@pytest.mark.parametrize("task", ["regression", "multiclass"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["name"])
def test_methods_learn_under_every_task(task, method):
    history = toy_fit(task, methods=[method], steps=80)
    for risks in history.eval_risk.values():
        # A constant has 1, the label's own variance, or about ln 3.
        assert risks[-1] < (0.8 if task == "regression" else 0.9)
    assert np.isfinite(history.loss).all()


def test_a_constraint_and_early_stopping_see_risks_in_variances():
    history = toy_fit(
        "regression",
        methods=[{"name": "v_rex"}],
        constraint={"risk_gap": 0.01},
        early_stopping={"patience": 1},
        eval_every=40,
        log_every=20,
        steps=200,
    )
    assert set(history.eval_risk) == {"first", "second"}
    by_step = {
        step: [risks[i] for risks in history.eval_risk.values()]
        for i, step in enumerate(history.eval_steps)
    }
    shared = [s for s in history.constraint_steps if s in by_step]
    assert shared
    for step in shared:
        at = history.constraint_steps.index(step)
        gap = history.constraint["risk_gap"][at]
        assert gap == pytest.approx(max(by_step[step]) - min(by_step[step]), rel=1e-5)
    worst = {step: max(risks) for step, risks in by_step.items()}
    assert history.best_step == min(worst, key=worst.get)


@pytest.mark.parametrize(
    "rule", ["worst_training_environment", selection.LEAVE_ONE_OUT]
)
def test_a_search_chooses_by_risks_under_every_task(rule, tmp_path):
    settings = TrainSettings.from_config(
        CONFIG | {"task": "regression", "batch_size": 600, "steps": 60}
    )
    space = tuning.Space([1.0, 1.0], [0, 0], [1e-4, 0.1], [1.0])
    tuner = tuning.InvarianceTuner(settings, FEATURES, space, 2, rule, str(tmp_path))
    splits = [toy_split("regression", seed) for seed in (0, 1)]
    tuner.search(train=splits[0], evaluation=splits[1])
    results = tuner.results
    figures = [
        trial["worst_risk"]
        if rule == "worst_training_environment"
        else np.mean(trial["left_out"])
        for trial in results["trials"]
    ]
    assert len(figures) == 2 and results["chosen"] == int(np.argmin(figures))


def test_a_search_by_slopes_needs_a_binary_label(tmp_path):
    settings = TrainSettings.from_config(CONFIG | {"task": "regression"})
    space = tuning.Space([1.0, 1.0], [0, 0], [0.1, 0.1], [1.0])
    with pytest.raises(SetupError, match="binary label, and the task is regression"):
        tuning.InvarianceTuner(
            settings, FEATURES, space, 2, selection.INVARIANCE, str(tmp_path)
        )


def test_scores_of_a_regression_are_squared_errors():
    random = np.random.default_rng(0)
    y, weights = random.normal(size=200), random.uniform(0.5, 2, 200)
    outputs = 0.7 * y + random.normal(0, 0.5, 200)
    found = selection.score(outputs[:, None], y, weights, "regression")
    assert found.risk == pytest.approx(
        metrics.mean_squared_error(y, outputs, sample_weight=weights)
    )
    r_squared = metrics.r2_score(y, outputs, sample_weight=weights)
    constant = np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)
    assert found.gain == pytest.approx(r_squared * constant)
    assert np.isnan(found.slope) and found.counts
    worse = selection.score(-outputs[:, None], y, weights, "regression")
    assert not worse.counts


def test_scores_of_classes_are_cross_entropies():
    random = np.random.default_rng(0)
    ids, weights = random.integers(0, 4, 300), random.uniform(0.5, 2, 300)
    logits = random.normal(size=(300, 4)) + 2 * np.eye(4)[ids]
    found = selection.score(logits, ids, weights, "multiclass")
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = metrics.log_loss(ids, shares, sample_weight=weights)
    assert found.risk == pytest.approx(loss)
    base = np.bincount(ids, weights, 4) / weights.sum()
    constant = metrics.log_loss(ids, np.tile(base, (300, 1)), sample_weight=weights)
    assert found.gain == pytest.approx(constant - loss)
