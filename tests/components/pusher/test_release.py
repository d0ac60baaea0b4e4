"""What is released, and what not."""

import datetime
import errno
import os
import subprocess
import sys
import threading

import pytest

from components import digests
from components.blessings import Blessing
from components.errors import DataError
from components.pusher import release, versions

NOW = datetime.datetime.now(datetime.timezone.utc)


def override(digest, days=1):
    expires = NOW + datetime.timedelta(days=days)
    who = {"who": "Ada", "why": "it is urgent"}
    return {**who, "digest": digest, "expires": expires.isoformat()}


def count(serving):
    return len(versions.versions(serving))


class TestBlessing:
    def test_a_blessed_model_is_released_with_what_was_decided(self, push, serving):
        outcome = push("a")
        assert outcome.version == versions.latest(serving)
        told = outcome.version.release
        assert (told["blessed"], told["verdict"], told["run"]) == (True, "PASS", "1")
        assert told["examples_fingerprint"] == "e" * 32
        assert told["override"] is told["rolled_back_from"] is None
        assert outcome.override is None

    def test_a_refused_one_is_not(self, push, serving):
        assert push("a", blessed=False) == release.Outcome()
        assert not os.path.exists(serving)

    def test_a_model_swapped_after_its_blessing_is_not(self, push, model, serving):
        judged = digests.of_model(model("a"))
        with open(os.path.join(model("a"), "variables", "data"), "w") as file:
            file.write("b")
        swapped = digests.of_model(model("a"))
        with pytest.raises(DataError, match="is not the one that was judged") as error:
            push("a", digest=judged)
        assert judged in str(error.value) and swapped in str(error.value)
        assert not os.path.exists(serving)

    def test_the_blessing_of_another_model_is_not_enough(self, push, model, serving):
        with pytest.raises(DataError, match="is not the one that was judged"):
            push("a", digest=digests.of_model(model("b")))
        assert not os.path.exists(serving)

    def test_nor_one_without_a_digest(self, model, serving):
        with pytest.raises(DataError, match="holds no digest"):
            release.release(model("a"), Blessing(True), serving)
        assert not os.path.exists(serving)


class TestTwice:
    def test_the_same_digest_is_not_pushed_again(self, push, serving):
        first = push("a")
        assert push("a").version == first.version
        assert count(serving) == 1

    def test_nor_where_another_came_after_it(self, push, serving):
        first, second = push("a"), push("b")
        again = push("a")
        assert again.version is None
        assert f"was released before, as version {first.version.number}" in (
            again.why_not
        )
        assert f"rollback with --to {first.version.number} " in again.why_not
        assert versions.latest(serving) == second.version
        assert count(serving) == 2

    def test_nor_after_it_was_rolled_back(self, push, serving):
        _, second = push("a"), push("b")
        digest = second.version.told
        versions.mark_rolled_back(serving, digest, {})
        again = push("b")
        assert again.version is None
        assert f"{digest} was rolled back" in again.why_not
        assert f"--to {second.version.number} puts it back" in again.why_not
        assert count(serving) == 2

    def test_the_mark_holds_where_the_version_is_gone(self, push, model, serving):
        digest = digests.of_model(model("a"))
        versions.mark_rolled_back(serving, digest, {})
        again = push("a")
        assert again.version is None
        assert versions.rolled_back(serving)[digest] in again.why_not
        versions.unmark_rolled_back(serving, digest)
        assert push("a").version is not None


class TestOverride:
    @pytest.fixture
    def digest(self, model):
        return digests.of_model(model("a"))

    def test_releases_the_model_that_it_names(self, push, digest, serving):
        given = override(digest)
        outcome = push("a", blessed=False, override=given)
        assert outcome.override == given
        told = versions.latest(serving).release
        assert told["override"] == given
        assert (told["blessed"], told["verdict"]) == (False, "FAIL")

    def test_of_another_model(self, push, model, digest, serving):
        given = override(digests.of_model(model("b")))
        outcome = push("a", blessed=False, override=given)
        assert outcome.version is None
        assert given["digest"] in outcome.why_not and digest in outcome.why_not
        assert not os.path.exists(serving)

    def test_that_expired(self, push, digest, serving):
        outcome = push("a", blessed=False, override=override(digest, days=-1))
        assert outcome.version is None
        assert "the override of Ada expired at " in outcome.why_not
        assert not os.path.exists(serving)

    def test_does_not_let_a_swapped_model_pass(self, push, model, digest, serving):
        with open(os.path.join(model("a"), "variables", "data"), "w") as file:
            file.write("b")
        with pytest.raises(DataError, match="is not the one that was judged"):
            push("a", blessed=False, override=override(digest), digest=digest)
        assert not os.path.exists(serving)

    def test_is_not_needed_by_a_blessed_model(self, push, digest, serving):
        outcome = push("a", override=override(digest))
        assert outcome.override is None
        assert versions.latest(serving).release["override"] is None

    def test_does_not_bring_back_what_was_rolled_back(self, push, digest, serving):
        versions.mark_rolled_back(serving, digest, {})
        outcome = push("a", blessed=False, override=override(digest))
        assert outcome.version is None
        assert "was rolled back" in outcome.why_not


_PUSH = """
import sys
from components import digests
from components.blessings import Blessing
from components.pusher import release
path, serving = sys.argv[1:]
blessing = Blessing(True, "PASS", digests.of_model(path), "e" * 32)
print(release.release(path, blessing, serving).version.number)
"""


class TestAtOnce:
    def test_eight_pushes_of_one_model_make_one_version(self, model, serving):
        path = model("a")
        with open(os.path.join(path, "variables", "data"), "wb") as file:
            file.write(bytes(3 << 20))  # so that the copies would overlap
        command = [sys.executable, "-c", _PUSH, path, serving]
        pipe = subprocess.PIPE
        pushes = [subprocess.Popen(command, stdout=pipe) for _ in range(8)]
        numbers = [push.communicate(timeout=120)[0] for push in pushes]
        assert len(set(numbers)) == count(serving) == 1

    def test_what_a_push_that_died_left_is_removed(self, push, serving):
        half = os.path.join(serving, ".push-dead", "model")
        os.makedirs(half)
        push("a")
        assert not os.path.exists(os.path.dirname(half))
        assert count(serving) == 1

    def test_a_release_waits_for_the_one_before(self, push, serving):
        with versions.alone(serving):
            waiting = threading.Thread(target=push, args=("a",))
            waiting.start()
            waiting.join(0.3)
            assert waiting.is_alive() and count(serving) == 0
        waiting.join(30)
        assert count(serving) == 1


class TestFolder:
    def test_one_that_cannot_be_made_is_named_with_the_reason(self, model):
        path = model("a")
        blessing = Blessing(True, "PASS", digests.of_model(path), "e" * 32)
        with pytest.raises(
            DataError, match=r"^/proc/none/serving: versions .* No such file"
        ):
            release.release(path, blessing, "/proc/none/serving")

    def test_a_full_disk_leaves_nothing(self, push, serving, monkeypatch):
        def full(source, target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

        first = push("a").version
        monkeypatch.setattr(versions, "_copy", full)
        with pytest.raises(DataError, match="No space left on device.*make room"):
            push("b")
        assert versions.versions(serving) == [first]
        assert not [name for name in os.listdir(serving) if name.startswith(".push")]
