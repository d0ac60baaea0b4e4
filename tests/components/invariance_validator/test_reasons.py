import numpy as np
import pytest

from components.invariance_validator.decision import decide
from components.invariance_validator.reasons import digits


def reason(results, checks, **verdict):
    (check,) = decide(results, {}, checks, verdict).checks
    return check.reason


def test_a_pass(make):
    # 0.688 - 1.729 * 0.0098 = 0.6711
    lga = make.result("environment=LGA", "ood", 20731, auc=(0.688, 0.0098))
    leaf = {"min": 0.65, "split": "ood", "over": "environment"}
    assert reason([lga], {"worst": {"auc": leaf}}) == (
        "auc of environment=LGA (ood, 20,731 examples) is 0.688, at least 0.671 with"
        " 95 % confidence; the bound is 0.65."
    )


def test_a_fail_says_for_how_many_slices(make):
    # Two slices: t(0.975, 19) = 2.093; 0.6 + 2.093 * 0.01 = 0.6209
    results = [
        make.result("environment=EWR", examples=500, auc=0.6),
        make.result("environment=JFK", examples=500, auc=0.9),
    ]
    leaf = {"min": 0.65, "over": "environment"}
    assert reason(results, {"worst": {"auc": leaf}}) == (
        "auc of environment=EWR (eval, 500 examples) is 0.600, at most 0.621 with"
        " 95 % confidence for all 2 slices together; the bound is 0.65."
    )


def test_too_little_data_says_how_much_would_do(make):
    # 0.66 is 0.01 above the bound; 1.729 * 0.02 = 0.0346 must shrink to that, which
    # takes (3.458)^2 = 12 times as many examples: 12,000.
    result = make.result(examples=1000, mean_prediction=(0.66, 0.02))
    leaf = {"min": 0.65, "over": "overall"}
    assert reason([result], {"worst": {"mean_prediction": leaf}}) == (
        "mean_prediction of overall (eval, 1,000 examples) is 0.660, which is neither"
        " shown to meet the bound of 0.65 (at least 0.625) nor to miss it (at most"
        " 0.695) with 95 % confidence; about 12,000 examples would settle it."
    )


def unsettled(make, value, error=0.02, **bounds):
    """Sentence and numbers of the one slice."""
    result = make.result(examples=1000, mean_prediction=(value, error))
    leaf = {**(bounds or {"min": 0.65}), "over": "overall"}
    (check,) = decide([result], {}, {"worst": {"mean_prediction": leaf}}).checks
    (one,) = check.unsettled
    assert (one["split"], one["slice"], one["examples"]) == ("eval", "overall", 1000)
    return check.reason, one["needed"], one["would_be"]


def test_on_the_bound_no_number_settles_it(make):
    words, needed, would_be = unsettled(make, 0.65)
    assert "no number of examples settles it, for the value sits on the bound" in words
    assert (needed, would_be) == (None, None)


@pytest.mark.parametrize("value", [0.6500001, 0.6499999])
def test_at_the_bound_no_number_is_promised(make, value):
    words, needed, would_be = unsettled(make, value)
    assert "more than 1,000 times as many examples" in words
    assert (needed, would_be) == (None, None)


@pytest.mark.parametrize(
    ("value", "bounds", "would_be"),
    [
        (0.66, {"min": 0.65}, "PASS"),
        (0.64, {"max": 0.65}, "PASS"),
        (0.64, {"min": 0.65}, "FAIL"),
        (0.66, {"max": 0.65}, "FAIL"),
        (0.64, {"min": 0.6, "max": 0.65}, "PASS"),
    ],
)
def test_what_would_settle_it_is_a_number(make, value, bounds, would_be):
    # (1.729 * 0.02 / 0.01)^2 = 11.96 times 1,000 examples.
    words, needed, found = unsettled(make, value, **bounds)
    assert (needed, found) == (12_000, would_be)
    wrong = "no number of examples makes it pass where it stands, on the wrong side"
    assert (wrong in words) == (would_be == "FAIL")
    assert "about 12,000 examples" in words
    # With so many the error is 0.02 / sqrt(12), and the verdict is as announced.
    leaf = {**bounds, "over": "overall"}
    better = make.result(examples=12_000, mean_prediction=(value, 0.02 / 12**0.5))
    checks = {"worst": {"mean_prediction": leaf}}
    assert decide([better], {}, checks).verdict == would_be


def test_what_is_too_small_says_how_many_would_let_it_be_judged(make):
    leaf = {"worst": {"log_loss": {"max": 0.6, "over": "overall"}}}
    for changes, needed in (({"examples": 150}, 200), ({"positives": 10}, 2_000)):
        (check,) = decide([make.result(log_loss=0.1, **changes)], {}, leaf).checks
        (one,) = check.unsettled
        assert (one["needed"], one["would_be"]) == (needed, None)


def test_a_gap_needs_examples_of_both(make):
    # Value 0.02, bound 0.03, limit 1.729 * 0.02: 11.96 times 2,000.
    results = [
        make.result("environment=EWR", mean_prediction=0.70),
        make.result(
            "environment=LGA",
            "ood",
            mean_prediction=make.estimate(0.68, 0.01, -make.signs),
        ),
    ]
    checks = {"gap": {"mean_prediction": {"max": 0.03, "over": "environment"}}}
    (check,) = decide(results, {}, checks).checks
    assert check.unsettled[0]["needed"] == 24_000
    assert "about 24,000 examples in both together would settle it" in check.reason


def test_few_examples_and_few_of_a_class(make):
    leaf = {"worst": {"log_loss": {"max": 0.65, "over": "overall"}}}
    assert reason([make.result(examples=150, log_loss=0.1)], leaf) == (
        "overall (eval) has only 150 of the 200 examples needed; 50 more would do."
    )
    # 10 of 1,000 are positive, so 20 take 2,000.
    assert reason([make.result(positives=10, log_loss=0.1)], leaf) == (
        "overall (eval) has only 10 of the 20 positive examples needed; about 2,000"
        " examples in all would do."
    )


def test_a_gap(make):
    results = [
        make.result("environment=EWR", examples=24000, auc=0.70),
        make.result("environment=LGA", "ood", 20731, auc=0.68),
    ]
    assert reason(results, {"gap": {"auc": {"max": 0.05, "over": "environment"}}}) == (
        "auc of environment=EWR (eval, 24,000 examples) and environment=LGA (ood,"
        " 20,731 examples) differs by 0.020, at most 0.020 with 95 % confidence; the"
        " bound is 0.05."
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # The errors 0.001 move against each other: 1.729 * 0.002 = 0.0035 to the limit.
        (-0.004, "is 0.004 below the released model's, at most 0.007 below"),
        (0.001, "is 0.001 above the released model's, at most 0.002 below"),
        (0.02, "is 0.020 above the released model's, at least 0.017 above"),
        (0.0, "equals the released model's, at most 0.003 below"),
    ],
)
def test_a_change(make, change, words):
    base = make.estimate(0.75, 0.001, -make.signs)
    results = [
        make.result(auc=make.estimate(0.75 + change, 0.001)),
        make.result(auc=base, model="baseline"),
    ]
    checks = {"baseline": {"auc": {"max_drop": 0.01, "over": "overall"}}}
    found = reason(results, checks)
    assert words in found
    assert found.endswith("with 95 % confidence; a drop of 0.01 is allowed.")


def test_a_change_that_is_not_settled(make):
    base = make.estimate(0.75, 0.01, -make.signs)
    results = [
        make.result(auc=make.estimate(0.75, 0.01)),
        make.result(auc=base, model="baseline"),
    ]
    checks = {"baseline": {"auc": {"max_drop": 0.01, "over": "overall"}}}
    assert (
        "neither shown to stay within the allowed drop of 0.01 (at most 0.035 below)"
        " nor to exceed it (at most 0.035 above)" in reason(results, checks)
    )


def test_values_are_told_from_the_bound():
    assert digits([0.6881, 0.64996], 0.65) == ["0.68810", "0.64996"]
    assert digits([0.65, 0.7], 0.65) == ["0.650", "0.700"]
    assert digits([-1e-9, np.inf], 0.65) == ["0.000", "inf"]
