import subprocess
import sys

import pytest

from components.invariance_validator import checks as lib

FULL = {
    "worst": {"auc": {"min": 0.65}, "log_loss": {"max": 0.6, "split": "ood"}},
    "gap": {"auc": {"max": 0.05, "over": "environment"}},
    "calibration_slope": {"min": 0.8, "max": 1.25, "over": ["environment", ["a", "b"]]},
    "baseline": {"auc": {"max_drop": 0.01}, "log_loss": {"max_rise": 0.01}},
    "floor": {
        "auc": [
            {"slice": {"environment": "LGA"}, "min": 0.6},
            {"slice": {"b": 3, "a": "x"}, "min": 0.5, "split": "eval"},
        ],
        "log_loss": {"slice": {}, "max": 0.7},
    },
    "calibration_error": {"max": 0.05},
    "score_distance": {"max": 0.1, "over": "environment"},
    "risk_variance": {"max": 0.001, "over": ["environment"]},
    "ood_drop": {"auc": {"max": 0.0}},
}


def test_every_leaf_becomes_a_check_with_the_path_as_name():
    found = {check.name: check for check in lib.parse_checks(FULL)}
    assert list(found) == [
        "worst.auc",
        "worst.log_loss",
        "gap.auc",
        "calibration_slope",
        "baseline.auc",
        "baseline.log_loss",
        "floor.auc.environment=LGA",
        "floor.auc.b=3,a=x",
        "floor.log_loss.overall",
        "calibration_error",
        "score_distance",
        "risk_variance",
        "ood_drop.auc",
    ]
    assert found["floor.auc.b=3,a=x"].slice == (("b", "3"), ("a", "x"))
    assert found["floor.auc.b=3,a=x"].splits == ("eval",)
    assert found["ood_drop.auc"].maximum == 0.0
    assert found["worst.auc"].splits == ("eval", "ood")
    assert found["worst.auc"].over is None
    assert found["worst.log_loss"].splits == ("ood",)
    assert found["calibration_slope"].over == (("environment",), ("a", "b"))
    assert (found["baseline.auc"].minimum, found["baseline.auc"].maximum) == (
        -0.01,
        None,
    )
    assert found["baseline.log_loss"].maximum == 0.01


def test_a_legal_config_is_satisfiable():
    assert not lib.check_satisfiable(
        FULL, ["EWR", "JFK", "LGA"], ["LGA"], [["b", "a"]], ["gap.auc"]
    )


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ({}, "at least one check"),
        (None, "at least one check"),
        ({"wurst": {}}, "did you mean 'worst'"),
        ({"worst": 3}, "checks.worst is 3"),
        ({"worst": {"acu": {"min": 0.6}}}, "'acu' is unknown; did you mean 'auc'?"),
        ({"worst": {"acu": {"min": 0.6}}}, "calibration_intercept"),
        ({"worst": {"auc": 0.6}}, "must be a map"),
        ({"worst": {"auc": {}}}, "has no bound; give min or max"),
        ({"worst": {"auc": {"mim": 0.6}}}, "did you mean 'min'"),
        ({"worst": {"auc": {"min": "0.6"}}}, "finite number"),
        ({"worst": {"auc": {"min": True}}}, "finite number"),
        ({"worst": {"auc": {"min": float("nan")}}}, "finite number"),
        ({"worst": {"auc": {"min": 65}}}, "outside the range of auc"),
        ({"worst": {"auc": {"min": 1.0}}}, "no sample can show"),
        ({"worst": {"log_loss": {"max": 0}}}, "no sample can show"),
        ({"calibration_slope": {"min": 1.3, "max": 0.8}}, "min 1.3 is above max 0.8"),
        ({"calibration_slope": 3}, "must map bounds"),
        ({"calibration_slope": {}}, "must map bounds"),
        ({"gap": {"auc": {"max": 0}}}, "must be above 0 and below 1"),
        ({"gap": {"auc": {"max": 0.1, "over": "overall"}}}, "no two slices"),
        ({"baseline": {"auc": {"max_drop": -0.1}}}, "must be at least 0"),
        ({"baseline": {"auc": {"max_rise": 0.1}}}, "write max_drop"),
        ({"worst": {"irm_penalty": {"max": 0.1}}}, "bound irm_gradient"),
        ({"worst": {"calibration_error": {"max": 0.1}}}, "a check of its own"),
        ({"gap": {"score_distance": {"max": 0.1}}}, "a check of its own"),
        ({"floor": {"auc": []}}, "checks.floor.auc is empty"),
        ({"floor": {"auc": {"min": 0.6}}}, "slice is None; it must map features"),
        ({"floor": {"auc": {"min": 0.6, "slice": {"a": [1]}}}}, "must map features"),
        ({"floor": {"auc": {"min": 0.6, "slice": {"a": ""}}}}, "must map features"),
        ({"floor": {"auc": {"slice": {}}}}, "has no bound; give min or max"),
        ({"floor": {"auc": {"slice": {}, "min": 0.6, "over": "a"}}}, "over is unknown"),
        (
            {
                "floor": {
                    "auc": [{"slice": {"a": 1, "b": 2}, "min": 0.6}]
                    + [{"slice": {"b": "2", "a": "1"}, "max": 0.9}]
                }
            },
            "twice",
        ),
        ({"calibration_error": {"max": 0}}, "must be above 0 and below 1"),
        (
            {"calibration_error": {"min": 0.1}},
            "checks.calibration_error.min is unknown",
        ),
        ({"score_distance": {"max": 1.0}}, "must be above 0 and below 1"),
        ({"score_distance": {"max": 0.1, "over": "overall"}}, "no two slices"),
        ({"risk_variance": {"max": -1}}, "must be above 0."),
        ({"risk_variance": 0.1}, "must map bounds"),
        ({"ood_drop": {"auc": {"max": -0.1}}}, "must be at least 0 and below 1"),
        ({"ood_drop": {"auc": {"max": 0.1, "split": "ood"}}}, "split is unknown"),
        ({"ood_drop": {"calibration": {"max": 0.1}}}, "has no better end"),
        ({"worst": {"auc": {"min": 0.6, "split": "train"}}}, "must be eval or ood"),
        ({"worst": {"auc": {"min": 0.6, "split": 5}}}, "must be eval or ood"),
        ({"worst": {"auc": {"min": 0.6, "split": []}}}, "must be eval or ood"),
        ({"worst": {"auc": {"min": 0.6, "over": 5}}}, "over is 5"),
        ({"worst": {"auc": {"min": 0.6, "over": []}}}, "over is []"),
    ],
)
def test_what_no_data_could_meet_is_refused(checks, words):
    with pytest.raises(ValueError) as error:
        lib.parse_checks(checks)
    assert words in str(error.value)
    sentences = lib.check_satisfiable(checks, ["EWR", "JFK"])
    assert any(words in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("leaf", "environments", "held_out", "words"),
    [
        ({"max": 0.1}, ["EWR"], [], "only EWR; a gap needs two"),
        ({"max": 0.1, "split": "ood"}, ["EWR", "JFK", "LGA"], ["LGA"], "only LGA"),
        ({"max": 0.1, "split": "ood"}, ["EWR", "JFK"], [], "no held-out environment"),
        ({"max": 0.1, "over": "carier"}, ["EWR", "JFK"], [], "did you mean 'carrier'"),
        (
            {"max": 0.1, "over": [["carrier", "hour"]]},
            ["EWR", "JFK"],
            [],
            "'carrier x h",
        ),
    ],
)
def test_checks_are_tried_against_environments_and_slices(
    leaf, environments, held_out, words
):
    found = lib.check_satisfiable(
        {"gap": {"auc": leaf}}, environments, held_out, ["carrier"]
    )
    assert any(words in sentence for sentence in found)


def test_a_gap_may_compare_one_training_with_one_held_out_environment():
    assert not lib.check_satisfiable({"gap": {"auc": {"max": 0.1}}}, ["EWR"], ["LGA"])


@pytest.mark.parametrize(
    ("checks", "environments", "held_out", "words"),
    [
        (
            {"floor": {"auc": {"slice": {"carier": "UA"}, "min": 0.6}}},
            ["EWR"],
            [],
            "checks.floor.auc.slice names 'carier', by which nothing is sliced; did you"
            " mean 'carrier'?",
        ),
        (
            {"floor": {"auc": {"slice": {"hour": 5, "carrier": "UA"}, "min": 0.6}}},
            ["EWR"],
            [],
            "names 'hour x carrier'",
        ),
        (
            {"floor": {"auc": {"slice": {"environment": "LGB"}, "min": 0.6}}},
            ["EWR", "LGA"],
            ["LGA"],
            "names environment 'LGB', which split eval and ood has not; did you mean",
        ),
        (
            {
                "floor": {
                    "auc": {
                        "slice": {"environment": "LGA"},
                        "min": 0.6,
                        "split": "eval",
                    }
                }
            },
            ["EWR", "LGA"],
            ["LGA"],
            "which split eval has not",
        ),
        (
            {"ood_drop": {"auc": {"max": 0.1}}},
            ["EWR", "JFK"],
            [],
            "there is no held-out environment",
        ),
        (
            {"risk_variance": {"max": 0.1}},
            ["EWR"],
            [],
            "there is only EWR; a risk variance needs two",
        ),
        (
            {"score_distance": {"max": 0.1, "over": "hour"}},
            ["EWR", "JFK"],
            [],
            "checks.score_distance.over names 'hour'",
        ),
    ],
)
def test_new_kinds_are_tried_against_environments_and_slices(
    checks, environments, held_out, words
):
    (found,) = lib.check_satisfiable(checks, environments, held_out, ["carrier"])
    assert words in found


def test_a_floor_of_a_number_names_one_of_its_buckets():
    def found(value):
        floor = {"floor": {"auc": {"slice": {"age": value}, "min": 0.6}}}
        names = {"age": ("below 18", "18 to 65", "65 and above")}
        return lib.check_satisfiable(floor, ["E"], slices=["age"], values=names)

    assert not found("18 to 65")
    (sentence,) = found(30)
    assert "slice names age '30', which is none of its buckets" in sentence


def test_environments_of_which_only_the_number_is_known_are_not_missed():
    floor = {"floor": {"auc": {"slice": {"environment": "LGA"}, "min": 0.6}}}
    assert not lib.check_satisfiable(floor, ["?", "??"], named=False)
    assert lib.check_satisfiable(floor, ["?", "??"])


def test_an_allowance_for_no_check_is_named():
    (found,) = lib.check_satisfiable(
        FULL, ["E", "J"], ["LGA"], [["a", "b"]], ["worst.acu"]
    )
    assert "did you mean 'worst.auc'" in found


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ({"confidence": 1.0}, "below 1"),
        ({"confidence": 95}, "below 1"),
        ({"confidence": 0.05}, "from 0.5"),
        ({"min_examples": 0}, "whole number"),
        ({"min_examples": 1.5}, "whole number"),
        ({"allow_insufficient": "worst.auc"}, "list"),
        ({"confidense": 0.9}, "did you mean 'confidence'"),
    ],
)
def test_an_illegal_rule_is_refused(verdict, words):
    with pytest.raises(ValueError, match=words):
        lib.parse_rule(verdict)


def test_validation_needs_neither_tfx_nor_numpy():
    code = (
        "import sys; from components.invariance_validator.checks import *;"
        "check_satisfiable({'worst': {'auc': {'min': .6}}}, ['a']);"
        "print(sorted({'tfx', 'tensorflow', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
