"""Attacks on SavedModels: closed forms of linear models, and training's own code."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from components.attack import parse
from components.errors import DataError
from components.evaluator.attacks import LOSSES, AttackedModel, Attacker
from trainer_module.perturbations import perturb_data

WEIGHTS = np.float32([1.5, -0.7, 0.4])
SPEC = {
    "numeric_a": tf.io.FixedLenFeature([1], tf.float32),
    "missing_a": tf.io.FixedLenFeature([1], tf.float32),
    "dense_b": tf.io.FixedLenFeature([2], tf.float32),
    "categorical_c": tf.io.FixedLenFeature([1], tf.int64),
}
PERTURBABLE = {"numeric_a": {"missing": "missing_a"}, "dense_b": {"missing": None}}


def linear(features):
    """1.5 a - 0.7 b_0 + 0.4 b_1 + what neither id nor indicator can be moved by."""
    numbers = tf.concat([features["numeric_a"], features["dense_b"]], axis=1)
    fixed = 0.3 * tf.cast(features["categorical_c"], tf.float32)
    return numbers @ WEIGHTS[:, None] + fixed - 0.2 * features["missing_a"] - 0.5


def network(seed, outputs=1, scale=1.5):
    """A small network of tanh, with this scale one that bends within the ball."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, scale, (4, 16)).astype(np.float32)
    last = rng.normal(0, 1.0, (16, outputs)).astype(np.float32)

    def score(features):
        names = ("numeric_a", "missing_a", "dense_b")
        inputs = tf.concat([features[name] for name in names], axis=1)
        ids = 0.1 * tf.cast(features["categorical_c"], tf.float32)
        return tf.tanh(inputs @ first) @ last + ids

    return score


def draw(rows=64, seed=0):
    """Transformed features, and labels of 0 and 1."""
    rng = np.random.default_rng(seed)
    missing = rng.random((rows, 1)) < 0.3
    return {
        "numeric_a": np.where(missing, 0, rng.normal(size=(rows, 1))).astype("f4"),
        "missing_a": missing.astype("f4"),
        "dense_b": rng.normal(size=(rows, 2)).astype("f4"),
        "categorical_c": rng.integers(0, 5, (rows, 1)),
    }, rng.integers(0, 2, rows).astype("f4")


def encode(features):
    """As serialized tf.Examples."""
    made = []
    for i in range(len(features["numeric_a"])):
        example = tf.train.Example()
        for name, values in features.items():
            kind = SPEC[name].dtype
            added = example.features.feature[name]
            into = added.int64_list if kind == tf.int64 else added.float_list
            into.value.extend(values[i].tolist())
        made.append(example.SerializeToString())
    return np.array(made, object)


@pytest.fixture
def export(tmp_path):
    """Writes a SavedModel; returns its path."""
    number = itertools.count()

    def write(
        score, perturbable=PERTURBABLE, task="binary", without=(), serve=None, spec=SPEC
    ):
        def outputs(logits):
            if task == "regression":
                return {"predictions": logits}
            squash = tf.sigmoid if task == "binary" else tf.nn.softmax
            return {"logits": logits, "probabilities": squash(logits)}

        widths = {
            n: tf.TensorSpec([None, *s.shape], s.dtype, name=n) for n, s in spec.items()
        }
        examples = tf.TensorSpec([None], tf.string, name="examples")

        def parsed(examples):
            return tf.io.parse_example(examples, spec)

        functions = {
            "transformed": (lambda features: outputs(score(features)), widths),
            "transform_features": (parsed, examples),
            "serving_default": (
                lambda e: outputs((serve or score)(parsed(e))),
                examples,
            ),
        }
        module = tf.Module()
        signatures = {}
        for name, (function, spec_of) in functions.items():
            if name not in without:
                traced = tf.function(function, autograph=False)
                signatures[name] = traced.get_concrete_function(spec_of)
        path = tmp_path / f"model-{next(number)}"
        tf.saved_model.save(module, str(path), signatures=signatures)
        if perturbable is not None:
            (path / "assets.extra").mkdir()
            text = json.dumps(perturbable)
            (path / "assets.extra" / "perturbable.json").write_text(text)
        return str(path)

    return write


def attacked(path, attacks, features, labels, task="binary"):
    """Features under each attack, [N, width] arrays."""
    model = AttackedModel(path, task, attacks)
    tensors = {name: tf.constant(values) for name, values in features.items()}
    moved = model.move(tensors, tf.constant(labels, tf.float32))
    found = [moved[attack.model] for attack in attacks]
    return [{name: f[name].numpy() for name in f} for f in found]


def scores(path, features):
    signature = tf.saved_model.load(path).signatures["transformed"]
    output = signature(**{name: tf.constant(v) for name, v in features.items()})
    return {name: value.numpy() for name, value in output.items()}


def log_loss(logits, labels):
    return np.logaddexp(0, (1 - 2 * labels) * logits[:, 0].astype(float))


EVERY = [
    {"epsilon": 0.1},
    {"epsilon": 0.3, "norm": "l2"},
    {"epsilon": 0.3, "attack": "pgd"},
    {"epsilon": 0.5, "attack": "pgd", "norm": "l2", "steps": 5},
    {"epsilon": 0.4, "attack": "pgd", "steps": 7, "step_size": 0.3},
    {"epsilon": 0.4, "attack": "pgd", "steps": 25, "clip": [-0.5, 0.5]},
    {"epsilon": 0.4, "norm": "l2", "clip": [-0.5, 0.5]},
    {"epsilon": 0.2, "frozen": ["numeric_a"]},
]


def test_fgsm_of_a_linear_model_is_its_closed_form(export):
    features, labels = draw()
    path, epsilon = export(linear), 0.25
    (found,) = attacked(path, [parse({"epsilon": epsilon})], features, labels)
    way = epsilon * (1 - 2 * labels)[:, None] * np.sign(WEIGHTS)
    present = 1 - features["missing_a"]
    expected = features["numeric_a"] + way[:, :1] * present
    np.testing.assert_allclose(found["numeric_a"], expected, atol=1e-6)
    expected = features["dense_b"] + way[:, 1:]
    np.testing.assert_allclose(found["dense_b"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_risk_of_a_linear_model_is_its_closed_form(export, kind, norm):
    # max over the ball of log(1 + exp(-s z)) is log(1 + exp(-s z + epsilon |w|_*)).
    features, labels = draw(rows=200)
    epsilon, path = 0.25, export(linear)
    attack = parse({"epsilon": epsilon, "attack": kind, "norm": norm})
    served = scores(path, features)["probabilities"][:, 0]
    found = Attacker(path, "binary", [attack]).predictions(
        encode(features), labels, served, "probabilities"
    )
    (values,) = found.values()
    logits = scores(path, features)["logits"][:, 0].astype(float)
    weights = np.where(features["missing_a"] > 0, [0, 1, 1], 1) * WEIGHTS
    dual = np.linalg.norm(weights, 1 if norm == "linf" else 2, axis=1)
    wrong = (1 - 2 * labels) * logits + epsilon * dual
    loss = np.where(labels == 1, -np.log(values), -np.log1p(-values))
    np.testing.assert_allclose(loss, np.logaddexp(0, wrong), atol=1e-5)


@pytest.mark.parametrize("leaf", EVERY, ids=lambda leaf: parse(leaf).name)
# Gentle: where a gradient is almost 0, its direction is rounding.
@pytest.mark.parametrize(
    "score", [linear, network(1, scale=0.5)], ids=["linear", "network"]
)
def test_it_is_the_attack_of_training(export, score, leaf):
    features, labels = draw(rows=256, seed=2)
    path, attack = export(score), parse(leaf)
    model = tf.saved_model.load(path).signatures["transformed"]

    def loss(moved):
        logits = model(**moved)["logits"]
        return tf.nn.sigmoid_cross_entropy_with_logits(labels[:, None], logits)[:, 0]

    expected = perturb_data(
        {name: tf.constant(values) for name, values in features.items()},
        attack.epsilon,
        attack.attack,
        loss=loss,
        norm=attack.norm,
        clip=attack.clip,
        frozen=attack.frozen,
        **{k: leaf[k] for k in ("steps", "step_size") if k in leaf},
        **({} if "steps" in leaf or attack.attack == "fgsm" else {"steps": 10}),
    )
    (found,) = attacked(path, [attack], features, labels)
    # A step of l2 has the rounding of the gradient before it, which the next ones turn.
    atol = 5e-6 if attack.norm == "l2" and attack.steps > 1 else 1e-6
    for name in features:
        np.testing.assert_allclose(found[name], expected[name], atol=atol, err_msg=name)


@pytest.mark.parametrize("leaf", EVERY, ids=lambda leaf: parse(leaf).name)
def test_it_stays_in_the_ball_and_moves_numbers_alone(export, leaf):
    features, labels = draw(rows=300, seed=3)
    attack = parse(leaf)
    (found,) = attacked(export(network(4)), [attack], features, labels)
    for name in ("missing_a", "categorical_c"):
        np.testing.assert_array_equal(found[name], features[name])
    absent = features["missing_a"][:, 0] == 1
    assert absent.any()
    assert not found["numeric_a"][absent].any()
    ways = [found[name] - features[name] for name in ("numeric_a", "dense_b")]
    if attack.frozen:
        assert not ways[0].any()
    way = np.concatenate(ways, axis=1)
    order = np.inf if attack.norm == "linf" else 2
    lengths = np.linalg.norm(way, order, axis=1)
    assert lengths.max() <= attack.epsilon * (1 + 1e-5)
    assert np.median(lengths) > 0.3 * attack.epsilon  # else nothing was tried
    if attack.clip is not None:
        low, high = attack.clip
        for name in ("numeric_a", "dense_b"):
            assert (found[name] >= np.minimum(features[name], low)).all()
            assert (found[name] <= np.maximum(features[name], high)).all()


def test_pgd_is_at_least_as_strong_as_fgsm(export):
    features, labels = draw(rows=1000, seed=5)
    path = export(network(6))
    leaves = [{"epsilon": 0.5, "attack": kind} for kind in ("fgsm", "pgd")]
    one, several = attacked(path, list(map(parse, leaves)), features, labels)
    clean, fgsm, pgd = (
        log_loss(scores(path, f)["logits"], labels).mean()
        for f in (features, one, several)
    )
    assert clean + 0.5 < fgsm < pgd


def test_a_saturated_model_does_not_look_robust(export):
    # Its loss is flat in float32: sigmoid(z) - y is 0. Its logits are not.
    features, labels = draw(seed=7)
    path = export(lambda f: 1e4 * linear(f))
    logits = scores(path, features)["logits"]
    right = np.flatnonzero((logits[:, 0] > 0) == labels)
    assert (np.abs(special.expit(logits[right, 0]) - labels[right]) == 0).mean() > 0.9
    (found,) = attacked(path, [parse({"epsilon": 0.25})], features, labels)
    way = (1 - 2 * labels)[:, None] * (found["dense_b"] - features["dense_b"])
    np.testing.assert_allclose(way, np.tile([-0.25, 0.25], (64, 1)), atol=1e-6)


class TestLosses:
    """Values by SciPy; directions by those of the textbook's losses."""

    def gradients(self, task, scores, labels, textbook):
        tensor, key = tf.constant(scores), "logits"
        key = "predictions" if task == "regression" else key
        labels = tf.constant(labels, tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(tensor)
            ours, theirs = LOSSES[task]({key: tensor}, labels), textbook(labels, tensor)
        return ours, theirs, *(tape.gradient(x, tensor) for x in (ours, theirs))

    def alike(self, one, other):
        one, other = (
            x / np.linalg.norm(x, axis=1, keepdims=True)
            for x in (one.numpy(), other.numpy())
        )
        np.testing.assert_allclose(one, other, atol=1e-5)

    def test_binary(self):
        z, y = np.float32([[2.0], [-1.0], [0.5]]), [1, 1, 0]
        ours, theirs, one, other = self.gradients(
            "binary",
            z,
            y,
            lambda y, z: tf.nn.sigmoid_cross_entropy_with_logits(y[:, None], z)[:, 0],
        )
        np.testing.assert_allclose(np.logaddexp(0, ours), theirs, rtol=1e-6)
        self.alike(one, other)

    def test_multiclass(self):
        z, y = np.random.default_rng(0).normal(0, 2, (9, 4)).astype("f4"), np.arange(9)
        ours, theirs, one, other = self.gradients(
            "multiclass",
            z,
            y % 4,
            lambda y, z: tf.nn.sparse_softmax_cross_entropy_with_logits(
                tf.cast(y, tf.int64), z
            ),
        )
        np.testing.assert_allclose(np.logaddexp(0, ours), theirs, rtol=1e-5)
        expected = special.logsumexp(z, axis=1) - z[np.arange(9), np.arange(9) % 4]
        np.testing.assert_allclose(theirs, expected, rtol=1e-5)
        self.alike(one, other)

    def test_regression(self):
        z, y = np.float32([[2.0], [-1.0]]), [1.5, 3.0]
        ours, theirs, one, other = self.gradients(
            "regression", z, y, lambda y, z: (z[:, 0] - y) ** 2
        )
        np.testing.assert_allclose(ours, [0.25, 16.0])
        np.testing.assert_allclose(ours, theirs)
        self.alike(one, other)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_task_is_attacked(export, task):
    features, _ = draw(rows=200, seed=8)
    classes = 3 if task == "multiclass" else 1
    path = export(network(9, classes), task=task)
    labels = np.random.default_rng(1).integers(0, 3, 200).astype("f4")
    (found,) = attacked(path, [parse({"epsilon": 0.3})], features, labels, task)

    def risk(features):
        output = scores(path, features)
        if task == "regression":
            return np.mean((output["predictions"][:, 0] - labels) ** 2)
        picked = output["probabilities"][np.arange(200), labels.astype(int)]
        return -np.log(picked).mean()

    assert risk(found) > risk(features) + 0.2


class TestRefusals:
    """Models that can't be attacked, and those that are not what they serve."""

    ATTACK = (parse({"epsilon": 0.1}),)

    @pytest.mark.parametrize("name", ["transformed", "transform_features"])
    def test_a_signature_is_missing(self, export, name):
        path = export(linear, without=[name])
        with pytest.raises(DataError, match=f"has no signature '{name}', only"):
            AttackedModel(path, "binary", self.ATTACK)

    def test_nothing_says_what_may_move(self, export):
        path = export(linear, perturbable=None)
        with pytest.raises(DataError, match=r"has no assets.extra/perturbable.json"):
            AttackedModel(path, "binary", self.ATTACK)

    def test_nothing_may_move(self, export):
        path = export(linear, perturbable={})
        with pytest.raises(DataError, match="has no number among its features"):
            AttackedModel(path, "binary", self.ATTACK)

    def test_what_may_move_is_no_feature(self, export):
        path = export(linear, perturbable={"numeric_z": {"missing": None}})
        with pytest.raises(DataError, match="says that 'numeric_z' may move"):
            AttackedModel(path, "binary", self.ATTACK)

    @pytest.mark.parametrize(
        ("frozen", "words"),
        [
            (["numeric_a", "dense_b"], "but numeric_a, dense_b, all frozen"),
            (["age"], "freezes the feature 'age', but the model's are categorical_c,"),
        ],
    )
    def test_what_is_frozen(self, export, frozen, words):
        attack = parse({"epsilon": 0.1, "frozen": frozen})
        with pytest.raises(DataError, match=words):
            AttackedModel(export(linear), "binary", [attack])

    def test_scores_that_no_number_moves(self, export):
        path = export(lambda f: tf.cast(f["categorical_c"], tf.float32))
        with pytest.raises(DataError, match="don't change with numeric_a, dense_b"):
            AttackedModel(path, "binary", self.ATTACK)

    def test_it_serves_another_network(self, export):
        features, labels = draw()
        path = export(linear, serve=network(1))
        served = special.expit(network(1)(features).numpy()[:, 0])
        attacker = Attacker(path, "binary", self.ATTACK)
        with pytest.raises(DataError, match="scores examples otherwise"):
            attacker.predictions(encode(features), labels, served, "probabilities")

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_a_gradient_that_is_not_a_number_makes_no_number(self, export, norm):
        # The gradient of sqrt at 0 is infinite, and infinity times 0 is NaN.
        def score(features):
            return linear(features) + tf.sqrt(0.0 * features["numeric_a"])

        features, labels = draw()
        path = export(score)
        attack = parse({"epsilon": 0.1, "norm": norm})
        assert np.isfinite(scores(path, features)["logits"]).all()
        served = scores(path, features)["probabilities"][:, 0]
        found = Attacker(path, "binary", [attack]).predictions(
            encode(features), labels, served, "probabilities"
        )
        present = features["missing_a"][:, 0] == 0
        assert np.isnan(found[attack.model][present]).all()
