"""A shortcut that turns, written as the sources of a pipeline."""

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest

from components.environment_inferrer import infer, rule
from components.multi_env_example_gen import shards
from components.source_manifest import listing

LOCAL = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
NEVER = ["late", "row"]


def planted(rows, seed=0):
    """`sign` agrees with the label in 85 %, `weak` tells it a little, `noise` not."""
    random = np.random.default_rng(seed)
    late = random.integers(0, 2, rows)
    agrees = random.uniform(size=rows) < 0.85
    return pd.DataFrame(
        {
            "late": late,
            "sign": np.where(late == agrees, "up", "down"),
            "weak": late + random.normal(0, 3, rows),
            "noise": random.normal(size=rows),
            "row": np.arange(rows),
        }
    )


def noise(rows, seed=0):
    """The same columns, and none tells the label."""
    frame = planted(rows, seed)
    frame["late"] = np.random.default_rng(seed + 1).permutation(frame["late"])
    frame["weak"] = frame["noise"] ** 2
    return frame


def agrees(frame):
    """Whether the shortcut tells the label rightly; [rows] of 0 and 1."""
    up = frame["sign"].map(lambda v: v in ("up", b"up"))
    return (up.to_numpy() == (frame["late"] == 1).to_numpy()).astype(int)


@pytest.fixture
def run(tmp_path):
    """Writes a table, infers, and reads what was written back."""

    def go(frame, name="a.parquet", arguments=(LOCAL,), folder="out", **options):
        path = tmp_path / name
        kind = "csv" if ".csv" in name else "parquet"
        if kind == "csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, row_group_size=options.pop("row_group_size", 1000))
        source = {"environment": None, "format": kind, "held_out": False}
        spec = options.pop("spec", shards.Spec({"name": "late"}, 0.3, (), ()))
        features = options.pop("features", {})
        settings = rule.Settings(**{"sample": 2000, **options})
        files, found = infer.infer(
            listing.build_manifest([{**source, "patterns": [str(path)]}]),
            spec,
            settings,
            features,
            NEVER,
            str(tmp_path / folder),
            lambda: beam.Pipeline(argv=list(arguments)),
        )
        read = [pd.read_parquet(f.path).assign(found=f.environment) for f in files]
        return pd.concat(read, ignore_index=True), found, files

    return go
