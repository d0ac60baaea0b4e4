"""The loop on toy problems: it learns, repeats itself, and stops when it must."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.toy import CONFIG, FEATURES, coloured, make_split
from trainer_module import loop
from trainer_module.checkpoints import Checkpoints
from trainer_module.errors import SetupError
from trainer_module.features import Feature
from trainer_module.feeding import feed
from trainer_module.fit import fit
from trainer_module.keras3 import keras
from trainer_module.methods import METHODS
from trainer_module.model import make_model
from trainer_module.penalties import EnvironmentBatch
from trainer_module.reweighting import as_matrix, fit_reweighting
from trainer_module.settings import TrainSettings


def run(split, folder=None, evaluation=None, **changes):
    settings = TrainSettings.from_config(CONFIG | changes)
    keras.utils.set_random_seed(settings.seed)
    model = make_model(FEATURES, settings.model)
    splits = [split] if evaluation is None else [split, evaluation]
    return model, fit(model, splits, settings, folder)


def accuracy(model, features, labels):
    inputs = {f.name: features[:, i : i + 1] for i, f in enumerate(FEATURES)}
    logits = model(inputs)[0].numpy()[:, 0]
    return np.mean((logits > 0) == labels)


@pytest.fixture(scope="module")
def train():
    return coloured((0.1, 0.2))


def test_erm_learns_what_predicts_best_on_average(train):
    model, history = run(make_split(*train))
    # Colour alone is right in 1 - (0.1 + 0.2) / 2 of the rows.
    assert accuracy(model, *train[:2]) == pytest.approx(0.85, abs=0.015)
    assert history.loss[-1] < history.loss[0]
    assert history.penalty == [0.0] * 3


@pytest.mark.parametrize("name", ["irm_v1", "v_rex"])
def test_a_penalty_learns_what_holds_in_every_environment(train, name):
    methods = [{"name": name, "weight": 1000.0}]
    schedule = {"kind": "step", "anneal_steps": 100}
    model, history = run(
        make_split(*train),
        methods=methods,
        schedule=schedule,
        steps=400,
        learning_rate=0.01,
    )
    features, labels, _ = coloured((0.9,), seed=1)
    erm, _ = run(make_split(*train))
    # The paper's toy: shape is right in 75 %, colour in 10 % where it is turned round.
    assert accuracy(erm, features, labels) < 0.2
    assert accuracy(model, features, labels) == pytest.approx(0.75, abs=0.03)
    assert history.penalty[-1] < max(history.penalty) / 4


def test_a_sum_of_methods_is_trained_and_recorded(train):
    methods = [
        {"name": "irm_v1", "weight": 3.0},
        {"name": "v_rex", "weight": 1.0},
        "erm",
    ]
    schedule = {"kind": "constant"}
    _, history = run(
        make_split(*train), methods=methods, schedule=schedule, steps=1, log_every=1
    )
    assert history.method == "irm_v1+v_rex+erm"
    assert history.weight == [5.0]
    risk = (history.risk["first"][0] + history.risk["second"][0]) / 2
    expected = (risk + history.weight[0] * history.penalty[0]) / 3.0
    assert history.loss[0] == pytest.approx(expected, rel=1e-5)


def test_the_history_has_every_record(train, tmp_path):
    folder = str(tmp_path)
    schedule = {"kind": "step", "anneal_steps": 80}
    methods = [{"name": "v_rex", "weight": 7.0}]
    split = make_split(*train)
    run(split, folder, split, methods=methods, schedule=schedule)
    with open(f"{folder}/history.json", encoding="utf-8") as file:
        history = json.load(file)
    assert history["steps"] == [40, 80, 100]
    assert history["weight"] == [1.0, 1.0, 7.0]
    assert history["method"] == "v_rex"
    assert history["device"] in ("CPU", "GPU")
    for key in ("penalty", "loss"):
        assert len(history[key]) == 3
    assert {len(history["risk"][name]) for name in ("first", "second")} == {3}
    assert history["eval_steps"][-1] == 100
    assert set(history["eval_risk"]) == {"first", "second"}
    tags = set()
    for name in os.listdir(folder):
        if "tfevents" in name:
            for event in tf.compat.v1.train.summary_iterator(f"{folder}/{name}"):
                tags |= {value.tag for value in event.summary.value}
    assert {"risk/first", "eval_risk/second", "penalty", "weight", "loss"} <= tags


def test_eval_risks_are_those_of_a_numpy_loop(train):
    features, labels, ids = (part[:-7] for part in train)
    weights = np.random.default_rng(0).uniform(size=len(ids))
    split = make_split(features, labels, ids, weights)
    model, history = run(split, evaluation=split, steps=5, log_every=5)
    inputs = {f.name: features[:, i : i + 1] for i, f in enumerate(FEATURES)}
    logits = model(inputs)[0].numpy()[:, 0]
    losses = np.log1p(np.exp(-np.where(labels == 1, logits, -logits)))
    for index, name in enumerate(("first", "second")):
        mine = ids == index
        expected = np.average(losses[mine], weights=weights[mine])
        assert history.eval_risk[name][-1] == pytest.approx(expected, rel=1e-4)


def test_an_environment_that_eval_lacks_has_no_eval_risk(train):
    features, labels, ids = train
    evaluation = make_split(features[ids == 0], labels[ids == 0], ids[ids == 0])
    _, history = run(make_split(*train), evaluation=evaluation, steps=2)
    assert history.eval_risk["second"] == [None]
    assert history.eval_risk["first"][0] > 0


def test_the_same_seed_gives_the_same_bits(train):
    methods = [{"name": "irm_v1", "weight": 100.0}]
    network = {"hidden": [8], "dropout": 0.3}
    options = {"methods": methods, "model": network, "batch_size": 64, "steps": 30}
    first, again, other = (
        run(make_split(*train), seed=seed, **options)[0].get_weights()
        for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_the_records_do_not_depend_on_how_often_they_are_made(train):
    often, _ = run(make_split(*train), steps=12, log_every=1)
    once, _ = run(make_split(*train), steps=12, log_every=12)
    for a, b in zip(often.get_weights(), once.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_that_is_not_finite_stops_the_run(train, tmp_path):
    features, labels, ids = train
    features = np.where((ids == 1)[:, None], 3e38 * features, features)
    match = (
        "step 1: the loss is (nan|inf).*'second' has the risk (nan|inf) and the "
        "largest logit (nan|inf|.*e.3).*learning rate"
    )
    with pytest.raises(RuntimeError, match=match):
        run(make_split(features, labels, ids), str(tmp_path))
    assert (tmp_path / "history.json").exists()


def test_it_stops_at_the_step_where_it_happens(train):
    schedule = {"kind": "step", "anneal_steps": 7}
    methods = [{"name": "v_rex", "weight": float(np.finfo(np.float32).max)}]
    features = np.where((train[2] == 1)[:, None], 100 * train[0], train[0])
    with pytest.raises(RuntimeError, match="Training stopped at step 8: "):
        run(make_split(features, *train[1:]), methods=methods, schedule=schedule)


def test_a_batch_of_one_environment_alone_is_no_error_of_division(train):
    features, labels, ids = train
    split = make_split(features, labels, ids, weights=(ids == 0).astype(float))
    _, history = run(split, methods=[{"name": "v_rex", "weight": 5.0}], steps=3)
    assert history.penalty == [0.0]
    assert history.risk["second"] == [0.0]


def test_l2_is_part_of_the_loss(train):
    model = {"hidden": [8], "l2": 0.01}
    split = make_split(*train)
    network, history = run(split, steps=1, log_every=1, learning_rate=1e-9, model=model)
    risk = (history.risk["first"][0] + history.risk["second"][0]) / 2
    squares = sum(np.square(w).sum() for w in network.get_weights() if w.ndim > 1)
    assert history.loss[0] == pytest.approx(risk + 0.01 * squares, rel=1e-4)


def test_every_optimizer_of_keras_may_be_named(train):
    _, history = run(make_split(*train), optimizer="sgd", steps=20, log_every=20)
    assert np.isfinite(history.loss).all()
    with pytest.raises(ValueError, match="train.optimizer is 'adamm'.*adam"):
        run(make_split(*train), optimizer="adamm")


def test_it_runs_under_a_mirrored_strategy(train):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    settings = TrainSettings.from_config(CONFIG | {"steps": 3})
    with strategy.scope():
        model = make_model(FEATURES, settings.model)
    split = make_split(*train)
    assert fit(model, [split], settings, strategy=strategy).steps == [3]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_trains_and_leaves_the_plain_model(train, name):
    methods = [{"name": name, "weight": 1.0}]
    options = {"steps": 4, "log_every": 4, "batch_size": 64}
    model, history = run(make_split(*train), methods=methods, **options)
    assert np.isfinite(history.loss + history.penalty).all()
    assert len(model.get_weights()) == 4  # two layers; no adversary, no weights of it


@pytest.mark.parametrize("name", ["eqrm", "group_dro", "mm_rex"])
def test_what_replaces_the_risk_is_all_that_is_minimised(train, name):
    methods = [{"name": name, "weight": 1.0}]
    schedule = {"kind": "constant"}
    _, history = run(
        make_split(*train), methods=methods, schedule=schedule, steps=1, log_every=1
    )
    assert history.loss[0] == pytest.approx(history.penalty[0], rel=1e-6)


def test_group_dro_lowers_the_worst_risk_at_the_cost_of_the_others(train):
    methods = [{"name": "group_dro", "options": {"step_size": 0.5}}]
    _, erm = run(make_split(*train), steps=200)
    _, dro = run(make_split(*train), steps=200, methods=methods)
    assert dro.risk["second"][-1] < erm.risk["second"][-1] - 0.002
    assert dro.risk["first"][-1] > erm.risk["first"][-1] + 0.002


def test_the_optimizer_starts_anew_at_the_jump(train):
    """As five steps, and five more with another optimizer and the other weight."""
    methods = [{"name": "v_rex", "weight": 50.0}]
    schedule = {"kind": "step", "anneal_steps": 5}
    options = {"methods": methods, "steps": 10, "log_every": 10}
    reset, history = run(
        make_split(*train), schedule={**schedule, "reset_optimizer": True}, **options
    )
    kept, _ = run(make_split(*train), schedule=schedule, **options)
    assert history.steps == [5, 10]

    split = make_split(*train)
    keras.utils.set_random_seed(0)
    model = make_model(FEATURES, TrainSettings.from_config(CONFIG).model)
    for weight in (1.0, 50.0):
        half = [{"name": "v_rex", "weight": weight}]
        settings = TrainSettings.from_config(
            CONFIG | {"methods": half, "schedule": {"kind": "constant"}, "steps": 5}
        )
        fit(model, [split], settings)
    for ours, expected in zip(reset.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    difference = np.abs(kept.get_weights()[0] - reset.get_weights()[0]).max()
    assert difference > 1e-3


def test_a_checkpoint_holds_model_optimizer_and_objectives(train, tmp_path):
    methods = [{"name": "group_dro", "options": {"step_size": 1.0}}, "dann"]
    settings = TrainSettings.from_config(CONFIG | {"methods": methods, "steps": 5})
    split = make_split(*train)

    def trainer(seed):
        keras.utils.set_random_seed(seed)
        return loop.Trainer(make_model(FEATURES, settings.model), split, settings)

    def state(one):
        parts = [one.model, one.optimizer, *one.objectives]
        return [v.numpy() for part in parts for v in part.variables]

    first, second = trainer(0), trainer(1)
    first.run(feed(split, 2000, 0, tf.distribute.get_strategy()), 0, 5)
    changed = [
        not np.array_equal(*pair)
        for pair in zip(state(first), state(second), strict=True)
    ]
    assert all(changed[:4])
    path = tf.train.Checkpoint(**first.state).write(str(tmp_path / "state"))
    tf.train.Checkpoint(**second.state).read(path).assert_consumed()
    for saved, read in zip(state(first), state(second), strict=True):
        np.testing.assert_array_equal(saved, read)
    shares = first.objectives[0].variables[0].numpy()
    assert len(set(shares.tolist())) == 2  # the risks differ, so the weights do


def test_importance_weights_undo_a_shift_of_the_features(train):
    """The second environment has fewer rows of one shape; weighted, it hasn't."""
    features, labels, ids = train
    kept = (ids == 0) | (features[:, 0] > 0) | (np.arange(len(ids)) % 8 == 0)
    split = make_split(features[kept], labels[kept], ids[kept])
    settings = TrainSettings.from_config(CONFIG | {"importance": {"target": "first"}})
    found = fit_reweighting(split, settings)
    rows = split.layout.unpack(*split.memory)
    batch = EnvironmentBatch(
        logits=tf.zeros([len(rows.labels), 1]),
        labels=rows.labels,
        environment_ids=rows.environment_ids,
        num_environments=2,
        sample_weights=tf.fill([len(rows.labels)], 2.0),
    )
    weights = found.weigh(rows.features, batch).sample_weights.numpy()
    shape, ids = features[kept, 0], ids[kept]
    shares = [np.average(shape > 0, weights=weights * (ids == e)) for e in (0, 1)]
    assert np.mean(shape[ids == 1] > 0) > 0.75
    assert shares == pytest.approx([0.5, 0.5], abs=0.03)
    assert weights[ids == 0].mean() == pytest.approx(2.0, rel=1e-3)


def test_importance_weights_are_trained_with(train):
    split = make_split(*train)
    weighted, history = run(split, steps=3, importance={"clip": 5})
    plain, _ = run(split, steps=3)
    assert np.isfinite(history.loss).all()
    assert np.abs(weighted.get_weights()[0] - plain.get_weights()[0]).max() > 1e-6


def test_ids_become_zeros_and_a_one():
    features = (Feature("numeric_a"), Feature("categorical_b", cardinality=3))
    values = {
        "numeric_a": tf.constant([[0.5], [2.0]]),
        "categorical_b": tf.constant([[2], [0]]),
    }
    expected = [[0.5, 0, 0, 1], [2.0, 1, 0, 0]]
    np.testing.assert_array_equal(as_matrix(features, values), expected)


def test_results_survive_packing():
    parts = [np.array([1.0, 2.0]), np.array([3.0, 4.0]), 5.0, 6.0, 7.0]
    result = loop.StepResult(*(tf.constant(part, tf.float32) for part in parts))
    unpacked = dataclasses.astuple(loop.StepResult.unpack(result.pack().numpy()))
    for part, expected in zip(unpacked, parts, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_xla_gives_the_same_weights(train):
    methods = [{"name": "irm_v1", "weight": 20.0}, {"name": "coral"}]
    options = {"methods": methods, "steps": 15, "log_every": 5}
    plain, _ = run(make_split(*train), **options)
    compiled, history = run(make_split(*train), engine={"jit": True}, **options)
    assert history.steps == [5, 10, 15]
    for ours, expected in zip(compiled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_xla_is_refused_with_several_devices(train):
    settings = TrainSettings.from_config(CONFIG | {"engine": {"jit": True}})
    model = make_model(FEATURES, settings.model)
    strategy = tf.distribute.get_strategy()

    class Two:
        num_replicas_in_sync = 2
        scope = strategy.scope

    with pytest.raises(SetupError, match="train.jit is true, but there are 2 devices"):
        loop.Trainer(model, make_split(*train), settings, Two())


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_gradient_of_all_variables_together_is_clipped(train, precision):
    settings = TrainSettings.from_config(CONFIG)
    keras.utils.set_random_seed(0)
    before = make_model(FEATURES, settings.model).get_weights()

    def moved(clip_norm):
        engine = {"clip_norm": clip_norm, "precision": precision}
        options = {"optimizer": "sgd", "learning_rate": 1.0, "steps": 1}
        config = CONFIG | options | {"engine": engine}
        settings = TrainSettings.from_config(config)
        keras.utils.set_random_seed(0)
        model = make_model(FEATURES, settings.model, precision=precision)
        fit(model, [make_split(*train)], settings)
        pairs = zip(model.get_weights(), before, strict=True)
        return np.concatenate([(new - old).ravel() for new, old in pairs])

    whole, clipped = moved(None), moved(0.01)
    assert np.linalg.norm(whole) > 0.05
    assert np.linalg.norm(clipped) == pytest.approx(0.01, rel=1e-3)
    np.testing.assert_allclose(
        clipped / 0.01, whole / np.linalg.norm(whole), rtol=0.01, atol=1e-3
    )
    np.testing.assert_array_equal(moved(1e6), whole)


def test_the_last_good_checkpoint_stays_where_the_loss_is_not_finite(train, tmp_path):
    features, labels, ids = train
    options = {"steps": 20, "log_every": 1, "checkpoint_every": 1, "batch_size": 10}
    settings = TrainSettings.from_config(CONFIG | options)
    # Of the 40 rows of an environment, one comes in the steps 1 to 8.
    kept = np.r_[:40, 1000:1040]
    features = features[kept].copy()
    features[60] = np.inf
    split = make_split(features, labels[kept], ids[kept])
    model = make_model(FEATURES, settings.model)
    with pytest.raises(RuntimeError, match="at step .*'second'.*largest logit"):
        fit(model, [split], settings, None, str(tmp_path))
    assert np.isnan(model.get_weights()[0]).any()
    again = make_model(FEATURES, settings.model)
    Checkpoints(str(tmp_path), model=again).restore()
    assert np.isfinite(np.concatenate([w.ravel() for w in again.get_weights()])).all()
