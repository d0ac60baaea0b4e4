"""The config's section `inspect`, and what the terminal shows."""

import pytest

from pipeline import inspection
from pipeline.config_io import load_config
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("leak=warn", {"leak": {"level": "warn"}}),
        ("leak={max: 0.97}", {"leak": {"bound": 0.97}}),
        ("leak={level: note, max: 0.97}", {"leak": {"level": "note", "bound": 0.97}}),
        ("number_drift=off", {"number_drift": {"level": "off"}}),
        (
            "duplicate_keys={key: [patient, visit]}",
            {"key": ["patient", "visit"], "duplicate_keys": {}},
        ),
    ],
)
def test_a_check_takes_a_level_a_bound_or_both(project, given, expected):
    config = load_config(project.config, sets=[f"inspect.{given}"])
    assert config.inspect.as_json() == expected


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("leak=0.9", "inspect.leak is 0.9; write {max: 0.9}"),
        ("schema_anomalies=3", "inspect.schema_anomalies is 3; write a level"),
        ("leak=loud", "inspect.leak is 'loud'; legal are error, warn, note, off"),
        ("leek=warn", "inspect.leek is an unknown key; did you mean 'leak'?"),
        ("leak.max=0.3", "inspect.leak.max is 0.3; it must be at least 0.5"),
        ("leak.max=1.5", "inspect.leak.max is 1.5; it must be at most 1"),
    ],
)
def test_a_wrong_one_gets_a_sentence(project, given, sentence):
    with pytest.raises(ConfigError) as refused:
        load_config(project.config, sets=[f"inspect.{given}"])
    assert sentence in str(refused.value)


def feature(name, apart, kind="number"):
    return {
        "name": name,
        "kind": kind,
        "distances": [[0, apart], [apart, 0]],
        "auc": [[0.61, 0.52], [None, 0.7]],
        "tells": [0.5, 0.8],
        "missing": [0.0, 0.25],
    }


def test_the_table_has_the_farthest_feature_first():
    kept = {"features": [feature("near", 0.1), feature("far", 0.5, "category")]}
    first, far, near = inspection.table(kept)
    assert first.split()[:2] == ["feature", "distance"]
    assert far.split() == [
        "far",
        "0.50",
        "JS",
        "0–25",
        "%",
        "0.61–0.70",
        "0.52",
        "0.80",
    ]
    assert near.split()[1:3] == ["0.10", "sd"]


def test_many_features_are_cut():
    kept = {"features": [feature(f"f{i}", i / 100) for i in range(45)]}
    assert inspection.table(kept)[-1] == "  and 5 more on the page"


def test_findings_are_told_down_to_a_level():
    findings = [
        {"level": level, "check": "leak", "sentence": "a\nb " + "x" * 2000}
        for level in ("error", "warn", "note")
    ]
    lines = inspection.told(findings, "warn")
    assert [line.split()[0] for line in lines if "leak" in line] == ["ERROR", "warn"]
    assert all(line.isprintable() and len(line) < 600 for line in lines)
    assert inspection.told([]) == ["  nothing found"]
