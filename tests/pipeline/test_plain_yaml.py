"""YAML of plain values: what it reads, and what it refuses."""

import math
import time

import pytest

from pipeline.errors import ConfigError
from pipeline.plain_yaml import MAX_NODES, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2.2, section 10.3.2: the core schema's resolution of plain scalars.
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("0", 0),
        ("-19", -19),
        ("1e-3", 0.001),
        ("-0.0", 0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("2013-01-01", "2013-01-01"),
        # Ours: no leading zeros, which are rather a code than a number; digit groups.
        ("007", "007"),
        ("10_000", 10000),
        ('"5"', "5"),
        ("!!str 5", "5"),
    ],
)
def test_scalars(text, value):
    found = parse(f"key: {text}", "x").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_nan():
    assert math.isnan(parse("key: .nan", "x").data["key"])


def test_keys_stay_as_written():
    assert parse("2013: a\nNO: b\nnull: c", "x").data == {
        "2013": "a",
        "NO": "b",
        "null": "c",
    }


def test_lines_of_keys_and_items():
    lines = parse("a:\n  b: 1\n\n  c:\n    - x\n    - {d: 1}\n", "x").lines
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "c", 1)] == 6
    assert lines[("a", "c", 1, "d")] == 6


def test_aliases_and_merge_keys_are_copies():
    data = parse("a: &a {x: 1, y: [2]}\nb: *a\nc: {<<: *a, x: 3}\n", "x").data
    assert data["b"] == {"x": 1, "y": [2]}
    assert data["c"] == {"x": 3, "y": [2]}
    data["b"]["y"].append(0)
    assert data["a"]["y"] == [2]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: !!python/object/apply:os.system [x]", 1, "would build an object"),
        ("a: !!python/name:os.system", 1, "would build an object"),
        ("a:\n - !mine {b: 1}", 2, "the tag !mine would"),
        ("a: !!binary aGk=", 1, "the tag !!binary would"),
        ("a: !!set {b}", 1, "the tag !!set would"),
        ("!!python/name:os.system : 1", 1, "would build an object"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is there twice (first in line 1)"),
        ("b: {a: 1, 'a': 2}", 1, "the key 'a' is there twice"),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: *b", 1, "the alias *b has no anchor &b"),
        ("a: &a [*a]", 1, "the alias *a has no anchor &a"),
        ("<<: 3", 1, "`<<:` takes the alias of a mapping"),
        ("? [a]\n: 1", 1, "a key is empty or not plain text"),
        ("'': 1", 1, "a key is empty or not plain text"),
        ("a:\n\t- b", 2, "a tab indents it; indent with spaces"),
        ("a: 1\nb: [1", 3, "close what was opened above it"),
        ("a: b: c", 1, "not YAML: mapping values are not allowed"),
        ("a: 1\nb: \x07", 2, "the character U+0007"),
        ("a: " + "[" * 30, 1, "nested more than 20 deep"),
    ],
)
def test_refuses(text, line, said):
    with pytest.raises(ConfigError) as error:
        parse(text, "some.yaml")
    assert str(error.value).startswith(f"some.yaml, line {line}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("opening", ["[", "{a: ", "[{a: "])
def test_deep_nesting_is_refused_at_once(opening):
    with pytest.raises(ConfigError, match="nested more than 20 deep"):
        parse(opening * 200_000, "x")


def test_bomb_of_aliases():
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 30):
        bomb.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    began = time.process_time()
    with pytest.raises(ConfigError, match=f"more than {MAX_NODES:,} values"):
        parse("\n".join(bomb), "x")
    assert time.process_time() - began < 2


def test_chain_of_aliases_does_not_exhaust_the_stack():
    chain = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 5000)]
    with pytest.raises(ConfigError, match="line 20: nested more than 20 deep"):
        parse("\n".join(chain), "x")
