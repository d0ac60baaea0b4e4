"""Environments of a query's rows are inferred as those of a file are."""

import random

import apache_beam as beam
import pyarrow.parquet as pq

from components.environment_inferrer import infer, rule
from components.multi_env_example_gen import shards
from components.source_manifest import listing

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def test_rows_of_a_query(tmp_path, service, source):
    draw = random.Random(0)
    rows = [{"late": i % 2, "row": i, "sign": i % 2} for i in range(800)]
    for row in rows:
        row["sign"] ^= draw.random() < 0.15
    text = source["options"]["query"]
    columns = ["late INTEGER", "row INTEGER", "sign INTEGER"]
    service.results[text] = service.make(columns, rows)
    files, found = infer.infer(
        listing.build_manifest([{**source, "environment": None}]),
        shards.Spec({"name": "late"}, 0.5, ("row",), ()),
        rule.Settings(sample=1000, on_uncertain="accept"),
        {"numeric": ["sign"]},
        ["row"],
        str(tmp_path / "out"),
        lambda: beam.Pipeline(argv=[RUNNER]),
    )
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"inferred-1", "inferred-2"}
    written = [row for f in files for row in pq.read_table(f.path)["row"].to_pylist()]
    assert sorted(written) == list(range(800))
    assert sum(e["rows"] for e in found["environments"].values()) == 800
    assert not service.datasets and not service.exported()
