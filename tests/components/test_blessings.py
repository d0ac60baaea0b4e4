"""A blessing says of which model it is, twice."""

import json
import os

import pytest
from tfx.types import standard_artifacts

from components import blessings
from components.errors import DataError

GIVEN = blessings.Blessing(True, "PASS", "a" * 32, "b" * 32, "c" * 32)


@pytest.fixture
def blessing(tmp_path):
    artifact = standard_artifacts.ModelBlessing()
    artifact.uri = str(tmp_path)
    artifact.set_int_custom_property("blessed", 1)
    (tmp_path / "BLESSED").touch()
    blessings.write(artifact, GIVEN)
    return artifact


def change(blessing, **changes):
    path = os.path.join(blessing.uri, "blessing.json")
    with open(path) as file:
        content = json.load(file)
    with open(path, "w") as file:
        json.dump({**content, **changes}, file)


def test_what_is_written_is_read(blessing):
    assert blessings.read(blessing) == GIVEN
    assert blessing.get_string_custom_property("model_digest") == "a" * 32


def test_one_without_digests_is_somebody_elses(tmp_path):
    artifact = standard_artifacts.ModelBlessing()
    artifact.uri = str(tmp_path)
    artifact.set_int_custom_property("blessed", 1)
    (tmp_path / "BLESSED").touch()
    assert blessings.read(artifact) == blessings.Blessing(True)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_digest": "d" * 32},
        {"model_digest": None},
        {"blessed": False},
        {"verdict": "FAIL"},
        {"checks_fingerprint": "d" * 32},
    ],
)
def test_a_changed_file_is_noticed(blessing, changes):
    change(blessing, **changes)
    (key,) = changes
    with pytest.raises(DataError, match=f"was changed: {key} is .* run again"):
        blessings.read(blessing)


def test_changed_metadata_are_noticed(blessing):
    blessing.set_string_custom_property("model_digest", "d" * 32)
    with pytest.raises(DataError, match="was changed: model_digest is 'dddd"):
        blessings.read(blessing)


def test_a_refusal_turned_round_in_the_folder_is_noticed(blessing, tmp_path):
    blessing.set_int_custom_property("blessed", 0)
    change(blessing, blessed=False)
    with pytest.raises(DataError, match="was changed: it is not positive"):
        blessings.read(blessing)


def test_a_refusal_turned_round_in_the_metadata_is_noticed(blessing, tmp_path):
    (tmp_path / "BLESSED").rename(tmp_path / "NOT_BLESSED")
    with pytest.raises(DataError, match="was changed: it is positive"):
        blessings.read(blessing)


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_a_file_that_is_gone_or_broken(blessing, tmp_path, content):
    (tmp_path / "blessing.json").unlink()
    if content is not None:
        (tmp_path / "blessing.json").write_text(content)
    with pytest.raises(DataError):
        blessings.read(blessing)
