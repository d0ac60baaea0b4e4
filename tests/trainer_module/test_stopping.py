"""Early stopping: by the worst environment, not before the penalty acts."""

import json
import math

import numpy as np
import pytest

from tests.trainer_module.toy import CONFIG, FEATURES, coloured, make_split
from trainer_module.fit import fit
from trainer_module.keras3 import keras
from trainer_module.model import make_model
from trainer_module.settings import StoppingSettings, TrainSettings
from trainer_module.stopping import EarlyStopping


def small_model():
    inputs = keras.Input((1,))
    return keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))


def watch(risks, patience=2, min_delta=0.0, from_step=0):
    """Which step stops, and the weight that is kept; the weight is the step."""
    model = small_model()
    settings = StoppingSettings(patience=patience, min_delta=min_delta)
    stopping = EarlyStopping(settings, model, from_step)
    for step, pair in enumerate(risks, start=1):
        model.set_weights([np.array([[float(step)]])])
        if stopping.see(step, pair):
            break
    stopping.restore_best()
    return step, float(model.get_weights()[0][0, 0])


def test_the_worst_environment_decides_not_the_mean():
    # The mean falls all along; the worst rises after the second.
    risks = [(0.5, 0.6), (0.4, 0.5), (0.1, 0.55), (0.05, 0.52), (0.0, 0.4)]
    assert watch(risks) == (4, 2.0)


def test_a_better_risk_starts_the_count_anew():
    risks = [(0.5,), (0.6,), (0.4,), (0.5,), (0.3,), (0.4,)]
    assert watch(risks) == (6, 5.0)


def test_what_is_hardly_better_is_not():
    risks = [(0.5,), (0.49,), (0.48,), (0.1,)]
    assert watch(risks, min_delta=0.05) == (3, 1.0)
    assert watch(risks) == (4, 4.0)


def test_risks_from_before_the_penalty_acts_do_not_count():
    risks = [(0.1,), (0.1,), (0.6,), (0.5,), (0.7,), (0.8,)]
    assert watch(risks, from_step=3) == (6, 4.0)


def test_an_environment_without_eval_rows_is_left_out():
    risks = [(0.5, math.nan), (0.4, math.nan), (0.45, math.nan), (0.41, math.nan)]
    assert watch(risks) == (4, 2.0)
    assert watch([(math.nan, math.nan)] * 3) == (3, 3.0)


def test_it_goes_on_from_its_notes():
    settings = StoppingSettings(patience=2)
    first = EarlyStopping(settings, small_model(), 0)
    assert not first.see(1, [0.5])
    assert not first.see(2, [0.6])
    second = EarlyStopping(settings, small_model(), 0)
    second.resume(json.loads(json.dumps(first.notes())))
    assert second.best_step == 1
    assert second.see(3, [0.55])


def overfitting():
    """Rows with labels of pure chance to learn by heart, and others to be scored on."""
    random = np.random.default_rng(0)
    splits = []
    for seed, rows in ((0, 40), (1, 400)):
        features, labels, ids = coloured((0.4, 0.4), rows=rows, seed=seed)
        features = features + 0.5 * random.normal(size=features.shape)
        splits.append(make_split(features, labels, ids))
    return splits


def trained(**changes):
    config = {"steps": 600, "learning_rate": 0.02, "batch_size": 80, "eval_every": 40}
    settings = TrainSettings.from_config(
        CONFIG | config | {"model": {"hidden": [64, 64]}} | changes
    )
    keras.utils.set_random_seed(0)
    model = make_model(FEATURES, settings.model)
    return model, fit(model, overfitting(), settings)


def test_a_run_ends_early_with_the_best_weights():
    _, whole = trained()
    model, stopped = trained(early_stopping={"patience": 2})
    assert whole.steps[-1] == 600
    assert whole.best_step is None
    assert stopped.steps[-1] < 600
    worst = np.max(list(stopped.eval_risk.values()), axis=0)
    best = int(np.argmin(worst))
    assert stopped.eval_steps[best] == stopped.best_step
    assert stopped.eval_steps[-1] == stopped.steps[-1]
    assert len(worst) == best + 3
    inputs, labels, ids = (part.numpy() for part in _columns(overfitting()[1]))
    logits = model({f.name: inputs[:, i : i + 1] for i, f in enumerate(FEATURES)})[0]
    losses = np.logaddexp(0, np.where(labels > 0, -1, 1) * logits.numpy()[:, 0])
    risks = [losses[ids == e].mean() for e in (0, 1)]
    assert max(risks) == pytest.approx(worst[best], rel=1e-5)


def _columns(split):
    floats, ids = split.memory
    return floats[:, :2], floats[:, 2], ids[:, 0]


def test_there_must_be_an_eval_split():
    settings = TrainSettings.from_config(CONFIG | {"early_stopping": {}})
    model = make_model(FEATURES, settings.model)
    with pytest.raises(ValueError, match="early_stopping needs an eval split"):
        fit(model, overfitting()[:1], settings)
