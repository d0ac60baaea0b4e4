"""The check `robustness`: the slices of an attacked model, judged as `worst` does.

t(0.95, 19) = 1.729; FAIL of one slice takes the same limit from the other side.
"""

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from components.attack import parse
from components.evaluator.results import Estimate
from components.group_size_validator import shortfalls
from components.invariance_validator import checks as lib
from components.invariance_validator import report
from components.invariance_validator.decision import decide
from components.invariance_validator.kinds import attacks_of
from components.invariance_validator.record import decision_record, to_json

PASS, FAIL, LACK = "PASS", "FAIL", "INSUFFICIENT_DATA"
FGSM = {"epsilon": 0.1}
LEAF = {"max": 0.8, "over": "environment", **FGSM}
CHECKS = {"robustness": {"log_loss": LEAF}}
MODEL = parse(FGSM).model


def pair(make, name, split, clean, attacked, model=MODEL, **more):
    """A slice as it is, and attacked."""
    return [
        make.result(name, split, log_loss=clean, **more),
        make.result(name, split, log_loss=attacked, model=model, **more),
    ]


def both(make, *attacked, **more):
    """EWR and LGA, fine without attack, with these log losses under it."""
    places = [("environment=EWR", "eval"), ("environment=LGA", "ood")]
    return [
        result
        for (name, split), value in zip(places, attacked, strict=True)
        for result in pair(make, name, split, 0.4, value, **more)
    ]


def counts(make):
    return make.counts(EWR=1000, LGA=("ood", 1000))


def only(decision):
    (check,) = decision.checks
    return check


@pytest.mark.parametrize(
    ("value", "verdict"),
    # PASS up to 0.8 - 1.729 * 0.01; FAIL above 0.8 + t at 1 - 0.05 / 2 = 2.093 * 0.01.
    [(0.7827, PASS), (0.7828, LACK), (0.8209, LACK), (0.8210, FAIL)],
)
def test_the_attacked_slices_decide(make, value, verdict):
    found = only(decide(both(make, 0.5, value), counts(make), CHECKS))
    assert found.verdict == verdict
    assert found.name == "robustness.log_loss.fgsm-linf-0.1"
    assert (found.split, found.slice) == ("ood", "environment=LGA")
    assert found.value == value


def test_the_sentence_names_the_attack(make):
    found = only(decide(both(make, 0.5, 0.6), counts(make), CHECKS))
    assert found.reason == (
        "log_loss of environment=LGA (ood, 1,000 examples) under fgsm-linf-0.1 is"
        " 0.600, at most 0.617 with 95 % confidence; the bound is 0.8."
    )


def test_clean_results_do_not_stand_in(make):
    results = [r for r in both(make, 0.5, 0.5) if r.model == "candidate"]
    found = only(decide(results, counts(make), CHECKS))
    assert found.verdict == FAIL
    assert found.reason.startswith(
        "environment=EWR (eval) under fgsm-linf-0.1 has 1,000 examples in the data but"
        " was not evaluated"
    )


def test_nor_does_another_attack(make):
    other = parse({"epsilon": 0.01}).model
    found = only(decide(both(make, 0.5, 0.5, model=other), counts(make), CHECKS))
    assert found.verdict == FAIL


def test_one_slice_without_attacked_results_fails(make):
    results = both(make, 0.5, 0.5)[:-1]
    found = only(decide(results, counts(make), CHECKS))
    assert (found.verdict, found.slice) == (FAIL, "environment=LGA")
    # The counts need not tell of it: it was evaluated without attack.
    carriers = {"robustness": {"log_loss": LEAF | {"over": "carrier"}}}
    results = pair(make, "carrier=UA", "eval", 0.4, 0.5)
    results += pair(make, "carrier=B6", "eval", 0.4, 0.5)[:1]
    found = only(decide(results, {}, carriers))
    assert (found.verdict, found.slice) == (FAIL, "carrier=B6")
    assert "was not evaluated" in found.reason


def test_a_slice_attacked_in_part_fails(make):
    results = pair(make, "carrier=UA", "eval", 0.4, 0.5)
    results[1] = make.result("carrier=UA", model=MODEL, examples=900, log_loss=0.5)
    carriers = {"robustness": {"log_loss": LEAF | {"over": "carrier"}}}
    found = only(decide(results, {}, carriers))
    assert found.verdict == FAIL
    assert "has 1,000 examples in the data, but 900 were evaluated" in found.reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_an_undefined_or_impossible_value_fails(make, value):
    lost = Estimate(value, np.full(20, value))
    found = only(decide(both(make, 0.5, lost), counts(make), CHECKS))
    assert (found.verdict, found.slice) == (FAIL, "environment=LGA")
    assert "under fgsm-linf-0.1 has an" in found.reason


def test_a_replicate_that_is_not_a_number_never_passes(make):
    estimate = make.estimate(0.5)
    estimate.replicates[3] = math.nan
    found = only(decide(both(make, 0.5, estimate), counts(make), CHECKS))
    assert found.verdict == LACK


def test_invalid_predictions_fail(make):
    import dataclasses

    results = both(make, 0.5, 0.5)
    results[-1] = dataclasses.replace(results[-1], invalid_predictions=1)
    found = only(decide(results, counts(make), CHECKS))
    assert found.verdict == FAIL
    assert "1 prediction that" in found.reason


def test_the_other_checks_see_the_model_as_it_is(make):
    checks = {"worst": {"log_loss": {"max": 0.45, "over": "environment"}}, **CHECKS}
    decision = decide(both(make, 0.7, 0.9), counts(make), checks)
    assert [check.verdict for check in decision.checks] == [PASS, FAIL]
    assert not decision.blessed


def test_several_attacks_are_judged_apart(make):
    pgd = {"epsilon": 0.2, "attack": "pgd"}
    leaves = [LEAF, {**LEAF, **pgd}]
    results = both(make, 0.5, 0.5)
    results += [
        r
        for r in both(make, 0.5, 0.9, model=parse(pgd).model)
        if r.model != "candidate"
    ]
    checks = {"robustness": {"log_loss": leaves}}
    decision = decide(results, counts(make), checks)
    found = {check.name: check.verdict for check in decision.checks}
    assert found == {
        "robustness.log_loss.fgsm-linf-0.1": PASS,
        "robustness.log_loss.pgd-linf-0.2-10": FAIL,
    }
    assert [attack.name for attack in attacks_of(checks)] == [
        "fgsm-linf-0.1",
        "pgd-linf-0.2-10",
    ]


def test_an_attack_is_run_once_for_all_metrics():
    leaf = {"min": 0.6, "over": "carrier", "norm": "linf", **FGSM}
    checks = {"robustness": {"log_loss": LEAF, "auc": leaf}, "worst": {"auc": {}}}
    assert [attack.name for attack in attacks_of(checks)] == ["fgsm-linf-0.1"]


def test_it_may_end_without_enough_data_where_the_config_says_so(make):
    results = both(make, 0.5, 0.79)
    name = "robustness.log_loss.fgsm-linf-0.1"
    decision = decide(results, counts(make), CHECKS, {"allow_insufficient": [name]})
    assert (only(decision).verdict, decision.blessed) == (LACK, True)
    assert not decide(results, counts(make), CHECKS).blessed


def test_the_record_and_the_report_have_both_values(make):
    results = both(make, 0.5, 0.9)
    decision = decide(results, counts(make), CHECKS)
    kept = decision_record(decision, results, counts(make), {})
    to_json(kept)
    assert kept["metrics"]["ood"]["environment=LGA"] == {"log_loss": 0.4}
    assert kept["attacked"] == {
        "fgsm-linf-0.1": {
            "eval": {"environment=EWR": {"log_loss": 0.5}},
            "ood": {"environment=LGA": {"log_loss": 0.9}},
        }
    }
    page = report.render(report.Material(decision, results, counts(make)))
    ElementTree.fromstring(page.partition("<!doctype html>")[2] or page)
    assert "robustness.log_loss.fgsm-linf-0.1" in page
    assert "under fgsm-linf-0.1, by environment" in page
    assert "clean 0.400 0.900" in page


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        ({"max": 0.8}, "checks.robustness.log_loss.epsilon is missing"),
        ({"max": 0.8, "epsilon": 0}, "epsilon is 0; it must be a number above 0"),
        ({"max": 0.8, **FGSM, "attack": "cw"}, "attack is 'cw'; it must be fgsm or"),
        ({"max": 0.8, **FGSM, "steps": 3}, "steps is of pgd, but the attack is fgsm"),
        ({"max": 0.8, **FGSM, "epsilonn": 3}, "did you mean 'epsilon'"),
        (FGSM, "checks.robustness.log_loss has no bound; give min or max"),
        ({"max": -1, **FGSM}, "outside the range of log_loss"),
        ([], "checks.robustness.log_loss is empty; give an attack and its bound"),
        ([LEAF, {**LEAF, "max": 2}], "names attack fgsm-linf-0.1 twice"),
        (5, "checks.robustness.log_loss is 5; it must be a map"),
    ],
)
def test_what_no_data_could_meet_is_refused(leaf, words):
    checks = {"robustness": {"log_loss": leaf}}
    with pytest.raises(ValueError) as error:
        lib.parse_checks(checks)
    assert words in str(error.value)
    assert any(words in found for found in lib.check_satisfiable(checks, ["EWR"]))


def test_it_is_tried_against_the_slices():
    checks = {"robustness": {"log_loss": LEAF | {"over": "carier"}}}
    (found,) = lib.check_satisfiable(checks, ["EWR"], slices=["carrier"])
    assert "checks.robustness.log_loss.over names 'carier'" in found
    assert not lib.check_satisfiable(CHECKS, ["EWR"])


def test_groups_too_small_for_it_are_told_before_training(make):
    few = make.counts(EWR=1000, LGA=("ood", 150))
    (found,) = shortfalls.find(CHECKS, {}, few)
    assert (found.check, found.slice) == (
        "robustness.log_loss.fgsm-linf-0.1",
        "environment=LGA",
    )
    accuracy = {"min": 0.99, "over": "environment", **FGSM}
    found = shortfalls.find(
        {"robustness": {"accuracy": accuracy}}, {"min_examples": 100}, few
    )
    # 0.99 takes ln 0.05 / ln 0.99 = 298.07, so 299 examples.
    (reason,) = (one.reason for one in found)
    assert "takes 299" in reason
