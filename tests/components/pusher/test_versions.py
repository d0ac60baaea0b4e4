"""Versions in a serving folder."""

import os

from components.pusher import versions


def model(path, text="weights"):
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_text("graph")
    (path / "variables" / "data").write_text(text)
    return str(path)


def test_publish_once_then_same_digest_is_not_pushed_again(tmp_path):
    serving = str(tmp_path / "serving")
    first, new = versions.publish(model(tmp_path / "a"), serving)
    assert new and os.path.isfile(os.path.join(first, "variables", "data"))
    again, new = versions.publish(model(tmp_path / "b"), serving)
    assert (again, new) == (first, False)
    second, new = versions.publish(model(tmp_path / "c", "other"), serving)
    assert new and int(os.path.basename(second)) > int(os.path.basename(first))
    assert versions.latest(serving) == second
    assert sorted(os.listdir(serving)) == sorted(map(os.path.basename, (first, second)))


def test_digest_sees_names_and_content(tmp_path):
    a = versions.digest_of(model(tmp_path / "a"))
    b = versions.digest_of(model(tmp_path / "b", "weightz"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x").write_text("graph")
    assert len({a, b, versions.digest_of(str(tmp_path / "c"))}) == 3


def test_nothing_served_yet(tmp_path):
    assert versions.latest(str(tmp_path / "none")) is None
