"""The multiplier follows the bound, and training ends near it."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.trainer_module.toy import CONFIG, FEATURES, coloured, make_split
from trainer_module import constraint
from trainer_module.calibration import calibration_slope
from trainer_module.fit import fit
from trainer_module.keras3 import keras
from trainer_module.model import make_model
from trainer_module.settings import ConstraintSettings, TrainSettings


def draw(slope, rows=500, seed=0):
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=rows) - 1
    chance = 1 / (1 + np.exp(-0.3 - slope * logits))
    labels = (random.uniform(size=rows) < chance).astype(float)
    return logits.astype(np.float32), labels, random.uniform(0.1, 2, size=rows)


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.6, 1.0, 3.0])
def test_the_slope_is_sklearns(slope):
    logits, labels, weights = draw(slope)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    expected = model.fit(logits[:, None], labels, weights).coef_[0, 0]
    found = calibration_slope(logits, labels, weights)
    assert found.value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    timid = calibration_slope(logits / 10, labels, weights)
    assert timid.value == pytest.approx(10 * found.value)
    assert timid.variance == pytest.approx(100 * found.variance)


def test_the_variance_is_that_of_slopes_of_other_samples():
    found = [
        calibration_slope(*draw(1.0, seed=i)[:2], np.ones(500)) for i in range(300)
    ]
    spread = np.var([slope.value for slope in found])
    assert np.mean([slope.variance for slope in found]) == pytest.approx(
        spread, rel=0.2
    )


def test_rows_without_weight_count_for_nothing():
    logits, labels, weights = draw(1.0)
    weights[::2] = 0.0
    rest = [part[1::2] for part in (logits, labels, weights)]
    assert calibration_slope(logits, labels, weights) == calibration_slope(*rest)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ([1.0, 2.0, 3.0], [1, 1, 1]),
        ([1.0, 2.0, 3.0], [0, 0, 1]),
        ([1.0, 2.0, 3.0], [1, 0, 0]),
        ([2.0, 2.0, 2.0], [0, 1, 0]),
    ],
)
def test_where_there_is_no_slope_it_is_nan(logits, labels):
    found = calibration_slope(np.array(logits), np.array(labels), np.ones(3))
    assert math.isnan(found.value)


def test_spreads_are_of_the_environments_that_are_there():
    assert constraint.risk_gap(np.array([0.3, math.nan, 0.5])) == pytest.approx(0.2)
    assert math.isnan(constraint.risk_gap(np.array([0.3, math.nan])))
    parts = [draw(slope, seed=i) for i, slope in enumerate((0.5, 1.0, 2.0))]
    slopes = [calibration_slope(*part).value for part in parts]
    logits, labels, weights = (
        np.concatenate(same) for same in zip(*parts, strict=True)
    )
    ids = np.repeat([0, 2, -1], 500)
    found = constraint.slope_spread(logits, labels, ids, weights)
    assert found == pytest.approx(slopes[1] - slopes[0])
    labels[ids == 0] = 1.0
    assert math.isnan(constraint.slope_spread(logits, labels, ids, weights))


def test_the_multiplier_rises_falls_and_stays_within_its_limits():
    settings = ConstraintSettings(risk_gap=0.02, rate=0.5, most=10.0)

    def after(value, start=1.0):
        return constraint.updated(start, {"risk_gap": value}, settings)

    assert after(0.03) == pytest.approx(math.exp(0.25))
    assert after(0.02) == 1.0
    assert after(0.01) == pytest.approx(math.exp(-0.25))
    assert after(5.0) == pytest.approx(math.exp(0.5))
    assert after(math.nan, start=3.0) == 3.0
    assert after(1.0, start=9.0) == 10.0
    assert after(0.0, start=0.11) == 0.1
    both = dataclasses.replace(settings, calibration_slope_spread=0.1)
    values = {"risk_gap": 0.01, "calibration_slope_spread": 0.2}
    assert constraint.updated(1.0, values, both) == pytest.approx(math.exp(0.5))


def trained(**changes):
    config = {
        "methods": [{"name": "v_rex", "weight": 1.0}],
        "schedule": {"kind": "step", "anneal_steps": 50},
        "steps": 800,
        "learning_rate": 0.02,
        "log_every": 10,
        "eval_every": 100,
    }
    settings = TrainSettings.from_config(CONFIG | config | changes)
    keras.utils.set_random_seed(0)
    model = make_model(FEATURES, settings.model)
    splits = [make_split(*coloured((0.1, 0.2), seed=seed)) for seed in (0, 0)]
    return fit(model, splits, settings)


@pytest.mark.parametrize("bound", [0.05, 0.02])
def test_training_ends_where_the_bound_is_kept_and_no_further(bound):
    free = trained()
    bounded = trained(constraint={"risk_gap": bound})

    def gap(history):
        risks = [risk[-1] for risk in history.eval_risk.values()]
        return max(risks) - min(risks)

    assert gap(free) > 1.5 * bound
    assert gap(bounded) == pytest.approx(bound, rel=0.2)
    assert bounded.bounds == {"risk_gap": bound}
    assert bounded.constraint["risk_gap"][-1] == pytest.approx(gap(bounded))
    assert bounded.constraint_steps[0] == 50
    assert bounded.multiplier[-1] > 2
    assert bounded.weight[-1] == pytest.approx(bounded.multiplier[-2], rel=1e-5)


def test_a_bound_that_is_kept_anyway_lets_the_weight_fall():
    history = trained(constraint={"risk_gap": 10.0, "most": 4.0})
    assert history.multiplier[-1] == pytest.approx(0.25)


def test_the_slopes_come_together():
    free = trained(constraint={"calibration_slope_spread": 50.0, "most": 1.0})
    bounded = trained(constraint={"calibration_slope_spread": 0.15})
    name = "calibration_slope_spread"
    assert free.constraint[name][-1] > 0.3
    assert bounded.constraint[name][-1] < 0.2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "constraint has no bound; expected risk_gap or"),
        ({"risk_gap": 0.0}, "risk_gap is 0.0; expected more than 0"),
        ({"risk_gap": 0.1, "most": 0.5}, "most is 0.5; expected 1 or more"),
        ({"gap": 0.1}, "unknown key 'gap'.*risk_gap"),
    ],
)
def test_what_cannot_be_a_constraint_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings.from_config(CONFIG | {"constraint": config})


def test_slopes_need_a_binary_task():
    bounds = {"calibration_slope_spread": 0.1}
    with pytest.raises(ValueError, match="needs the task 'binary'"):
        TrainSettings.from_config(CONFIG | {"task": "regression", "constraint": bounds})
