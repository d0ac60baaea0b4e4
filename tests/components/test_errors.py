"""How a failed stage tells its reason, alone and as one of several workers."""

import json
import types

import pytest

from components.errors import DataError, tells_reason


class Stage:
    """Fails with what it is told."""

    @tells_reason
    def Do(self, input_dict, output_dict, exec_properties):
        raise exec_properties["error"]


@pytest.fixture
def fail(tmp_path):
    """Fails with an error; returns what was left of it."""
    output = types.SimpleNamespace(uri=str(tmp_path / "Stage" / "model" / "7"))

    def go(error):
        with pytest.raises(type(error)):
            Stage().Do({}, {"model": [output]}, {"error": error})
        return json.loads((tmp_path / "Stage" / "error.json").read_text())

    return go


def test_an_error_for_the_user_is_told_as_it_is(fail):
    told = fail(DataError("there is no row; add one"))
    assert told == {"exit": 2, "sentence": "there is no row; add one"}


def test_any_other_is_told_by_its_type_and_first_line(fail):
    told = fail(KeyError("a\nb"))
    assert told["exit"] == 1
    assert told["sentence"].startswith("KeyError: ")


def test_the_last_of_several_tries_is_told(fail, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    fail(DataError("first"))
    assert fail(DataError("second"))["sentence"] == "second"


def test_of_several_workers_the_first_is_told(fail, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    fail(DataError("there is no row; add one"))
    told = fail(RuntimeError("connection to the chief was lost"))
    assert told == {"exit": 2, "sentence": "there is no row; add one"}
