"""The page of an inspection in a browser."""

import pytest

from components.environment_validator import page
from tests.browser import browser
from tests.components.environment_validator.test_page import NASTY, record


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_it_asks_for_nothing_and_keeps_nobody_out(tmp_path, width):
    browser.browser()
    path = tmp_path / "environments.html"
    inspected = record(4, 5, NASTY + "{}", NASTY + "{}")
    path.write_text(page.page(inspected, NASTY), encoding="utf-8")
    told = browser.look(path, tmp_path / "out", width, axe=True)
    assert (told["console"], told["requests"]) == ([], ["itself"])
    assert told["overflow"] <= 0
    grave = [v for v in told["axe"]["violations"] if v["impact"] != "minor"]
    assert grave == []
