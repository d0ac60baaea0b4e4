"""The index of blessed models, and who reads it."""

import pytest
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from components import blessed_index
from components.artifact_files import present
from components.pusher import versions
from components.released_model import executor
from components.released_model.component import ReleasedModel

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


@pytest.fixture(params=["folder", "ram"])
def place(request, tmp_path):
    """A folder of this machine, and one of a store."""
    if request.param == "folder":
        return str(tmp_path)
    return f"ram://{tmp_path.name}"


def noted(place):
    index = f"{place}/blessed/flights"
    blessed_index.note(index, A, "m/a", "2026-01-01T00:00:00+00:00")
    blessed_index.note(index, C, "m/c", "2026-01-03T00:00:00+00:00")
    blessed_index.note(index, B, "m/b", "2026-01-02T00:00:00+00:00")
    return index


def found(index, serving=None):
    """The model that the stage gives."""
    model = standard_artifacts.Model()
    model.uri = "ram://nowhere/where/the/orchestrator/says"
    properties = ReleasedModel(index, serving).exec_properties
    stage = executor.Executor(base_executor.BaseExecutor.Context())
    stage.Do({}, {"model": [model]}, properties)
    return model


def test_the_latest_is_found(place):
    index = noted(place)
    assert blessed_index.latest(index)["digest"] == C
    assert found(index).uri == "m/c"


def test_what_was_rolled_back_does_not_count(place):
    index, serving = noted(place), f"{place}/serving"
    versions.mark_rolled_back(serving, C, {})
    assert found(index, serving).uri == "m/b"
    versions.unmark_rolled_back(serving, C)
    assert found(index, serving).uri == "m/c"


def test_blessed_again_is_the_latest(tmp_path):
    # Not on ram://, where TensorFlow appends to a file that is opened for writing.
    index = noted(str(tmp_path))
    blessed_index.note(index, A, "m/again", "2026-01-04T00:00:00+00:00")
    assert found(index).uri == "m/again"


def test_other_files_are_left_alone(tmp_path):
    index = noted(str(tmp_path))
    (tmp_path / "blessed" / "flights" / "notes.json").write_text("no JSON")
    (tmp_path / "blessed" / "flights" / f"{A}.tmp").write_text("")
    assert found(index).uri == "m/c"


def test_where_there_is_none_it_says_so(place):
    model = found(f"{place}/blessed/nobody")
    assert present({"baseline_model": [model], "model": []}) == {
        "baseline_model": [],
        "model": [],
    }
    index = noted(place)
    model = found(index)
    assert present({"baseline_model": [model]}) == {"baseline_model": [model]}
