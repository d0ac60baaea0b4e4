"""The traffic of an endpoint, and which models may go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.pusher.target import Deployed, Target, find, idle, split

A, B, C = "a" * 32, "b" * 32, "c" * 32


def on(*traffic, pipeline="flights"):
    """Models 1, 2, ... with so much traffic each, and the digests a, b, ..."""
    return [
        Deployed(str(i), f"{pipeline}-{d * 32}", percent, pipeline, d * 32)
        for i, (d, percent) in enumerate(zip("abcdef", traffic, strict=False), 1)
    ]


@pytest.mark.parametrize(
    ("before", "one", "traffic", "after"),
    [
        ([100, 0], "2", 10, {"1": 90, "2": 10}),
        ([90, 10, 0], "3", 10, {"1": 81, "2": 9, "3": 10}),
        ([90, 10], "2", 100, {"1": 0, "2": 100}),
        ([90, 10], "1", 100, {"1": 100, "2": 0}),
        ([90, 10], "2", 10, {"1": 90, "2": 10}),
        # 33.66, 32.67 and 32.67 of 99: the two largest fractions get one more
        ([34, 33, 33, 0], "4", 1, {"1": 33, "2": 33, "3": 33, "4": 1}),
        ([100], "1", 10, {"1": 100}),
        ([0, 100], "2", 10, {"1": 0, "2": 100}),
    ],
)
def test_the_others_share_the_rest(before, one, traffic, after):
    assert split(on(*before), one, traffic) == after


@given(st.lists(st.integers(0, 100), min_size=1, max_size=6), st.integers(0, 100))
def test_every_split_is_of_a_hundred_and_in_proportion(parts, traffic):
    before = [Deployed("0", "new", 0)]
    before += [Deployed(str(i), "x", part) for i, part in enumerate(parts, 1)]
    after = split(before, "0", traffic)
    assert sum(after.values()) == 100
    assert set(after) == {one.id for one in before}
    total = sum(parts)
    assert after["0"] == (traffic if total else 100)
    for i, part in enumerate(parts, 1):
        exact = part * (100 - traffic) / total if total else 0
        assert abs(after[str(i)] - exact) < 1


def test_names_tell_digests():
    target = Target("p", "r", "e", "my-flights", "i", "m")
    name = target.model_name(A)
    assert Deployed.of("7", name, 3) == Deployed("7", name, 3, "my-flights", A)
    for other in ("flights", f"flights-{A[1:]}", f"-{A}x", A, f"flights-{A.upper()}"):
        assert Deployed.of("7", other, 3) == Deployed("7", other, 3)


def test_a_digest_is_found_where_it_has_the_most_traffic():
    twice = [Deployed("1", "x", 0, "f", A), Deployed("2", "x", 5, "f", A)]
    assert find(twice, A).id == "2"
    assert find(twice, B) is None


class TestIdle:
    def names(self, before, after, served):
        return [one.id for one in idle(before, after, "flights", served)]

    def test_the_one_before_stays(self):
        assert self.names(on(0, 100), on(0, 0, 100), C) == ["1"]

    def test_what_has_traffic_stays(self):
        assert self.names(on(50, 50), on(45, 45, 10), C) == []

    def test_what_was_pushed_without_traffic_stays(self):
        assert self.names(on(100), on(100, 0), B) == []

    def test_what_is_not_ours_stays(self):
        other = on(0, 100, pipeline="other")
        assert self.names(other, [*other[:1], *on(0, 0, 100)[1:]], C) == []
        plain = [Deployed("1", "by hand", 0), *on(0, 100)[1:]]
        assert self.names(plain, [*plain[:1], *on(0, 0, 100)[1:]], C) == []


def test_a_target_outlives_its_json():
    target = Target("p", "r", "e", "f", "i", "m", 10, 1, 3, "a@b", {"k": "v"})
    assert Target.from_json(target.to_json()) == target
