"""Folders of this machine, and of a store that TensorFlow's filesystem in memory is."""

import os

import pytest
import tensorflow as tf

from components import filesystem
from components.errors import DataError

FILES = ["assets.extra/b", "assets.extra/c/d", "assets/a", "e"]


@pytest.fixture(params=["here", "store"])
def folder(request, tmp_path):
    here = request.param == "here"
    path = str(tmp_path) if here else f"ram://{tmp_path.name}-files/x"
    for name in FILES:
        filesystem.make_folder(os.path.dirname(os.path.join(path, name)))
        filesystem.replace_file(os.path.join(path, name), name.encode())
    return path


def test_a_walk_finds_each_file_once(folder):
    """Also beside a folder whose name goes on where that of another ends."""
    found = [
        os.path.relpath(os.path.join(at, name), folder)
        for at, _, names in filesystem.walk(folder)
        for name in names
    ]
    assert sorted(found) == FILES


def test_a_file_is_replaced_whole(folder):
    path = os.path.join(folder, "e")
    filesystem.replace_file(path, b"new")
    with filesystem.open_file(path) as file:
        assert file.read() == b"new"
    assert filesystem.list_folder(folder) == ["assets", "assets.extra", "e"]


def test_a_store_without_a_client_is_said(tmp_path):
    filesystem.check_store(f"ram://{tmp_path.name}/none/yet")
    with pytest.raises(DataError, match="no filesystem for nix:// here, only for .*gs"):
        filesystem.check_store("nix://bucket/serving")


def test_a_store_that_does_not_answer_is_said(monkeypatch):
    def refuse(path):
        raise tf.errors.PermissionDeniedError(None, None, "no\n credentials")

    monkeypatch.setattr(filesystem, "exists", refuse)
    with pytest.raises(DataError, match=r"cannot be reached \(no credentials\)"):
        filesystem.check_store("ram://bucket/serving")
