"""Versions in a serving folder."""

import json
import os

import pytest
import tensorflow as tf

from components import digests
from components.errors import DataError
from components.pusher import versions


def publish(path, serving):
    return versions.publish(path, serving, digests.of_model(path), {"run": "1"})


def names(serving):
    return sorted(n for n in os.listdir(serving) if n != versions.LOG)


def test_each_version_is_higher_than_the_last_and_keeps_its_digest(model, serving):
    first = publish(model("a"), serving)
    second = publish(model("b"), serving)
    assert second.number > first.number
    assert versions.latest(serving) == second
    assert versions.versions(serving) == [first, second]
    assert names(serving) == [str(first.number), str(second.number)]
    for version, text in ((first, "a"), (second, "b")):
        assert digests.of_model(version.path) == digests.of_model(model(text))
        with open(os.path.join(version.path, "variables", "data")) as file:
            assert file.read() == text
        with open(os.path.join(version.path, "assets.extra", "release.json")) as file:
            told = json.load(file)
        assert told == version.release
        assert told["digest"] == version.told == digests.of_model(model(text))
        assert (told["version"], told["run"]) == (version.number, "1")


def test_the_log_has_a_line_for_each(model, serving):
    made = [publish(model(text), serving) for text in ("a", "b")]
    with open(os.path.join(serving, versions.LOG)) as file:
        lines = [json.loads(line) for line in file]
    assert [line["version"] for line in lines] == [v.number for v in made]
    assert {line["event"] for line in lines} == {"released"}


def test_the_log_leaves_out_what_is_long(model, serving):
    told = {"run": "1", "evaluated": {"eval": [{"slice": []}] * 500}}
    made = versions.publish(model("a"), serving, digests.of_model(model("a")), told)
    assert made.release["evaluated"] == told["evaluated"]
    with open(os.path.join(serving, versions.LOG)) as file:
        line = file.read()
    assert json.loads(line)["run"] == "1" and len(line) < 400


def test_nothing_served_yet(tmp_path):
    assert versions.latest(str(tmp_path / "none")) is None
    assert versions.versions(str(tmp_path / "none")) == []
    assert versions.with_digest(str(tmp_path / "none"), "a" * 32) is None


def test_a_half_written_version_does_not_count_and_its_number_is_not_used(
    model, serving
):
    first = publish(model("a"), serving)
    half = os.path.join(serving, str(first.number + 10**6))
    os.makedirs(os.path.join(half, "variables"))
    assert versions.latest(serving) == first
    second = publish(model("b"), serving)
    assert second.number == first.number + 10**6 + 1
    assert os.listdir(half) == ["variables"]


def test_what_is_no_version_does_not_count(model, serving):
    first = publish(model("a"), serving)
    for name in (".push-x", "tmp", "\u0663", "-5", "9" * 20, str(2**63)):
        os.makedirs(os.path.join(serving, name))
        with open(os.path.join(serving, name, "saved_model.pb"), "w"):
            pass
    assert versions.versions(serving) == [first]


def test_the_highest_number_that_a_server_takes(model, serving):
    os.makedirs(os.path.join(serving, str(2**63 - 1)))
    with pytest.raises(DataError, match="none can be higher; move it away"):
        publish(model("a"), serving)


def test_a_copy_with_another_digest_never_appears(model, serving):
    """The model was swapped after its digest was taken."""
    with pytest.raises(DataError, match="the model changed while it was copied"):
        versions.publish(model("a"), serving, digests.of_model(model("b")), {})
    assert os.listdir(serving) == []


def test_a_damaged_copy_never_appears(model, serving, monkeypatch):
    copy = versions._copy

    def damage(source, target):
        copy(source, target)
        with open(target, "r+b") as file:
            file.write(b"X")

    monkeypatch.setattr(versions, "_copy", damage)
    with pytest.raises(DataError, match="nothing was pushed"):
        publish(model("a"), serving)
    assert os.listdir(serving) == []


def test_a_model_without_a_graph_is_not_pushed(model, serving):
    path = model("a")
    os.remove(os.path.join(path, "saved_model.pb"))
    with pytest.raises(DataError, match="has no saved_model.pb"):
        publish(path, serving)


def test_a_version_is_whole_at_every_moment(model, serving, monkeypatch):
    """Whoever looks before the rename sees no version; after it, all of it."""
    seen = []
    rename = os.rename

    def look(source, target):
        seen.append(names(serving))
        assert versions.versions(serving) == []
        rename(source, target)
        seen.append(names(serving))

    monkeypatch.setattr(os, "rename", look)
    made = publish(model("a"), serving)
    (staging,) = seen[0]
    assert staging.startswith(".")
    assert str(made.number) in seen[1]


def test_two_that_push_in_one_second(model, serving, monkeypatch):
    monkeypatch.setattr(versions.time, "time", lambda: 100.0)
    first = publish(model("a"), serving)
    monkeypatch.setattr(versions, "_numbered", lambda serving: [])
    second = publish(model("b"), serving)
    assert (first.number, second.number) == (100, 101)
    assert second.release["version"] == 101
    with open(os.path.join(second.path, "assets.extra", "release.json")) as file:
        assert json.load(file)["version"] == 101


def test_a_changed_version_is_refused(model, serving):
    first = publish(model("a"), serving)
    with open(os.path.join(first.path, "variables", "data"), "w") as file:
        file.write("z")
    with pytest.raises(DataError, match=f"version {first.number} in .* was changed"):
        versions.with_digest(serving, first.told)


def test_a_version_that_someone_else_made_is_known_by_its_files(model, serving):
    version = os.path.join(serving, "7")
    os.makedirs(serving)
    os.rename(model("a"), version)
    found = versions.with_digest(serving, digests.of_model(version))
    assert (found.number, found.told) == (7, None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": 5}', "null"])
def test_a_broken_release_file_tells_nothing(model, serving, content):
    first = publish(model("a"), serving)
    with open(os.path.join(first.path, "assets.extra", "release.json"), "w") as file:
        file.write(content)
    (found,) = versions.versions(serving)
    assert found.told is None
    assert versions.with_digest(serving, first.told).number == first.number


class TestStore:
    """A filesystem without renames of folders; TensorFlow's in memory stands for it."""

    @pytest.fixture
    def store(self, tmp_path):
        return f"ram://{tmp_path.name}/serving"

    def test_the_graph_is_written_last(self, model, store, monkeypatch):
        """A server loads nothing without it, and no reader here counts it."""
        order = []
        write, copy = versions._write, versions._copy

        def note(do):
            def noted(first, second):
                path = second if do is copy else first
                assert versions.versions(store) == []
                order.append(os.path.basename(path))
                do(first, second)

            return noted

        monkeypatch.setattr(versions, "_write", note(write))
        monkeypatch.setattr(versions, "_copy", note(copy))
        made = publish(model("a"), store)
        assert order == ["data", "release.json", "saved_model.pb"]
        assert versions.latest(store) == made
        assert digests.of_model(made.path) == digests.of_model(model("a"))

    def test_a_wrong_copy_never_has_its_graph(self, model, store):
        with pytest.raises(DataError, match="nothing was pushed"):
            versions.publish(model("a"), store, "0" * 32, {})
        assert versions.versions(store) == []
        assert not [n for _, _, names in tf.io.gfile.walk(store) for n in names]

    def test_versions_marks_and_log(self, model, store):
        first = publish(model("a"), store)
        second = publish(model("b"), store)
        assert versions.versions(store) == [first, second]
        assert versions.with_digest(store, first.told) == first
        versions.mark_rolled_back(store, second.told, {"version": second.number})
        assert list(versions.rolled_back(store)) == [second.told]
        versions.unmark_rolled_back(store, second.told)
        assert versions.rolled_back(store) == {}
        with tf.io.gfile.GFile(f"{store}/{versions.LOG}") as file:
            assert len(file.read().splitlines()) == 2
