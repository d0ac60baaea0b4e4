"""The report as a browser, keys alone, a screen reader's rules and paper meet it."""

import re

import pytest

from components.invariance_validator import report
from tests.browser import browser
from tests.components.environment_validator.test_page import record
from tests.components.invariance_validator import reports

pytestmark = pytest.mark.browser

EVIL = '"><script>document.title="owned"</script><img src="http://127.0.0.1:9/">'
PLACES = [("EWR", "eval"), ("JFK", "eval"), ("LGA", "ood"), (EVIL, "eval")]
VALUES = ["UA", "DL", "B6", EVIL]
LONG = "x" * 90  # no place to break it


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Writes a page, and opens it at a width; one look at each."""
    browser.browser()
    folder, looks = tmp_path_factory.mktemp("pages"), {}

    def go(make, width):
        if width not in looks:
            page = folder / "small.html"
            inspected = record(3, 3, EVIL + "{}", EVIL + "{}")
            material = reports.material(
                make, PLACES, VALUES, EVIL, environments=inspected, notes=[EVIL, LONG]
            )
            material.counts["slices"]["eval"]['["carrier"]'].append([[LONG], 7])
            page.write_text(report.render(material), encoding="utf-8")
            out = folder / str(width)
            looks[width] = out, browser.look(page, out, width, axe=True)
        return looks[width]

    return go


WIDTHS = pytest.mark.parametrize("width", [1280, 400])


@WIDTHS
def test_no_console_message_no_request_and_nothing_cut_off(small, make, width):
    out, told = small(make, width)
    assert told["console"] == []
    assert told["requests"] == ["itself"]
    assert told["overflow"] <= 0  # what is wider scrolls in a box of its own
    assert (out / f"{width}.png").stat().st_size > 50_000


@WIDTHS
def test_no_serious_finding_of_axe(small, make, width):
    _, told = small(make, width)
    grave = [v for v in told["axe"]["violations"] if v["impact"] != "minor"]
    assert grave == []
    assert told["axe"]["passes"] > 20


def test_the_look_finds_what_it_looks_for(tmp_path):
    """A page with everything that the others must not have."""
    browser.browser()
    page = tmp_path / "bad.html"
    page.write_text(
        "<!DOCTYPE html><html><head><title>x</title></head><body>"
        '<div style="width: 3000px">wide</div><button></button>'
        '<img src="http://127.0.0.1:9/x.png">'
        '<script>console.error("x"); undefined.x</script></body></html>'
    )
    told = browser.look(page, tmp_path / "out", 400, axe=True)
    assert told["overflow"] > 2000 and told["paper_overflow"] > 2000
    assert "http://127.0.0.1:9/x.png" in told["requests"]
    assert any(line == "error: x" for line in told["console"])
    assert any("TypeError" in line for line in told["console"])
    found = {v["id"]: v["impact"] for v in told["axe"]["violations"]}
    assert found["button-name"] == found["image-alt"] == "critical"


def test_keys_alone_filter_and_sort(small, make):
    keys = small(make, 1280)[1]["keys"]
    slices = 2 + len(PLACES) + 2 * len(VALUES)
    assert keys["status"] == [
        f"All {slices} slices shown",
        f"2 of {slices} slices shown",
        f"All {slices} slices shown",
    ]
    assert keys["plots"] == 0 and keys["plots_after"] > 4
    assert len(keys["filtered"]) == 5  # three metrics, two of them beside the baseline
    for rows in keys["filtered"]:
        assert sorted(row[:2] for row in rows) == [
            ["carrier=UA", "eval"],
            ["carrier=UA", "ood"],
        ]
    (down, falling), (up, rising) = keys["sorted"]
    assert (down, up) == ("descending", "ascending")
    assert len(falling) == slices
    assert keys["heads"] == ["Slice", "Split", "Verdict", "auc", "Examples"]
    values = [float(row[3]) for row in falling]
    assert values == sorted(values, reverse=True)
    assert [float(row[3]) for row in rising] == sorted(values)


def test_without_scripts_all_is_there(small, make):
    told = small(make, 1280)[1]["without_script"]
    slices = 2 + len(PLACES) + 2 * len(VALUES)
    # Five tables with their plots, and the one of all metrics.
    assert told == {"form": False, "rows": 6 * slices, "hidden": 0}


def test_on_paper_nothing_is_cut_off(small, make):
    out, told = small(make, 1280)
    assert told["paper_overflow"] <= 0
    content = (out / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3


def test_fifty_environments_and_two_hundred_values_open(make, tmp_path):
    browser.browser()
    places = [(f"site {i:02d}", "ood" if i < 5 else "eval") for i in range(50)]
    values = [*(f"g{i:03d}" for i in range(199)), "UA"]
    inspected = record(50, 100)
    material = reports.material(make, places, values, environments=inspected)
    page = tmp_path / "big.html"
    page.write_text(report.render(material), encoding="utf-8")
    assert page.stat().st_size < 5_000_000
    told = browser.look(page, tmp_path / "out", 400)
    assert (told["console"], told["requests"]) == ([], ["itself"])
    assert told["overflow"] <= 0
    assert told["keys"]["status"][1] == "2 of 452 slices shown"
