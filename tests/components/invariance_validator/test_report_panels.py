"""The numbers of the report's tables, from formulas of their own."""

import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from components.evaluator.results import Estimate
from components.invariance_validator import (
    beside,
    changed,
    lineage,
    loaded,
    matrix,
    report,
    slice_rows,
    strips,
)
from components.invariance_validator.decision import decide
from components.invariance_validator.record import decision_record
from tests.components.invariance_validator import reports

BLOCKS = 20
SCRIPT = "<script>alert(1)</script>"


def symmetric(value, error, pattern):
    """An estimate whose blocks scatter without skewness, and its replicates' error."""
    deviations = np.asarray(pattern, float)
    squares = (BLOCKS - 1) / BLOCKS * np.sum((deviations - deviations.mean()) ** 2)
    return Estimate(value, value + deviations * error / math.sqrt(squares))


ALTERNATING = [1, -1] * (BLOCKS // 2)
HALVES = [1] * (BLOCKS // 2) + [-1] * (BLOCKS // 2)


def jackknife(difference, confidence=0.95):
    """Half width of a two-sided t interval from replicates without skewness."""
    k = len(difference)
    error = math.sqrt((k - 1) / k * np.sum((difference - difference.mean()) ** 2))
    return stats.t.ppf((1 + confidence) / 2, k - 1) * error


def environment(make, name, split="eval", **metrics):
    return make.result([("environment", name)], split, **metrics)


def test_gaps_are_differences_of_replicates(make):
    one = symmetric(0.70, 0.01, ALTERNATING)
    other = symmetric(0.66, 0.02, HALVES)
    results = [
        environment(make, "EWR", auc=one),
        environment(make, "LGA", "ood", auc=other),
    ]
    decision = decide(results, {}, {"gap": {"auc": {"max": 0.05}}})
    (found,) = matrix.matrices(decision, results)
    assert found.names == ["EWR", "LGA (held out)"]
    assert found.bound == 0.05 and found.spelled
    half = jackknife(one.replicates - other.replicates)
    for i, j, sign in ((0, 1, 1), (1, 0, -1)):
        cell = found.rows[i][j]
        assert cell.value == pytest.approx(sign * 0.04)
        expected = sorted([sign * 0.04 - half, sign * 0.04 + half])
        assert cell.interval == pytest.approx(expected, abs=1e-12)
        assert cell.apart == (half < 0.04)
        assert cell.text == ("+0.040" if sign > 0 else "−0.040")
    assert found.rows[0][0] is found.rows[1][1] is None


@pytest.mark.parametrize(("gap", "apart"), [(0.001, False), (0.3, True)])
def test_a_gap_is_marked_where_its_interval_excludes_0(make, gap, apart):
    results = [
        environment(make, "a", auc=symmetric(0.6, 0.01, ALTERNATING)),
        environment(make, "b", auc=symmetric(0.6 + gap, 0.01, HALVES)),
    ]
    decision = decide(results, {}, {"gap": {"auc": {"max": 0.05}}})
    text = page_of(report.Material(decision, results, {}))
    assert cells(text).count("*") == 2 * apart


def test_a_cell_without_a_number_is_a_dash(make):
    results = [
        environment(make, "a", auc=0.7),
        environment(make, "b", auc=float("nan")),
        environment(make, "c", auc=Estimate(0.6, np.full(BLOCKS, 0.6))),
    ]
    decision = decide(results, {}, {"gap": {"auc": {"max": 0.05}}})
    (found,) = matrix.matrices(decision, results)
    undefined = found.rows[0][1]
    assert (undefined.text, undefined.interval, undefined.apart) == ("–", None, False)
    assert undefined.color == "#ffffff"
    text = page_of(report.Material(decision, results, {}))
    assert "nan" not in cells(text).lower()


def test_of_fifty_environments_the_most_extreme_are_drawn(make):
    results = [
        environment(make, f"s{i}", auc=0.6 + 0.004 * ((7 * i) % 50)) for i in range(50)
    ]
    decision = decide(results, {}, {"gap": {"auc": {"max": 0.05}}})
    (found,) = matrix.matrices(decision, results)
    ranks = sorted((7 * int(name[1:])) % 50 for name in found.names)
    half = matrix.MOST // 2
    assert ranks == [*range(half), *range(50 - half, 50)]
    assert (found.total, found.spelled) == (50, False)


def pairs(make, changes):
    """Results of both models; each change has a spread without skewness."""
    found = []
    for name, change in changes.items():
        base = symmetric(0.7, 0.02, HALVES)
        moved = symmetric(0.0, 0.01, ALTERNATING).replicates
        candidate = Estimate(0.7 + change, base.replicates + change + moved)
        found.append(environment(make, name, auc=candidate))
        found.append(environment(make, name, auc=base, model="baseline"))
    return found


def test_changes_are_paired_and_the_worst_comes_first(make):
    results = pairs(make, {"a": 0.01, "b": -0.03, "c": -0.001})
    checks = {"baseline": {"auc": {"max_drop": 0.01, "over": "environment"}}}
    (found,) = beside.changes(decide(results, {}, checks), results, 100)
    rows = found.table.rows
    assert [row.name[-1] for row in rows] == ["b", "c", "a"]
    half = jackknife(symmetric(0.0, 0.01, ALTERNATING).replicates)
    for row, change in zip(rows, (-0.03, -0.001, 0.01), strict=True):
        assert row.value == pytest.approx(change)
        assert row.interval == pytest.approx([change - half, change + half], abs=1e-9)
        assert row.more[1] == ("0.700", "0.7")
        assert float(row.more[0][1]) == pytest.approx(0.7 + change)
    limit = stats.t.ppf(0.95, BLOCKS - 1) * 0.01
    assert [row.verdict == "PASS" for row in rows] == [
        change - limit >= -0.01 for change in (-0.03, -0.001, 0.01)
    ]


def test_of_a_loss_the_largest_rise_is_the_worst(make):
    results = []
    for name, loss in (("a", 0.4), ("b", 0.6)):
        results.append(environment(make, name, log_loss=loss))
        results.append(environment(make, name, log_loss=0.5, model="baseline"))
    checks = {"worst": {"log_loss": {"max": 0.9, "over": "environment"}}}
    (found,) = beside.changes(decide(results, {}, checks), results, 100)
    assert [row.name for row in found.table.rows] == ["environment=b", "environment=a"]


def test_a_change_on_other_examples_is_none(make):
    results = [
        environment(make, "a", auc=0.7),
        make.result([("environment", "a")], "eval", 999, auc=0.7, model="baseline"),
        environment(make, "b", auc=0.7),
        make.result(
            [("environment", "b")],
            model="baseline",
            auc=Estimate(0.7, np.full(BLOCKS + 1, 0.7)),
        ),
    ]
    checks = {"worst": {"auc": {"min": 0.6, "over": "environment"}}}
    (found,) = beside.changes(decide(results, {}, checks), results, 100)
    assert all(
        math.isnan(row.value) and row.interval is None for row in found.table.rows
    )


def test_without_a_released_model_it_says_so(make):
    results = [environment(make, "a", auc=0.7), environment(make, "b", auc=0.7)]
    checks = {"worst": {"auc": {"min": 0.6, "over": "environment"}}}
    decision = decide(results, {}, checks)
    assert beside.changes(decision, results, 100) == []
    text = page_of(report.Material(decision, results, {}))
    assert text.count("There is no released model yet.") == 2


def test_rows_are_the_slices_worst_first_and_one_that_is_missing(make):
    results = [
        environment(make, "good", auc=0.8),
        environment(make, "bad", auc=0.5),
        environment(make, "undefined", auc=float("nan")),
        make.result("carrier=UA", auc=0.1),
    ]
    counts = make.counts(good=1000, bad=1000, undefined=1000, gone=1000)
    checks = {"worst": {"auc": {"min": 0.65, "over": "environment"}}}
    decision = decide(results, counts, checks)
    found = slice_rows.table("auc", decision, results)
    names = [(row.name.split("=")[1], row.verdict) for row in found.rows]
    assert sorted(names[:2]) == [("gone", "FAIL"), ("undefined", "FAIL")]
    assert names[2:] == [("bad", "FAIL"), ("UA", None), ("good", "PASS")]
    assert all(math.isnan(row.value) for row in found.rows[:2])
    assert [row.by for row in found.rows[2:]] == ["environment", "carrier"] + [
        "environment"
    ]
    capped = slice_rows.table("auc", decision, results, 2)
    assert [row.name for row in capped.rows] == [row.name for row in found.rows[:2]]
    assert capped.total == 5


def test_a_strip_has_its_value_where_the_scale_says():
    on = strips.scale([0.5, 1.0], [None, (0.75, 1.0)])
    assert (on.low, on.high) == (0.5, 1.0)
    middle = strips.WIDTH / 2
    assert on.x(0.75) == pytest.approx(middle)
    drawn = ElementTree.fromstring(strips.strip(0.75, (0.5, 1.0), "PASS", on, [0.75]))
    paths = {path.get("class"): path.get("d") for path in drawn}
    assert paths["m"].startswith(f"M{middle:g} 0")
    start, end = map(float, re.findall(r"M([\d.]+) 7H([\d.]+)", paths["i"])[0])
    assert (start + end) / 2 == pytest.approx(middle) and end > start
    assert drawn.get("aria-hidden") == "true"  # the row has it in numbers


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([], []),
        ([math.nan], [None]),
        ([0.3], [None]),
        ([0.0, 0.1], [(-math.inf, 5.0), (0.0, math.inf)]),
    ],
)
def test_a_scale_is_finite_whatever_is_drawn(values, ends):
    on = strips.scale(values, ends)
    assert math.isfinite(on.low) and on.low < on.high < math.inf
    if len(values) > 1:  # no end beyond twice the values' range counts
        assert (on.low, on.high) == pytest.approx((0.0, 0.3))
    for value, interval in zip(values, ends, strict=True):
        text = strips.strip(value, interval, None, on)
        assert "nan" not in text and "inf" not in text


def test_what_changed_is_told_and_what_did_not_is_counted():
    then = {
        "format": 1,
        "verdict": "PASS",
        "checks": [
            {"name": "worst.auc", "verdict": "PASS", "value": 0.7, "slice": "e=a"}
            | {"split": "eval"},
            {"name": "old", "verdict": "PASS", "value": None},
        ],
        "settings": {"checks": {"worst": {"auc": {"min": 0.6}}}},
        "context": {"method": "erm", "versions": {"tfx": "1.16.0", "keras": "3"}},
        "environments": {"a": {"eval": 1000}, "b": {"ood": 5}},
        "model_digest": "a",
        "examples_fingerprint": None,
    }
    now = json.loads(json.dumps(then))
    now["checks"] = [{"name": "worst.auc", "verdict": "FAIL", "value": 0.5}]
    now["settings"]["checks"]["worst"]["auc"]["min"] = 0.65
    now["context"]["versions"]["tfx"] = "1.21.0"
    now["environments"] = {"a": {"eval": 1500}}
    now["model_digest"] = "b"
    found = changed.compare(then, now)
    assert sorted(found.rows) == sorted(
        [
            ("model digest", "a", "b"),
            ("versions.tfx", "1.16.0", "1.21.0"),
            ("checks.worst.auc.min", "0.6", "0.65"),
            ("examples of a, eval", "1,000", "1,500"),
            ("examples of b, ood", "5", "–"),
        ]
    )
    # The two other digests, method and keras.
    assert (found.same, found.more, found.same_model) == (4, 0, False)
    assert [(c.name, c.before, c.after) for c in found.checks] == [
        ("worst.auc", "PASS", "FAIL"),
        ("old", "PASS", None),
    ]
    assert found.checks[0].value_before == "0.700 (e=a, eval)"
    assert found.checks[0].value_after == "0.500"
    assert found.checks[1].value_before == found.checks[1].value_after == "–"


def test_a_run_is_like_itself():
    run = {"format": 1, "verdict": "PASS", "context": {"a": [1, [2, 3]], "b": None}}
    run |= {"model_digest": "a" * 32}
    found = changed.compare(run, run)
    assert (found.rows, found.same_model) == ([], True)


@pytest.mark.parametrize("then", [None, [], {}, {"format": 2, "checks": "?"}])
def test_a_run_that_left_nothing_legible_is_none(then):
    assert changed.compare(then, {"format": 1}) is None


def test_the_load_check_is_drawn_with_its_bounds():
    found = loaded.shown(reports.LOAD_CHECK)
    assert not found["fit"]
    assert found["problems"][0].startswith("The model takes 1,200 ms to answer")
    assert ("time to load", "2.5 s", "≤ 120 s") in found["rows"]
    latency = next(row for row in found["rows"] if row[0].startswith("latency of 1 "))
    assert latency[1:] == ("3.25 ms and 1,200 ms", "≤ 1,000 ms")
    assert ("memory at most", "812 MiB", "≤ 4,096 MiB") in found["rows"]
    assert loaded.shown(None) is None
    crashed = {"blessed": False, "problems": ["cannot be served"], "latency_ms": None}
    assert loaded.shown(crashed)["rows"][0] == ("time to load", "–", "")


@pytest.mark.parametrize("fit", [True, False])
def test_a_model_that_cannot_be_served_is_not_called_fit_for_release(make, fit):
    results = [environment(make, "a", auc=0.9), environment(make, "b", auc=0.9)]
    checks = {"worst": {"auc": {"min": 0.6, "over": "environment"}}}
    record = {**reports.LOAD_CHECK, "blessed": fit}
    record |= {"problems": []} if fit else {}
    material = report.Material(
        decide(results, {}, checks), results, {}, load_check=record
    )
    text = re.sub(r"\s+", " ", page_of(material))
    assert ("This model may be released" in text) == fit
    assert ("the load check refuses it. Not to be released" in text) != fit


def test_nested_settings_are_told_by_path():
    given = {"slices": [[], ["a"], ["a", "b"]], "card": {"use": "x", "none": None}}
    given |= {"sources": [{"name": "n"}, {"name": "m"}], "empty": []}
    assert dict(changed.flattened("", given)) == {
        "slices": "overall, a, a × b",
        "card.use": "x",
        "sources.1.name": "n",
        "sources.2.name": "m",
    }


def test_lineage_has_every_digest_and_version():
    found = dict(
        lineage.facts(
            {"model": "m (id 1)"},
            {"examples_fingerprint": "e", "model_digest": "m", "validator": None}
            | {"checks_fingerprint": "k", "of no interest": "x"},
            {"config": "c", "code": "d", "versions": {"tfx": "1"}, "method": "erm"},
        )
    )
    assert dict(found["Digests"]) == {
        "data (examples)": "e",
        "model": "m",
        "checks": "k",
        "config": "c",
        "code of the training": "d",
    }
    assert found["Versions"] == [("tfx", "1")]
    assert found["Artifacts"] == [("model", "m (id 1)")]
    assert found["Settings"] == [("method", "erm")]


def page_of(material):
    """The page's text; well-formed, and with no script but ours."""
    html = report.render(material)
    root = ElementTree.fromstring(html)
    assert len(list(root.iter("script"))) == 1
    return "".join(
        text for body in root.iter("main") for text in body.itertext() if text.strip()
    )


def cells(text):
    """The text of the gap matrices."""
    inside = text.split("Gaps between environments")[1].split("Candidate beside")[0]
    return inside.partition("the checks decide, not the stars.")[2]


def test_whatever_the_new_panels_show_of_data_is_text(make):
    results = pairs(make, {SCRIPT: -0.1, "b": 0.0})
    decision = decide(results, {}, {"gap": {"auc": {"max": 0.05}}})
    context = {"name": SCRIPT, "versions": {SCRIPT: SCRIPT}, SCRIPT: [{SCRIPT: SCRIPT}]}
    kept = decision_record(decision, results, make.counts(**{SCRIPT: 10}), context)
    then = changed.reference(kept, {"checks": {SCRIPT: SCRIPT}})
    then["checks"][0] |= {"name": SCRIPT, "verdict": SCRIPT, "slice": SCRIPT}
    problem = {**reports.LOAD_CHECK, "problems": [SCRIPT], "signatures": [SCRIPT]}
    problem |= {"compared": [SCRIPT], "tensorflow": SCRIPT, "latency_ms": {SCRIPT: [1]}}
    material = report.Material(
        decision,
        results,
        {},
        context,
        lineage={SCRIPT: SCRIPT},
        digests={"model_digest": SCRIPT},
        load_check=problem,
        changes=changed.compare(then, changed.reference(kept, {})),
    )
    assert page_of(material).count(SCRIPT) > 20


def test_with_a_released_model_two_hundred_values_stay_small(make):
    places = [(f"site {i:02d}", "ood" if i < 5 else "eval") for i in range(50)]
    values = [f"group {i:03d}" for i in range(200)]
    html = report.render(reports.material(make, places, values))
    assert len(html.encode()) < 5_000_000
    root = ElementTree.fromstring(html)
    tables = [t for t in root.iter("table") if "filterable" in t.get("class", "")]
    for table in tables:  # three metrics, two of them beside the baseline, and all
        assert len(list(table.find("tbody"))) == 2 + 50 + 400
    assert len(tables) == 6


def test_more_slices_than_a_page_can_hold_are_cut_from_the_good_end(make):
    results = [make.result([("carrier", f"c{i}")], auc=0.6 + i / 1e4) for i in range(9)]
    checks = {"worst": {"auc": {"min": 0.5, "over": "carrier"}}}
    found = slice_rows.table("auc", decide(results, {}, checks), results, 4)
    assert [row.name for row in found.rows] == [f"carrier=c{i}" for i in range(4)]
    for tables in (1, 7, 100):
        assert tables * slice_rows.most_rows(tables) <= max(4_000, 600)
