"""What is kept between looks."""

import json

import pytest

from components.errors import DataError
from components.monitor import state


def fresh(**changes):
    values = {"version": 7, "digest": "d" * 32, "settings": "s" * 32}
    return state.State(**{**values, **changes})


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "monitor" / "7-s")


def test_nothing_kept_is_a_fresh_start(folder):
    assert state.load(folder, fresh()) == fresh()


def test_what_is_kept_comes_back(folder):
    known = fresh(looks=2, files={"f": {"path": "a", "look": 2}}, units=["00ff"])
    path = state.save(folder, known, {"verdict": "HOLDS"})
    assert state.load(folder, fresh()) == known
    assert path.endswith("look-00002.json")
    with open(path) as file:
        assert json.load(file) == {"verdict": "HOLDS"}


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "watched": {"a": {}}}']
)
def test_a_damaged_state_is_not_forgotten(folder, content, tmp_path):
    state.save(folder, fresh(), {})
    (tmp_path / "monitor" / "7-s" / "state.json").write_text(content)
    with pytest.raises(DataError, match="cannot be read .* move it away to begin anew"):
        state.load(folder, fresh())


def test_another_model_under_the_same_number(folder):
    state.save(folder, fresh(), {})
    with pytest.raises(DataError, match="is of the model dddd"):
        state.load(folder, fresh(digest="e" * 32))


def test_a_write_that_fails_leaves_what_was(folder, tmp_path):
    state.save(folder, fresh(looks=1), {})
    with pytest.raises(ValueError):
        state.save(folder, fresh(looks=2), {"value": float("nan")})
    assert state.load(folder, fresh()).looks == 1
    names = sorted(p.name for p in (tmp_path / "monitor" / "7-s").iterdir())
    assert names == ["look-00001.json", "state.json"]
