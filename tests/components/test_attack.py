"""What an attack is called, and what is no attack."""

import json

import pytest

from components.attack import KEYS, parse, problems


@pytest.mark.parametrize(
    ("leaf", "name"),
    [
        ({"epsilon": 0.1}, "fgsm-linf-0.1"),
        ({"epsilon": 1}, "fgsm-linf-1"),
        ({"epsilon": 0.1000001}, "fgsm-linf-0.1000001"),
        ({"epsilon": 0.1, "attack": "pgd"}, "pgd-linf-0.1-10"),
        (
            {"epsilon": 0.5, "attack": "pgd", "norm": "l2", "steps": 20},
            "pgd-l2-0.5-20",
        ),
        ({"epsilon": 0.1, "attack": "pgd", "step_size": 0.05}, "pgd-linf-0.1-10x0.05"),
        ({"epsilon": 0.1, "clip": [0, 1.5]}, "fgsm-linf-0.1-0to1.5"),
        (
            {"epsilon": 0.1, "frozen": ["numeric_b", "numeric_a"]},
            "fgsm-linf-0.1-frozen numeric_a,numeric_b",
        ),
    ],
)
def test_the_name_says_all(leaf, name):
    attack = parse(leaf)
    assert not list(problems(leaf))
    assert attack.name == name
    assert attack.model == f"candidate under {name}"
    again = parse(json.loads(json.dumps(attack.to_dict())))
    assert again == attack


def test_defaults_that_are_written_change_nothing():
    short = {"epsilon": 0.1, "attack": "pgd"}
    long = {"norm": "linf", "steps": 10, "step_size": 0.025, "clip": None, "frozen": []}
    assert parse(short) == parse(short | long)
    assert parse(short).length == pytest.approx(2.5 * 0.1 / 10)
    assert parse({"epsilon": 0.3}).length == 0.3


@pytest.mark.parametrize(
    ("leaf", "key", "words"),
    [
        ({}, "epsilon", "is missing; say how far features may move"),
        ({"epsilon": 0}, "epsilon", "is 0; it must be a number above 0"),
        ({"epsilon": -0.1}, "epsilon", "is -0.1"),
        ({"epsilon": True}, "epsilon", "is True"),
        ({"epsilon": "0.1"}, "epsilon", "is '0.1'"),
        ({"epsilon": float("inf")}, "epsilon", "is inf"),
        ({"epsilon": 0.1, "attack": "fsgm"}, "attack", "must be fgsm or pgd"),
        ({"epsilon": 0.1, "attack": []}, "attack", None),
        ({"epsilon": 0.1, "attack": ["pgd"]}, "attack", "must be fgsm or pgd"),
        ({"epsilon": 0.1, "norm": "l1"}, "norm", "must be linf or l2"),
        ({"epsilon": 0.1, "steps": 5}, "steps", "is of pgd, but the attack is fgsm"),
        ({"epsilon": 0.1, "step_size": 5}, "step_size", "write attack: pgd"),
        ({"epsilon": 0.1, "attack": "pgd", "steps": 0}, "steps", "from 1 on"),
        ({"epsilon": 0.1, "attack": "pgd", "steps": 2.0}, "steps", "whole number"),
        ({"epsilon": 0.1, "attack": "pgd", "steps": True}, "steps", "whole number"),
        ({"epsilon": 0.1, "attack": "pgd", "step_size": 0}, "step_size", "above 0"),
        ({"epsilon": 0.1, "clip": [1, 0]}, "clip", "lowest and the highest"),
        ({"epsilon": 0.1, "clip": 3}, "clip", "lowest and the highest"),
        ({"epsilon": 0.1, "clip": [0, None]}, "clip", "lowest and the highest"),
        ({"epsilon": 0.1, "frozen": "numeric_a"}, "frozen", "must be a list"),
        ({"epsilon": 0.1, "frozen": ["a", "a"]}, "frozen", "must be a list"),
    ],
)
def test_what_is_no_attack_is_told(leaf, key, words):
    found = list(problems(leaf))
    assert key in KEYS
    if words is None:  # nothing given is the default
        assert not found
    else:
        assert [k for k, _ in found] == [key]
        assert words in found[0][1]
