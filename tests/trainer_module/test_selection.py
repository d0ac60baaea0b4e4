"""The rules of decision 0006, on figures made by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from trainer_module import selection
from trainer_module.selection import Score, Trial


def scores(risks, slopes, variance=1e-6, gain=0.1, gain_error=0.01):
    return [
        Score(risk, slope, variance, gain, gain_error)
        for risk, slope in zip(risks, slopes, strict=True)
    ]


# The measured table of Colored MNIST: ERM predicts best, IRM's slopes are nearest.
ERM = Trial(scores((0.50, 0.28), (0.51, 0.80)), (0.9, 0.8))
WEAK = Trial(scores((0.52, 0.40), (0.79, 1.15)), (0.8, 0.7))
STRONG = Trial(scores((0.63, 0.61), (0.89, 1.00)), (0.6, 0.65))
TRIALS = [ERM, WEAK, STRONG]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("training_environments", 0),
        ("worst_training_environment", 0),
        ("leave_one_environment_out", 2),
        ("invariance", 2),
    ],
)
def test_each_rule_names_its_own(rule, expected):
    assert selection.choose(TRIALS, rule) == expected


def test_worst_and_mean_differ():
    uneven = Trial(scores((0.7, 0.1), (1, 1)))
    even = Trial(scores((0.5, 0.5), (1, 1)))
    assert selection.choose([uneven, even], "training_environments") == 0
    assert selection.choose([uneven, even], "worst_training_environment") == 1


def test_figures_of_a_trial():
    assert WEAK.mean_risk == pytest.approx(0.46)
    assert WEAK.worst_risk == 0.52
    assert WEAK.risk_gap == pytest.approx(0.12)
    assert WEAK.slope_spread == pytest.approx(math.log(1.15 / 0.79))
    both = 1e-6 / 1.15**2 + 1e-6 / 0.79**2
    assert WEAK.slope_spread_error == pytest.approx(math.sqrt(both))


def test_a_timid_model_is_no_less_invariant():
    timid = Trial(scores((0.6, 0.6), (8.9, 10.0)))
    assert timid.slope_spread == pytest.approx(STRONG.slope_spread)


def test_within_a_standard_error_the_risks_decide():
    near = Trial(scores((0.66, 0.65), (0.88, 1.00)))
    assert near.slope_spread > STRONG.slope_spread
    sure, unsure = (
        [Trial(scores((0.63, 0.61), (0.89, 1.00), variance)), near]
        for variance in (1e-6, 1e-3)
    )
    assert selection.choose(sure, "invariance") == 0
    assert selection.choose(unsure, "invariance") == 1


def test_what_is_not_clearly_better_than_a_constant_does_not_count():
    lucky = Trial(scores((0.69, 0.69), (1.0, 1.0), gain=0.016, gain_error=0.01))
    assert not lucky.counts
    assert selection.choose([lucky, WEAK], "invariance") == 1
    one = [*scores((0.3,), (1.0,)), *scores((0.69,), (1.0,), gain=0.0)]
    assert not Trial(one).counts
    assert Trial(scores((0.69, 0.69), (1.0, 1.0), gain=0.0165)).counts


@pytest.mark.parametrize("slope", [-0.5, 0.0, math.nan])
def test_a_slope_without_a_logarithm_does_not_count(slope):
    turned = Trial(scores((0.5, 0.5), (1.0, slope)))
    assert not turned.counts
    assert turned.slope_spread == math.inf
    assert selection.figure(turned, "invariance") == selection.NOT_COUNTED


def test_where_none_counts_none_is_named():
    nothing = Trial(scores((0.7, 0.7), (1, 1), gain=-0.01))
    assert selection.choose([nothing, Trial(())], "invariance") is None
    assert selection.choose([nothing, Trial(())], "training_environments") == 0
    assert selection.choose([Trial(())], "worst_training_environment") is None
    assert selection.choose([Trial(()), WEAK], "leave_one_environment_out") == 1


def test_oracles_get_finite_figures():
    for trial in (*TRIALS, Trial(())):
        for rule in selection.RULES:
            assert math.isfinite(selection.figure(trial, rule))
    assert selection.figure(ERM, "worst_training_environment") == 0.5


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="Unknown rule 'best'.*invariance"):
        selection.choose(TRIALS, "best")


def test_a_score_is_sklearns_risk_and_its_gain_over_the_share():
    random = np.random.default_rng(0)
    logits = random.normal(size=400).astype(np.float32)
    labels = (random.uniform(size=400) < 1 / (1 + np.exp(-2 * logits))).astype(float)
    weights = random.uniform(0.5, 2, size=400)
    found = selection.score(logits, labels, weights)
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    assert found.risk == pytest.approx(
        log_loss(labels, probabilities, sample_weight=weights)
    )
    share = np.full(400, np.average(labels, weights=weights))
    constant = log_loss(labels, share, sample_weight=weights)
    assert found.gain == pytest.approx(constant - found.risk)
    assert 1.5 < found.slope < 2.6
    assert found.counts


def test_the_gains_standard_error_is_that_of_other_samples():
    random = np.random.default_rng(1)
    gains, errors = [], []
    for _ in range(300):
        logits = random.normal(size=200)
        chance = 1 / (1 + np.exp(-logits))
        labels = (random.uniform(size=200) < chance).astype(float)
        found = selection.score(logits, labels)
        gains.append(found.gain)
        errors.append(found.gain_error)
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.15)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_cannot_be_beaten(label):
    found = selection.score(np.array([3.0, -3.0]), np.full(2, label))
    assert found.gain < 0
    assert not found.counts
