"""How a job is followed, and which of the things that it left is told."""

import json
import os

import pytest

from pipeline import following
from pipeline.services import Refused, Silent, State, Task, one_line, within


class Service:
    """Answers one state after the other; an exception is raised."""

    title = "The service"

    def __init__(self, *answers):
        self.answers = list(answers)

    def state(self, job):
        assert job == "a job"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock(monkeypatch):
    """A time of its own; what was slept."""

    class Clock:
        now, slept = 0.0, []

        def sleep(self, seconds):
            self.slept.append(seconds)
            self.now += seconds

        def monotonic(self):
            return self.now

    found = Clock()
    found.slept = []
    monkeypatch.setattr(following, "time", found)
    return found


def followed(service, expected=("A", "B", "C")):
    told = []

    def tell(stage, outcome):
        told.append((stage.name, stage.seconds, stage.cached, outcome))

    ended = following.follow(service, "a job", expected, tell, "how to look")
    return ended, told


RUNNING = State("running")


class TestFollow:
    def test_the_wait_grows_by_half_to_half_a_minute(self, clock, monkeypatch):
        monkeypatch.setattr(following, "PATIENCE", following.Patience())
        followed(Service(*[RUNNING] * 8, State("succeeded")))
        assert clock.slept == [min(5 * 1.5**i, 30) for i in range(8)]

    def test_each_stage_is_told_once_in_the_order_of_their_ends(self, clock):
        a = Task("A", "succeeded", 2.0, ended=10.0)
        b = Task("B", "succeeded", 1.0, ended=5.0, cached=True)
        c = Task("C", "failed", 3.0, ended=12.0)
        _, told = followed(
            Service(
                State(
                    "running", (a, b, Task("C", None), Task("a-driver", "succeeded"))
                ),
                State("running", (a, b)),
                State("failed", (c, a, b)),
            )
        )
        assert told == [
            ("B", 1.0, True, "reused"),
            ("A", 2.0, False, ""),
            ("C", 3.0, False, "failed"),
        ]

    def test_silence_is_counted_from_the_last_answer(self, clock, monkeypatch):
        monkeypatch.setattr(following, "PATIENCE", following.Patience(10, 10, 25))
        quiet = Silent("no answer")
        service = Service(RUNNING, quiet, quiet, RUNNING, quiet, quiet, State("failed"))
        assert followed(service)[0].outcome == "failed"

    def test_too_long_a_silence_ends_it(self, clock, monkeypatch):
        monkeypatch.setattr(following, "PATIENCE", following.Patience(10, 10, 60))
        with pytest.raises(Refused, match=r"no answer, for 1 minutes?; .*how to look"):
            followed(Service(RUNNING, *[Silent("no answer")] * 8))

    def test_a_refusal_ends_it_at_once(self, clock):
        service = Service(RUNNING, Refused("no"), RUNNING)
        with pytest.raises(Refused, match="^no$"):
            followed(service)
        assert service.answers == [RUNNING]


class TestWhy:
    def leave(self, root, *names, sentence="it is wrong", age=0.0):
        folder = root.joinpath("project", "job", *names)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "error.json"
        path.write_text(json.dumps({"exit": 2, "sentence": sentence}))
        now = os.stat(path).st_mtime
        os.utime(path, (now - age, now - age))
        return now

    def why(self, root, *tasks, **more):
        ended = State("failed", tasks, **more)
        return following.why(ended, str(root), ("A", "B"), "the page")

    def test_the_newest_is_told(self, tmp_path):
        self.leave(tmp_path, "A", sentence="old", age=100)
        self.leave(tmp_path, "B", sentence="new", age=50)
        self.leave(tmp_path, sentence="older", age=200)
        assert self.why(tmp_path) == {"exit": 2, "sentence": "new"}

    def test_what_is_older_than_the_failed_stage_is_another_s(self, tmp_path):
        now = self.leave(tmp_path, "A", age=1000)
        failed = Task("B", "failed", seconds=300, ended=now, error="killed")
        assert self.why(tmp_path, failed) == {
            "exit": 1,
            "sentence": "B failed: killed; its log: the page",
        }
        first = Task("B", "failed", seconds=1100, ended=now, error="killed")
        assert self.why(tmp_path, first)["sentence"] == "it is wrong"

    def test_below_other_folders_nothing_is_looked_for(self, tmp_path):
        self.leave(tmp_path, "A", "deep", "er")
        assert self.why(tmp_path, error="all failed")["sentence"] == (
            "the job failed: all failed; its log: the page"
        )

    def test_the_first_of_several_without_a_reason(self, tmp_path):
        later = Task("A", "failed", 1.0, ended=20.0, error="a")
        first = Task("B", "failed", 1.0, ended=10.0)
        assert self.why(tmp_path, later, first)["sentence"] == (
            "B failed: without a reason; its log: the page"
        )


class TestWithin:
    def test_an_answer_and_an_error_pass_through(self):
        assert within(5, lambda: 7, "x") == 7
        with pytest.raises(KeyError, match="gone"):
            within(5, lambda: {}["gone"], "x")

    def test_none_is_an_answer(self):
        assert within(5, lambda: None, "x") is None

    def test_one_that_is_late(self):
        import threading

        never = threading.Event()
        with pytest.raises(Silent, match="The service has not answered for 0 s"):
            within(0.05, never.wait, "The service")
        never.set()


@pytest.mark.parametrize(
    ("text", "secrets", "line"),
    [
        ("a\n  b.\n", (), "a b"),
        ("Bearer abc is not known", ("abc",), "Bearer ... is not known"),
        ("x" * 400, (), "x" * 297 + "..."),
        ("", ("",), ""),
    ],
)
def test_what_a_service_says_is_one_line(text, secrets, line):
    assert one_line(text, *secrets) == line
