"""The table of methods and its checks."""

import subprocess
import sys

import numpy as np
import pytest

from trainer_module import methods, penalties


def test_the_table_and_the_registry_name_the_same_penalties():
    pure = {n for n, m in methods.METHODS.items() if m.kind in ("baseline", "penalty")}
    assert pure == set(penalties.names())
    assert all(info.summary for info in methods.METHODS.values())


def test_the_table_is_read_without_tensorflow():
    code = "import sys, trainer_module.methods, trainer_module.settings;"
    code += "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_legal_lists_pass():
    methods.check_methods(["erm"])
    methods.check_methods([{"name": "irm_v1", "weight": 0}, {"name": "v_rex"}])
    methods.check_methods([{"name": "v_rex", "weight": 1e4, "options": {}}])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "at least one of adversarial, .*v_rex, wasserstein"),
        ("erm", "expected a list"),
        (
            ["vrex"],
            "'vrex': the known ones are adversarial, .*; did you mean 'v_rex'",
        ),
        ([{"weight": 1}], "no name"),
        ([{"name": "erm", "wight": 1}], "'wight'.*name, weight and options"),
        ([{"name": "v_rex", "weight": -1}], "-1; expected a finite number >= 0"),
        ([{"name": "v_rex", "weight": float("nan")}], "nan"),
        ([{"name": "v_rex", "weight": True}], "True"),
        ([{"name": "v_rex", "weight": "1"}], "'1'"),
        ([{"name": "v_rex", "options": {"order": 2}}], "no option 'order'.*none"),
        (["v_rex", "v_rex"], "twice"),
    ],
)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        methods.check_methods(wrong)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wasserstein", {"order": 0}, "'order' of method.* is 0; expected one of 1, 2"),
        ("wasserstein", {"order": True}, "is True; expected one of 1, 2"),
        ("wasserstein", {"solver": "lp"}, "one of exact_1d, sliced, sinkhorn"),
        ("wasserstein", {"epsilon": 0}, "is 0; expected a number above 0"),
        ("wasserstein", {"projections": 0.5}, "a whole number, at least 1, or direc"),
        ("adversarial", {"epsilon": -1}, "is -1; expected a number, at least 0"),
        ("adversarial", {"epsilon": float("nan")}, "is nan"),
        ("adversarial", {"clip": [0, 1, 2]}, "a list of 2 numbers, or null"),
        ("adversarial", {"frozen": "age"}, "a list of names"),
        ("moment_matching", {"orders": []}, "a list of whole numbers, at least 1"),
        ("mmd", {"bandwidths": [1, 0]}, "a list of numbers above 0, or null"),
        ("eqrm", {"alpha": 1}, "a number above 0 and below 1"),
        ("irm_v1", {"unbiased": 1}, "true or false"),
        ("v_rex", {"order": 2}, "no option 'order': its options are none"),
    ],
)
def test_illegal_options_are_named_with_what_is_legal(name, options, message):
    with pytest.raises(ValueError, match=message):
        methods.check_options(name, options)


def test_legal_options_pass():
    for name, info in methods.METHODS.items():
        methods.check_options(name, info.defaults)
    methods.check_options("wasserstein", {"order": 2, "tolerance": 1e-6})
    methods.check_options("wasserstein", {"projections": np.ones([3, 5])})
    methods.check_options("adversarial", {"clip": [0, 1], "frozen": ["numeric_age"]})
