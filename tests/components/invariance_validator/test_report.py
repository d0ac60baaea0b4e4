import base64
import dataclasses
import hashlib
import json
import re
from xml.etree import ElementTree

import pytest

from components import pages
from components.evaluator.results import Estimate
from components.invariance_validator import report
from components.invariance_validator.decision import decide
from components.invariance_validator.record import decision_record, to_json
from tests.components.invariance_validator import reports

CHECKS = {
    "worst": {"auc": {"min": 0.65}, "log_loss": {"max": 0.6}},
    "gap": {"auc": {"max": 0.05, "over": "environment"}},
    "calibration_slope": {"min": 0.8, "max": 1.25, "over": "environment"},
    "baseline": {"auc": {"max_drop": 0.01}},
}
EVIL = [
    "<script>alert(1)</script>",
    "</svg><img src=x onerror=alert(1)>",
    "$x_1$ \\frac{1}{2}",
    "{{ 7 * 7 }} {% raw %}",
    "a\"b'c&amp;",
    "\x00\x1b\ud800",
    "_hidden",
    "日本",
    "x" * 300,
]
HISTORY = {
    "steps": [0, 50, 100],
    "penalty": [1e-2, 1e-3, 1e-5],
    "weight": [0.0, 0.0, 100.0],
    "risk": {"EWR": [0.7, 0.6, 0.5], "JFK": [0.7, None, 0.5]},
    "eval_steps": [0, 100],
    "eval_risk": {"EWR": [0.7, 0.55], "JFK": [0.7, float("nan")]},
    "method": "v_rex",
    "device": "CPU",
}


def environments(make, names, baseline=False, bad=()):
    """A result of each (name, split) and model; those named in `bad` are poor."""
    return [
        make.result(
            [("environment", name)],
            split,
            model=model,
            bins=make.curve(),
            auc=0.5 if name in bad else 0.7,
            log_loss=0.5,
            calibration=1.02,
            calibration_slope=0.95,
        )
        for model in ["candidate", "baseline"][: 1 + baseline]
        for name, split in names
    ]


def page(make, names, checks=None, context=None, history=None, **kwargs):
    results = environments(make, names, **kwargs)
    counts = {
        "environments": {
            name: {
                "held_out": split == "ood",
                "splits": {split: {"examples": 1000, "positives": 250}},
                "dropped": {"no_label": 3708},
            }
            for name, split in names
        },
        "slices": {"eval": {'["carrier"]': [[["OO"], 6]]}},
        "missing": {"temp": 1573},
        "bad_rows": {"jfk.csv": {"rows": 4, "unit": "line", "first": [17, 90, 1091]}},
        "left_out": 1234,
    }
    decision = decide(results, counts, checks or OVER_ENVIRONMENTS)
    material = report.Material(
        decision,
        results,
        counts,
        context or {"name": "flights"},
        history,
        {"model": "m"},
    )
    return report.render(material), material


OVER_ENVIRONMENTS = {
    "worst": {"auc": {"min": 0.65, "over": "environment"}},
    "gap": {"auc": {"max": 0.05, "over": "environment"}},
    "calibration_slope": {"min": 0.8, "max": 1.25, "over": "environment"},
    "baseline": {"auc": {"max_drop": 0.01, "over": "environment"}},
}
FLIGHTS = [("EWR", "eval"), ("JFK", "eval"), ("LGA", "ood")]


def parsed(html):
    """The page as XML, which is stricter than HTML: every tag must close."""
    assert html.startswith("<!DOCTYPE html>")
    return ElementTree.fromstring(html)


def text_of(element):
    return re.sub(r"\s+", " ", "".join(element.itertext())).replace("\u00a0", " ")


def test_the_page_is_well_formed_and_has_every_section(make):
    html, _ = page(make, FLIGHTS, history=HISTORY, baseline=True)
    root = parsed(html)
    sections = [section.get("id") for section in root.iter("section")]
    assert sections == [
        "verdict",
        "checks",
        "metrics",
        "gaps",
        "baseline",
        "changes",
        "calibration",
        "training",
        "load",
        "data",
        "lineage",
    ]
    figures = {
        section.get("id"): len(list(section.iter("figure")))
        for section in root.iter("section")
    }
    assert figures["metrics"] >= 4  # auc, its gap, its change, the slope
    assert figures["calibration"] == 3
    assert figures["training"] == 3
    text = text_of(root)
    for words in (
        "3,708",
        "temp 1,573",
        "4 of jfk.csv (lines 17, 90, 1,091, ...)",
        "left out: 1,234",
        "OO (6)",
        "25.0 % positive",
        "held out",
        "v_rex",
    ):
        assert words in text


def test_verdict_and_reasons_stand_on_top(make):
    html, material = page(make, FLIGHTS, bad=["LGA"])
    root = parsed(html)
    top = next(root.iter("section"))
    words = text_of(top)
    assert words.strip().startswith("Fail")
    assert "not to be released" in words
    for check in material.decision.checks:
        assert check.reason in words


def test_what_stops_the_release_comes_first(make):
    """FAIL, then what is not settled, then the rest, whatever the config's order."""
    _, material = page(make, FLIGHTS, bad=["LGA"])
    material = dataclasses.replace(material, load_check=reports.LOAD_CHECK)
    html = report.render(material)
    (reasons,) = (e for e in parsed(html).iter("ul") if e.get("class", "") == "reasons")
    words = [text_of(item[0]).strip() for item in reasons]
    assert {"Fail", "Pass"} <= set(words)
    assert words == sorted(words)  # Fail, Insufficient data, Pass
    names = [text_of(list(item.iter("code"))[0]) for item in reasons]
    checks = [check.name for check in material.decision.checks]
    assert sorted(names) == sorted([*checks, "load_check"])
    assert "load_check" in names[: words.count("Fail")]
    banner = next(e for e in parsed(html).iter("div") if "banner" in e.get("class", ""))
    assert "and the load check refuses it. This model is not to be" in text_of(banner)


def test_the_head_names_the_model(make):
    _, material = page(make, FLIGHTS)
    material = dataclasses.replace(material, digests={"model_digest": "a" * 32})
    html = report.render(material)
    head = next(e for e in parsed(html).iter("header"))
    assert f"model {'a' * 32}" in " ".join(text_of(head).split())


@pytest.mark.parametrize(
    ("bad", "word", "promise"),
    [((), "Pass", "may be released"), (("LGA",), "Fail", "not to be released")],
)
def test_the_banner_says_it_in_a_word(make, bad, word, promise):
    root = parsed(page(make, FLIGHTS, bad=bad)[0])
    banner = next(e for e in root.iter("div") if "banner" in e.get("class", ""))
    assert text_of(banner).split() == [word, *text_of(banner).split()[1:]]
    assert promise in text_of(banner)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0.5, "worst.auc is not shown and let pass all the same."),
        (0.001, "worst.auc might have ended without enough data."),
    ],
)
def test_what_is_let_pass_without_data_is_said_in_red(make, error, words):
    results = [make.result("environment=EWR", auc=(0.7, error), log_loss=0.5)]
    checks = {
        "worst": {
            "auc": {"min": 0.65, "over": "environment"},
            "log_loss": {"max": 0.6, "over": "environment"},
        }
    }
    for allowed in ([], ["worst.auc"]):
        decision = decide(results, {}, checks, {"allow_insufficient": allowed})
        html = report.render(report.Material(decision, results, {}, {}, None, {}))
        waived = [e for e in parsed(html).iter("p") if "waived" in e.get("class", "")]
        assert len(waived) == len(allowed)
        assert decision.blessed == (bool(allowed) or error < 0.01)
    (one,) = waived
    assert words in text_of(one)
    # The colour of its class is that of a failure.
    assert one.get("class").split()[1] == "FAIL"
    assert re.search(r"\.FAIL \{ --is: #b3261e; \}", html)
    assert ".waived { color: var(--is);" in html


def scripts(root):
    return [element.text for element in root.iter("script")]


def test_nothing_is_fetched_and_only_our_script_runs(make):
    html, _ = page(make, FLIGHTS, history=HISTORY)
    root = parsed(html)
    assert scripts(root) == [pages.TABLES_SCRIPT]
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src {digest()}" in (
        next(e for e in root.iter("meta") if e.get("http-equiv")).get("content")
    )
    assert not {"link", "img", "iframe", "object", "base"} & {
        element.tag for element in root.iter()
    }
    assert "http:" not in html.replace("http-equiv", "") and "https:" not in html
    assert "url(http" not in html and "@import" not in html and "src=" not in html
    for element in root.iter():
        assert not any(name.startswith("on") for name in element.attrib)
        assert element.get("href", "#").startswith("#")


def digest():
    """As the Content-Security-Policy has it; a browser compares it with the script."""
    found = hashlib.sha256(pages.TABLES_SCRIPT.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def test_every_plot_says_in_words_what_it_shows(make):
    root = parsed(page(make, FLIGHTS, history=HISTORY, baseline=True)[0])
    plots = [e for e in root.iter("svg") if e.get("aria-hidden") != "true"]
    assert len(plots) > 8
    for plot in plots:
        assert plot.get("role") == "img"
        assert len(plot.get("aria-label")) > 20


def test_ids_are_unique_and_references_lead_somewhere(make):
    root = parsed(page(make, FLIGHTS, history=HISTORY, baseline=True)[0])
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    wanted = {e.get("href")[1:] for e in root.iter() if e.get("href")}
    wanted |= {
        m
        for e in root.iter()
        for m in re.findall(r"url\(#([^)]+)\)", e.get("clip-path", ""))
    }
    assert wanted and wanted <= set(ids)


def test_whatever_comes_from_data_stays_text(make):
    names = [(name, "eval") for name in EVIL]
    context = {"name": EVIL[0], "method": EVIL[1], "versions": {EVIL[2]: EVIL[3]}}
    history = {
        "steps": [0, 1],
        "risk": {name: [1.0, 0.5] for name in EVIL[:7]},
        "method": EVIL[0],
    }
    html, _ = page(make, names, context=context, history=history, bad=[EVIL[0]])
    root = parsed(html)
    tags = {element.tag for element in root.iter()}
    assert "img" not in tags and scripts(root) == [pages.TABLES_SCRIPT]
    text = text_of(root)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7 * 7 }} {% raw %}" in text
    in_plots = [t.text for svg in root.iter("svg") for t in svg.iter("text")]
    assert "$x_1$ \\frac{1}{2}" in in_plots
    assert "a\"b'c&amp;" in in_plots
    assert "\u200b_hidden" in in_plots  # in the legend, too
    assert any(t and "…" in t and len(t) <= 28 for t in in_plots)
    html.encode("utf-8")


def test_the_same_verdict_gives_the_same_page(make):
    first, material = page(make, FLIGHTS, history=HISTORY, baseline=True)
    assert report.render(material) == first


def test_a_run_without_history_says_so(make):
    root = parsed(page(make, FLIGHTS)[0])
    assert "left no training curves" in text_of(root)


def test_nothing_evaluated_still_makes_a_page(make):
    decision = decide([], {}, CHECKS)
    root = parsed(report.render(report.Material(decision, [], {})))
    assert "Fail" in text_of(root)


def test_fifty_environments_and_two_hundred_values_stay_small(make):
    names = [(f"site {i:02d}", "ood" if i < 5 else "eval") for i in range(50)]
    history = {
        "steps": list(range(2000)),
        "risk": {name: [0.5] * 2000 for name, _ in names},
    }
    results = environments(make, names)
    for i in range(200):
        for split in ("eval", "ood"):
            metrics = {"auc": 0.7, "log_loss": 0.5, "calibration_slope": 0.95}
            results.append(make.result(f"group=g{i:03d}", split, **metrics))
    decision = decide(results, {}, CHECKS)
    html = report.render(report.Material(decision, results, {}, {}, history))
    assert len(html.encode()) < 3_000_000
    root = parsed(html)
    assert "the 24 worst of 200" in text_of(root)
    assert "12 of 50 environments" in text_of(root)
    assert "g199" in text_of(root)  # in the table


def test_the_record_is_strict_json_and_says_why_a_number_is_missing(make):
    results = [
        make.result("environment=EWR", auc=float("nan"), log_loss=0.5, positives=0),
        make.result("environment=JFK", auc=0.7, log_loss=float("inf")),
        make.result("environment=JFK", auc=0.1, model="baseline"),
    ]
    counts = make.counts(EWR=1000, JFK=1000, LGA=("ood", 30))
    decision = decide(results, counts, CHECKS)
    record = decision_record(decision, results, counts, {"method": "erm"})
    to_json(record)
    assert record["verdict"] == "FAIL" and record["blessed"] is False
    assert record["metrics"]["eval"]["environment=EWR"] == {
        "auc": None,
        "log_loss": 0.5,
    }
    assert record["metrics"]["eval"]["environment=JFK"] == {
        "auc": 0.7,
        "log_loss": None,
    }
    assert [(u["slice"], u["metric"], u["reason"]) for u in record["undefined"]] == [
        ("environment=EWR", "auc", "all 1,000 examples are negative"),
        ("environment=JFK", "log_loss", "it came out as inf"),
    ]
    assert record["environments"] == {
        "EWR": {"eval": 1000},
        "JFK": {"eval": 1000},
        "LGA": {"ood": 30},
    }
    assert record["dropped"]["LGA"] == {"no_label": 7}
    assert set(record["checks"][0]) == {
        "name",
        "verdict",
        "value",
        "interval",
        "bound",
        "split",
        "slice",
        "examples",
        "reason",
        "unsettled",
    }


def test_a_ratio_without_an_upper_limit_is_shown_and_kept(make):
    # 1 / 1.25 +- 2.09 * 0.5 reaches below 0: the ratio has no upper limit.
    inverse = make.estimate(0.8, 0.5).replicates
    wide = Estimate(1.25, 1 / inverse)
    results = [make.result("environment=EWR", calibration=wide, bins=make.curve())]
    for bounds in ({"min": 0.5}, {"max": 2.0}, {"min": 0.5, "max": 2.0}):
        checks = {"worst": {"calibration": {**bounds, "over": "environment"}}}
        decision = decide(results, {}, checks)
        assert decision.verdict == "INSUFFICIENT_DATA" or "max" not in bounds
        material = report.Material(decision, results, {}, {}, None, {})
        parsed(report.render(material))
        record = json.loads(to_json(decision_record(decision, results, {}, {})))
        low, high = record["checks"][0]["interval"]
        assert high is None and 0 < low < 1.25
