"""The table of methods and its checks."""

import subprocess
import sys

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
        ([], "at least one of erm, irm_v1, v_rex"),
        ("erm", "expected a list"),
        (
            ["vrex"],
            "'vrex': the known ones are erm, irm_v1, v_rex; did you mean 'v_rex'",
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
