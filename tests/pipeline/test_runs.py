"""Which runs there are, and where their reports lie."""

import json

import pytest

from pipeline import runs
from pipeline.errors import ConfigError


@pytest.fixture
def make_run(tmp_path):
    def make(name, report=True, summary=None):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        if report:
            (folder / "report.html").write_text("")
        if summary is not None:
            (folder / "summary.json").write_text(summary)
        return str(folder / "report.html")

    return make


def test_the_last_run_by_default(tmp_path, make_run):
    paths = [make_run(f"2013010{day}-000000-000000") for day in (2, 3, 1)]
    assert runs.report_path(str(tmp_path)) == paths[1]
    assert runs.report_path(str(tmp_path), "20130102-000000-000000") == paths[0]
    assert len(runs.list_runs(str(tmp_path))) == 3


def test_no_run(tmp_path):
    with pytest.raises(ConfigError, match="no run in .*; run the config first"):
        runs.report_path(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["b", "..", "../a", "", "a/"])
def test_an_unknown_run(tmp_path, make_run, name):
    make_run("a")
    with pytest.raises(ConfigError) as error:
        runs.report_path(str(tmp_path), name)
    assert f"no run {name!r} in {tmp_path}/runs; the last are a" in str(error.value)


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        (json.dumps({"error": {"exit": 2, "sentence": "no rows"}}), "error: no rows)"),
        (None, "(it did not end)"),
        ("{", "(it did not end)"),
        (json.dumps({"error": None}), "(the file is gone)"),
    ],
)
def test_a_run_without_report(tmp_path, make_run, summary, why):
    make_run("1")
    make_run("2", report=False, summary=summary)
    with pytest.raises(ConfigError) as error:
        runs.report_path(str(tmp_path))
    assert "run 2 left no report (" in str(error.value)
    assert why in str(error.value)
    assert str(error.value).endswith("--run 1 has one")


def test_no_run_has_a_report(tmp_path, make_run):
    make_run("1", report=False)
    with pytest.raises(ConfigError, match="no run has one yet"):
        runs.report_path(str(tmp_path))


def test_error_of(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"error": {"exit": 1, "sentence": "it broke"}}))
    assert runs.error_of(str(path)) == "it broke"
    path.write_text(json.dumps({"error": None}))
    assert runs.error_of(str(path)) is None
