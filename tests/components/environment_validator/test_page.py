"""The page: every text escaped, well formed, small enough for many environments."""

from xml.etree import ElementTree

import numpy as np

from components import pages
from components.environment_validator import checks, page

NASTY = "<script>alert('x')</script>&\x00\u2028"


def record(environments, features, name="e{}", feature="f{}"):
    size = len(range(environments))
    rng = np.random.default_rng(0)
    names = [name.format(i) for i in range(size)]
    matrix = np.abs(rng.normal(0, 1, (size, size)))
    return {
        "environments": names,
        "training": size - 1,
        "counts": [
            {"environment": n, "split": "train", "examples": 10, "positives": 3}
            for n in names
        ],
        "sampled": [10] * size,
        "duplicates_are_exact": False,
        "findings": [
            {
                "check": "leak",
                "level": "error",
                "environments": names[:1],
                "value": 1.0,
                "sentence": f"{feature.format(0)} tells {names[0]}",
                "feature": feature.format(0),
                "split": "",
            }
        ],
        "features": [
            {
                "name": feature.format(i),
                "kind": "category" if i % 2 else "number",
                "distances": matrix.tolist(),
                "auc": [[0.5] * size for _ in range(size)],
                "tells": [None] * size,
                "missing": [0.0] * size,
            }
            for i in range(features)
        ],
        "transfer": [[0.6] * size for _ in range(size)],
        "checks": {
            name: {"level": c.level, "bound": c.bound, "value": c.value, "asks": c.asks}
            for name, c in checks.CHECKS.items()
        },
    }


def test_what_comes_from_data_is_text():
    text = page.page(record(3, 2, NASTY + "{}", NASTY + "{}"), NASTY)
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert" in text
    ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_fifty_environments_and_two_hundred_features_stay_small():
    text = page.page(record(50, 200), "many")
    assert len(text.encode()) < 5_000_000
    assert "Shown are the 15 of 1225 pairs" in text


def test_one_environment_has_no_matrix():
    text = page.page(record(1, 2), "one")
    assert "Distance between environments" not in text


def test_the_script_is_the_one_that_the_policy_names():
    text = page.page(record(2, 1), "two")
    assert f"script-src {pages.script_digest()}" in text
    inside = text.split("<script>")[1].split("</script>")[0]
    assert inside == pages.TABLES_SCRIPT


def test_the_summary_counts_the_levels():
    kept = record(2, 1)
    assert page.summary(kept) == "1 error"
    kept["findings"] += [{"level": "warn"}, {"level": "warn"}, {"level": "note"}]
    assert page.summary(kept) == "1 error, 2 warnings and 1 note"
    assert page.summary({"findings": []}) == "nothing found"
