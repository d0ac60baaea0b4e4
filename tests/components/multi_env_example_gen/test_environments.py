"""Environments that a column tells, against pandas' own bins and periods."""

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import DataError
from components.multi_env_example_gen import ingest, shards
from components.multi_env_example_gen.environments import name_environments
from components.multi_env_example_gen.naming import Naming, bin_names
from components.source_manifest import listing

LABEL = {"name": "late"}
RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def named(values, **how):
    return name_environments(pa.array(values), Naming("x", **how), "f").to_pylist()


def test_values_are_the_environments_themselves():
    assert named(["b", "a", "b"]) == ["b", "a", "b"]
    assert named([2, 1]) == ["2", "1"]


def test_groups_rename_join_and_leave_out():
    groups = {"JFK": "city", "LGA": "city", "EWR": "Newark"}
    found = named(["EWR", "JFK", "BOS", "LGA"], groups=groups)
    assert found == ["Newark", "city", None, "city"]


@pytest.mark.parametrize("edges", [(18.0,), (18.0, 65.0), (-1.5, 0.0, 0.25)])
def test_bins_are_those_of_pandas(edges):
    values = np.concatenate([np.random.default_rng(0).normal(20, 30, 200), edges])
    cut = pd.cut(values, [-np.inf, *edges, np.inf], right=False, labels=False)
    found = named(values, bins=edges)
    assert found == [bin_names(edges)[i] for i in cut]


def test_bins_have_names_that_slices_can_have():
    assert bin_names((18.0, 65.5)) == ("below 18", "18 to 65.5", "65.5 and above")


@pytest.mark.parametrize(
    ("by", "pattern"),
    [("year", "%Y"), ("quarter", None), ("month", "%Y-%m"), ("day", "%Y-%m-%d")],
)
@pytest.mark.parametrize("kind", ["text", "timestamp", "date"])
def test_periods_are_those_of_pandas(by, pattern, kind):
    times = pd.date_range("2023-11-28 23:59", periods=200, freq="37h")
    if pattern is None:
        wanted = [f"{t.year}-Q{t.quarter}" for t in times]
    else:
        wanted = list(times.strftime(pattern))
    values = {"text": times.strftime("%Y-%m-%dT%H:%M"), "timestamp": times}
    values["date"] = [time.date() for time in times]
    assert named(list(values[kind]), by=by) == wanted


def test_what_cannot_be_told_is_refused():
    with pytest.raises(DataError, match="f: column 'x' holds 'a', and .*bins needs"):
        named(["a"], bins=(1.0,))
    with pytest.raises(DataError, match="holds '31.12.2023', which is no date"):
        named(["2024-01-01", "31.12.2023"], by="month")


def test_left_out_rows_are_counted_and_go_nowhere(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "origin": random.choice(["EWR", "JFK", "LGA", "BOS"], 2000),
            "late": random.choice([0.0, 1.0, np.nan], 2000, p=[0.5, 0.4, 0.1]),
        }
    )
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "all.parquet")
    groups = {"JFK": "city", "LGA": "city", "EWR": "EWR"}
    entry = {"environment": None, "format": "parquet", "held_out": False}
    entry["patterns"] = [str(tmp_path / "all.parquet")]
    spec = shards.Spec(LABEL, 0.5, (), (), Naming("origin", groups), ("EWR",))
    files = listing.build_manifest([entry])
    folder = str(tmp_path / "out")
    counts = ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[RUNNER]))
    assert set(counts["environments"]) == {"city", "EWR"}
    assert counts["left_out"] == (frame.origin == "BOS").sum()
    for name, origins in (("city", ["JFK", "LGA"]), ("EWR", ["EWR"])):
        rows = frame[frame.origin.isin(origins)]
        entry = counts["environments"][name]
        examples = sum(split["examples"] for split in entry["splits"].values())
        assert examples == rows.late.notna().sum()
        assert entry["dropped"]["no_label"] == rows.late.isna().sum()
