"""An older version comes back, and what it replaced stays away."""

import datetime
import json
import os
import shutil

import pytest

from components import digests
from components.errors import DataError
from components.pusher import versions
from components.pusher.rollback import roll_back

NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def override(model):
    def make(text, days=1):
        expires = (NOW + datetime.timedelta(days=days)).isoformat()
        who = {"who": "Ada", "why": "it is urgent", "expires": expires}
        return {**who, "digest": digests.of_model(model(text))}

    return make


def text(version):
    with open(os.path.join(version.path, "variables", "data")) as file:
        return file.read()


def test_the_version_before_is_served_again_as_a_higher_one(push, serving):
    first, second = push("a").version, push("b").version
    done = roll_back(serving)
    assert (done.replaced, done.restored) == (second, first)
    assert done.served == versions.latest(serving)
    assert done.served.number > second.number
    assert text(done.served) == "a"
    assert done.served.told == first.told
    assert [v.number for v in versions.versions(serving)] == [
        *(first.number, second.number, done.served.number)
    ]
    told = done.served.release
    assert told["rolled_back_from"] == {
        "version": second.number,
        "digest": second.told,
    }
    assert (told["restored"], told["blessed"]) == (first.number, True)
    with open(os.path.join(serving, versions.LOG)) as file:
        events = [json.loads(line)["event"] for line in file]
    assert events == ["released", "released", "rolled back"]


def test_a_rerun_does_not_push_the_bad_one_again(push, serving):
    push("a")
    bad = push("b").version
    roll_back(serving)
    outcome = push("b")
    assert outcome.version is None
    assert f"{bad.told} was rolled back" in outcome.why_not
    assert text(versions.latest(serving)) == "a"
    assert push("a").version == versions.latest(serving)


def test_it_can_be_undone(push, serving):
    push("a")
    bad = push("b").version
    good = roll_back(serving).served
    undone = roll_back(serving, bad.number)
    assert undone.served == versions.latest(serving)
    assert text(versions.latest(serving)) == "b"
    assert not undone.marked and "is not marked as bad" in "".join(undone.lines)
    assert versions.rolled_back(serving) == {}
    assert push("b").version == versions.latest(serving)
    again = roll_back(serving)  # the good one is there for the next night
    assert (text(again.served), again.marked) == ("a", True)
    assert again.restored == good
    assert list(versions.rolled_back(serving)) == [bad.told]


def test_two_rollbacks_can_be_undone_at_once(push, serving):
    marks = {}
    for name in ("a", "b", "c"):
        marks[name] = push(name).version
    roll_back(serving)
    roll_back(serving)
    assert not roll_back(serving, marks["c"].number).marked
    assert list(versions.rolled_back(serving)) == [marks["b"].told]
    assert text(roll_back(serving).served) == "a"


def test_what_came_after_a_rollback_is_gone_back_from(push, serving):
    push("a")
    first = push("b").version
    roll_back(serving)
    later = push("d").version
    assert roll_back(serving, first.number).marked
    assert list(versions.rolled_back(serving)) == [later.told]


def test_where_the_first_release_was_removed_the_copy_tells_when_it_came(push, serving):
    first, second = push("a").version, push("b").version
    roll_back(serving)
    shutil.rmtree(first.path)
    assert not roll_back(serving, second.number).marked


def test_another_version_than_the_one_that_was_looked_at_is_left_alone(push, serving):
    first, second = push("a").version, push("b").version
    with pytest.raises(DataError, match=f"version {second.number} by now, not"):
        roll_back(serving, of=first.number)
    assert versions.latest(serving) == second
    assert roll_back(serving, of=second.number).restored == first


def test_again_goes_further_back_and_never_to_what_was_rolled_back(push, serving):
    for name in ("a", "b", "c"):
        push(name)
    assert [text(roll_back(serving).served) for _ in "xx"] == ["b", "a"]
    with pytest.raises(DataError, match="no version to roll back to"):
        roll_back(serving)
    assert text(versions.latest(serving)) == "a"


def test_what_an_override_released_is_not_gone_back_to(push, serving, override):
    push("a")
    push("b", blessed=False, override=override("b"))
    push("c")
    assert text(roll_back(serving).served) == "a"


def test_unless_it_is_named_while_the_override_lasts(push, serving, override):
    number = push("b", blessed=False, override=override("b")).version.number
    blessed = push("c").version
    done = roll_back(serving, number)
    assert text(done.served) == "b"
    assert done.served.release["override"]["who"] == "Ada"
    # No check says that the blessed one is worse: it stays the baseline.
    assert not done.marked and versions.rolled_back(serving) == {}
    assert push("c").version is None
    assert roll_back(serving).restored == blessed


def test_after_the_override_has_expired_it_is_not(push, serving, override, monkeypatch):
    number = push("b", blessed=False, override=override("b")).version.number
    push("c")
    path = os.path.join(serving, str(number), "assets.extra", "release.json")
    with open(path) as file:
        told = json.load(file)
    told["override"]["expires"] = "2020-01-01T00:00:00+00:00"
    with open(path, "w") as file:
        json.dump(told, file)
    with pytest.raises(DataError, match="the override that released it has expired"):
        roll_back(serving, number)


def refused(serving, said, to=None):
    """Rolling back fails with a sentence and changes nothing."""
    before = versions.state(serving)
    with pytest.raises(DataError, match=said):
        roll_back(serving, to)
    assert versions.state(serving) == before


def test_nothing_is_served(serving):
    with pytest.raises(DataError, match="holds no version"):
        roll_back(serving)
    assert not os.path.exists(serving)


def test_nothing_is_before(push, serving):
    push("a")
    refused(serving, "no version to roll back to")


def test_a_half_written_version_is_neither_replaced_nor_gone_back_to(push, serving):
    push("a")
    served = push("b").version
    shutil.copytree(served.path, os.path.join(serving, str(served.number + 5)))
    os.remove(os.path.join(serving, str(served.number + 5), "saved_model.pb"))
    done = roll_back(serving)
    assert done.replaced == served
    assert done.served.number == served.number + 6


def test_a_number_that_is_none(push, serving):
    push("a")
    push("b")
    refused(serving, "has no version 7; the last are", to=7)


def test_what_is_served(push, serving):
    push("a")
    refused(serving, "is served already", to=push("b").version.number)


def test_the_same_model(push, serving):
    first, _ = push("a"), push("b")
    roll_back(serving)
    refused(serving, "is the same model as", to=first.version.number)


def test_a_version_that_was_changed(push, serving):
    first, _ = push("a").version, push("b")
    with open(os.path.join(first.path, "variables", "data"), "w") as file:
        file.write("z")
    refused(serving, f"version {first.number} in .* was changed")
    refused(serving, f"version {first.number} in .* was changed", to=first.number)


def test_a_version_that_nobody_released(push, model, serving):
    push("a")
    os.rename(model("x"), os.path.join(serving, "5"))
    refused(serving, "has no legible assets.extra/release.json", to=5)
    refused(serving, "no version to roll back to")


def test_one_that_nobody_released_can_be_replaced(push, model, serving):
    first = push("a").version
    path = os.path.join(serving, str(first.number + 1))
    os.rename(model("x"), path)
    done = roll_back(serving)
    assert text(done.served) == "a"
    assert list(versions.rolled_back(serving)) == [digests.of_model(path)]


def test_one_that_died_after_its_mark_is_taken_up(push, serving, monkeypatch):
    push("a")
    bad = push("b").version
    with monkeypatch.context() as patch:
        patch.setattr(versions, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            roll_back(serving)
    assert versions.latest(serving) == bad
    assert push("b").version is None
    assert text(roll_back(serving).served) == "a"


def test_in_a_store(model, tmp_path):
    serving = f"ram://{tmp_path.name}/serving"
    for name in ("a", "b"):
        digest = digests.of_model(model(name))
        versions.publish(model(name), serving, digest, {"blessed": True})
    done = roll_back(serving)
    assert done.served.told == digests.of_model(model("a"))
    assert list(versions.rolled_back(serving)) == [digests.of_model(model("b"))]
