"""The same shards, byte for byte, whoever runs the pipeline, with any workers."""

import pathlib

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest

from components.multi_env_example_gen import ingest, shards
from components.source_manifest import listing

LOCAL = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SPEC = shards.Spec({"name": "late"}, 0.3, ("day",), (("carrier",),))
EIGHT = [LOCAL, "--direct_num_workers=8", "--direct_running_mode=multi_threading"]
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=embed"]
PORTABLE += ["--environment_type=LOOPBACK"]
PROCESSES = [LOCAL, "--direct_num_workers=2", "--direct_running_mode=multi_processing"]


def make(folder):
    """Two environments: a CSV of many ranges with quotes, a Parquet of row groups."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"day": random.integers(0, 30, 3000)})
    frame["late"] = random.integers(0, 2, 3000)
    frame["temp"] = random.normal(50, 10, 3000).round(2)
    frame["carrier"] = random.choice(["UA", 'the "other"', "two\nlines"], 3000)
    frame[:2000].to_csv(folder / "a.csv", index=False)
    frame[2000:].to_parquet(folder / "b.parquet", row_group_size=200)
    return [
        {"environment": name, "format": name, "held_out": False}
        | {"patterns": [str(folder / f"*.{name}")]}
        for name in ("csv", "parquet")
    ]


def shards_of(folder, files, arguments):
    counts = ingest.ingest(
        files, SPEC, str(folder), lambda: beam.Pipeline(argv=arguments)
    )
    found = sorted(pathlib.Path(folder).rglob("*.gz"))
    return counts, {str(p.relative_to(folder)): p.read_bytes() for p in found}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(EIGHT, id="eight threads"),
        pytest.param(PORTABLE, id="the portable runner"),
        pytest.param(PROCESSES, id="two processes", marks=pytest.mark.long),
    ],
)
def test_any_runner_writes_the_same_bytes(tmp_path, monkeypatch, arguments):
    monkeypatch.setattr("components.multi_env_example_gen.csv_files.RANGE", 4000)
    monkeypatch.setattr("components.multi_env_example_gen.readers._ROWS_A_RANGE", 300)
    files = listing.build_manifest(make(tmp_path))
    alone = shards_of(tmp_path / "alone", files, [LOCAL])
    other = shards_of(tmp_path / "other", files, arguments)
    assert len(alone[1]) > 15
    assert other == alone
