"""Spans and versions of paths: what matches, what is chosen, and TFX as an oracle."""

import datetime
import os

import pytest
from tfx.components.example_gen import utils
from tfx.dsl.input_resolution.ops import ops_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2, range_config_pb2
from tfx.types import standard_artifacts

from components.errors import DataError
from components.source_manifest import listing, spans

DAY = "/d/{YYYY}-{MM}-{DD}/x"


@pytest.mark.parametrize(
    ("pattern", "path", "span", "version"),
    [
        ("/d/{SPAN}/x", "/d/7/x", 7, 0),
        ("/d/{SPAN}/x", "/d/007/x", 7, 0),
        ("/d/{SPAN}/x", "/d/123456789012345678901/x", 123456789012345678901, 0),
        ("/d/{SPAN}/x", "/d/7b/x", None, 0),
        ("/d/{SPAN}/x", "/d//x", None, 0),
        ("/d/{SPAN}/x", "/d/-7/x", None, 0),
        ("/d/{SPAN}/x", "/d/٧/x", None, 0),
        ("/d/{SPAN}/x", "/d/1/2/x", None, 0),
        ("/d/{SPAN}/x", "/e/d/1/x", None, 0),
        ("/d/s{SPAN:2}.csv", "/d/s07.csv", 7, 0),
        ("/d/s{SPAN:2}.csv", "/d/s7.csv", None, 0),
        ("/d/s{SPAN:2}.csv", "/d/s107.csv", None, 0),
        ("/d/s{SPAN}/v{VERSION}.csv", "/d/s1/v12.csv", 1, 12),
        ("/d/s{SPAN}/v{VERSION}.csv", "/d/s1/v.csv", None, 0),
        ("/d/{SPAN:2}{VERSION:3}.csv", "/d/01002.csv", 1, 2),
        ("/d/{SPAN}{VERSION:3}.csv", "/d/123002.csv", 123, 2),
        ("/d/v{VERSION}/s{SPAN}", "/d/v3/s4", 4, 3),
        (DAY, "/d/2024-02-29/x", "2024-02-29", 0),
        (DAY, "/d/2023-02-29/x", None, 0),
        (DAY, "/d/2024-13-45/x", None, 0),
        (DAY, "/d/0000-01-01/x", None, 0),
        (DAY, "/d/2024-3-1/x", None, 0),
        ("/d/{DD}.{MM}.{YYYY}", "/d/01.03.2024", "2024-03-01", 0),
        ("/d/{YYYY}{MM}{DD}{VERSION}", "/d/202403015", "2024-03-01", 5),
        # What stands beside them: wildcards, and characters that regular
        # expressions have a meaning for.
        ("/d/*{SPAN}.csv", "/d/part12.csv", 12, 0),
        ("/d/*-{SPAN}.csv", "/d/1-2-3.csv", 3, 0),
        ("/d/{SPAN}*", "/d/12b", 12, 0),
        ("/d/**/{SPAN}.csv", "/d/12.csv", 12, 0),
        ("/d/**/{SPAN}.csv", "/d/a/b/12.csv", 12, 0),
        ("/d/*/{SPAN}.csv", "/d/a/b/12.csv", None, 0),
        ("/d/?{SPAN}.csv", "/d/12.csv", 2, 0),
        ("/d/[!a-c]{SPAN}", "/d/e1", 1, 0),
        ("/d/[!a-c]{SPAN}", "/d/b1", None, 0),
        ("/d/[]^x]{SPAN}", "/d/^1", 1, 0),
        ("/d/[[]1][*]/{SPAN}", "/d/[1]*/2", 2, 0),
        ("/d/[{]SPAN}/{SPAN}", "/d/{SPAN}/2", 2, 0),
        ("/d/a b+(c).$|\\/{SPAN}", "/d/a b+(c).$|\\/2", 2, 0),
        ("/d/a.b/{SPAN}", "/d/aXb/2", None, 0),
        ("s3://b/{SPAN}/x.csv", "s3://b/3/x.csv", 3, 0),
    ],
)
def test_what_matches(pattern, path, span, version):
    match = spans.parse(pattern).match(path)
    assert (match and match.span) == span
    assert match is None or (match.version, match.below) == (version, "")


def test_what_lies_below_a_folder():
    match = spans.parse("/d/{YYYY}/{MM}/{DD}").match("/d/2024/03/01/k=v/x.csv")
    assert (match.span, match.below) == ("2024-03-01", "k=v/x.csv")


@pytest.mark.parametrize("text", ["/d/x", "/d/*/x", "/d/[{]SPAN}", "/d/}"])
def test_no_spans(text):
    assert spans.parse(text) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{HH}", "holds {HH}; a path may hold {SPAN}, {VERSION}, "),
        ("{span}", "holds {span}; a path may hold"),
        ("{SPAN", "holds {SPAN; a path may hold"),
        ("{}", "holds {}; a path may hold"),
        ("{MM:2}", "holds {MM:2}; a path may hold"),
        ("{SPAN:}", "holds {SPAN:}, of which the width is no whole number from 1"),
        ("{SPAN:0}", "write {SPAN:2} for two digits"),
        ("{SPAN}/{VERSION:x}", "write {VERSION:2} for two digits"),
        ("{SPAN}/{SPAN:2}", "holds {SPAN} twice; each stands once, so write * for"),
        ("{YYYY}-{MM}-{DD}/{YYYY}", "holds {YYYY} twice"),
        ("{SPAN}/{VERSION}{VERSION}", "holds {VERSION} twice"),
        ("{SPAN}/{YYYY}", "holds {SPAN} beside {YYYY}; a span is a number or a day"),
        ("{MM}", "holds {MM} without {YYYY} and {DD}; a span by date is a day, so add"),
        ("{YYYY}/{DD}", "holds {YYYY} without {MM}; "),
        ("v{VERSION}", "holds {VERSION} without a span; add {SPAN}, or {YYYY}, {MM}"),
        ("{SPAN}{VERSION}", "holds {SPAN}{VERSION} with nothing between them; give"),
        ("[z-a]{SPAN}", "of which a part in [...] is no set of characters"),
    ],
)
def test_refuses(text, said):
    with pytest.raises(ValueError) as error:
        spans.parse(text)
    assert str(error.value).startswith(said) or said in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ({}, [9]),
        ({"skip": 1}, [7]),
        ({"last": 2}, [7, 9]),
        ({"last": 2, "skip": 1}, [5, 7]),
        ({"last": 100}, [1, 3, 5, 7, 9]),
        ({"skip": 5}, []),
        ({"skip": 6}, []),
        ({"from": 3, "to": 7}, [3, 5, 7]),
        ({"from": 4, "to": 6}, [5]),
        ({"from": 6}, [7, 9]),
        ({"to": 6}, [1, 3, 5]),
        ({"from": 10}, []),
        ({"from": 6, "last": 100}, [7, 9]),
        ({"to": 6, "last": 1, "skip": 1}, [3]),
    ],
)
def test_choose(wanted, chosen):
    assert spans.choose([9, 1, 7, 3, 5, 9], wanted) == chosen
    days = {n: f"2024-03-0{n}" for n in range(10)} | {10: "2024-03-10"}
    ends = {k: days[v] for k, v in wanted.items() if k in ("from", "to")}
    by_day = spans.choose([days[n] for n in (9, 1, 7, 3, 5)], wanted | ends)
    assert by_day == [days[n] for n in chosen]


def newest(pattern, paths, chosen):
    parsed = spans.parse(pattern)
    found = {path: parsed.match(path) for path in paths}
    return spans.newest({p: m for p, m in found.items() if m}, chosen)


def test_the_newest_version_of_each_span_by_number():
    paths = [f"{s}/{v}/{n}" for s, v in ((1, 2), (1, 10), (2, 1)) for n in "ab"]
    taken = newest("{SPAN}/{VERSION}/*", paths, [1, 2])
    assert taken == {"1/10/a": 1, "1/10/b": 1, "2/1/a": 2, "2/1/b": 2}


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["1/1", "01/2"], "span 1 is written both '01' and '1', in 01/2 and in 1/1"),
        (["1/1", "1/01"], "version 1 of span 1 is written both '01' and '1'"),
    ],
)
def test_one_span_written_in_two_ways(paths, said):
    with pytest.raises(DataError, match=said):
        newest("{SPAN}/{VERSION}", paths, [1])


def test_two_ways_that_do_no_harm():
    paths = ["1/1", "1/01", "1/2", "5/1", "05/1"]
    assert newest("{SPAN}/{VERSION}", paths, [1]) == {"1/2": 1}


@pytest.mark.parametrize(
    ("found", "last", "said"),
    [
        ([], 7, ""),
        ([7], None, "span 7"),
        ([7], 1, "span 7"),
        ([3, 5, 4, 4], None, "spans 3 to 5"),
        ([3, 5], 2, "2 spans from 3 to 5"),
        (["2024-02-29", "2024-03-01"], 7, "spans 2024-02-29 to 2024-03-01 (7 asked"),
    ],
)
def test_tell(found, last, said):
    assert spans.tell(found, last).startswith(said)


EPOCH = datetime.date(1970, 1, 1)


class TestAsTfx:
    """TFX resolves the same folder."""

    @pytest.mark.parametrize(
        ("pattern", "paths"),
        [
            ("s{SPAN}/x*", ["s1/x", "s2/xa", "s2/xb", "s10/x", "s10/y", "s3/x"]),
            ("s{SPAN:2}/x*", ["s01/x", "s02/xa", "s10/xb"]),
            ("s{SPAN}/v{VERSION}/*", ["s9/v3/a", "s10/v2/a", "s10/v10/b", "s10/v9/c"]),
            ("s{SPAN}/{VERSION:3}.csv", ["s1/002.csv", "s2/001.csv", "s2/010.csv"]),
            ("{YYYY}-{MM}-{DD}/*", ["2024-02-29/a", "2024-03-01/b", "2023-12-31/c"]),
            ("{YYYY}/{MM}/{DD}/*", ["2024/02/29/a", "2023/12/31/a"]),
            ("{DD}{MM}{YYYY}/v{VERSION}/a", ["01032024/v1/a", "01032024/v2/a"]),
            ("a (1)+/{SPAN}-*.csv", ["a (1)+/1-a.csv", "a (1)+/2-a.csv"]),
        ],
    )
    def test_the_newest(self, tmp_path, pattern, paths):
        write(tmp_path, paths)
        files = resolved(tmp_path, pattern, {})
        assert oracle(tmp_path, pattern) == described(tmp_path, pattern, files)

    @pytest.mark.parametrize("span", [1, 2])
    def test_a_static_range_of_one(self, tmp_path, span):
        pattern = "s{SPAN:3}/v{VERSION}/*"
        paths = [f"s00{s}/v{v}/{n}" for s in (1, 2, 3) for v in (1, 2) for n in "ab"]
        write(tmp_path, paths)
        files = resolved(tmp_path, pattern, {"from": span, "to": span})
        static = {"start_span_number": span, "end_span_number": span}
        asked = range_config_pb2.RangeConfig(static_range=static)
        expected = oracle(tmp_path, pattern, asked)
        assert expected == described(tmp_path, pattern, files)
        assert expected[0] == span

    @pytest.mark.parametrize("last", [1, 2, 9])
    @pytest.mark.parametrize("skip", [0, 1, 3, 9])
    @pytest.mark.parametrize("start", [0, 3, 9])
    def test_a_rolling_range(self, last, skip, start):
        there = [1, 2, 3, 5, 8]
        artifacts = []
        for span in there:
            artifact = standard_artifacts.Examples()
            artifact.span, artifact.version = span, 0
            artifacts.append(artifact)
        kept = ops_utils.filter_artifacts_by_span(
            artifacts, span_descending=True, n=last, skip_last_n=skip, min_span=start
        )
        wanted = {"last": last, "skip": skip, "from": start}
        assert sorted(a.span for a in kept) == spans.choose(there, wanted)


def write(folder, paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def resolved(folder, pattern, wanted):
    return listing.build_manifest(
        [
            {
                "environment": "A",
                "format": "csv",
                "patterns": [os.path.join(str(folder), pattern)],
                "held_out": False,
                "spans": wanted,
            }
        ]
    )


def oracle(folder, pattern, asked=None):
    """Span, version and files that TFX's ExampleGen takes."""
    split = example_gen_pb2.Input.Split(name="all", pattern=pattern)
    _, span, version = utils.calculate_splits_fingerprint_span_and_version(
        str(folder), [split], asked
    )
    files = fileio.glob(os.path.join(str(folder), split.pattern))
    return span, version, sorted(files)


def described(folder, pattern, files):
    """The same of our files."""
    (span,) = {file.span for file in files}
    parsed = spans.parse(os.path.join(str(folder), pattern))
    (version,) = {parsed.match(file.path).version for file in files}
    if isinstance(span, str):
        span = (datetime.date.fromisoformat(span) - EPOCH).days
    version = version if "{VERSION" in pattern else None
    return span, version, [file.path for file in files]


class TestUpTo:
    """What a parameter of a run changes."""

    NUMBERED = {"patterns": ["/d/{SPAN}/x"], "spans": {"last": 3, "skip": 1}}
    DATED = {"patterns": [DAY], "spans": {}}
    PLAIN = {"patterns": ["/d/x"]}

    @pytest.mark.parametrize("text", [None, ""])
    def test_nothing_leaves_them_alone(self, text):
        given = [self.NUMBERED, self.DATED, self.PLAIN]
        assert spans.up_to(given, text) == given

    def test_the_newest_is_the_one_that_is_named(self):
        numbered, dated, plain = spans.up_to(
            [self.NUMBERED, self.DATED, self.PLAIN], "7"
        )
        assert spans.choose(range(20), numbered["spans"]) == [5, 6, 7]
        assert (dated, plain) == (self.DATED, self.PLAIN)

    def test_a_day(self):
        (dated,) = spans.up_to([self.DATED], "2024-03-01")
        there = ["2024-02-28", "2024-03-01", "2024-03-02"]
        assert spans.choose(there, dated["spans"]) == ["2024-03-01"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("yesterday", "give the number of a span, such as 7, or a day"),
            ("2023-02-29", "give the number of a span"),
            ("2024-03-01", "no source has spans that are days; leave it empty"),
            ("٧", "give the number of a span"),
        ],
    )
    def test_mistakes(self, text, said):
        with pytest.raises(DataError, match=said):
            spans.up_to([self.NUMBERED, self.PLAIN], text)
