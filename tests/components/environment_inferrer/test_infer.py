"""From sources without environments to sources with them."""

import json

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from components.environment_inferrer import infer, passes, rule
from components.errors import DataError
from components.multi_env_example_gen import ingest, shards
from components.source_manifest import listing
from tests.components.environment_inferrer.conftest import (
    LOCAL,
    NEVER,
    agrees,
    noise,
    planted,
)

PROCESSES = [LOCAL, "--direct_num_workers=2", "--direct_running_mode=multi_processing"]
PORTABLE = ["--runner=PortableRunner", "--job_endpoint=embed"]
PORTABLE += ["--environment_type=LOOPBACK"]
ACCEPT = {"on_uncertain": "accept"}


def test_every_row_is_written_once_with_its_environment(run):
    frame = planted(4000)
    rows, found, files = run(frame)
    assert sorted(rows["row"]) == list(range(4000))
    assert adjusted_rand_score(rows["found"], agrees(rows)) > 0.9
    assert next(iter(found["told_by"])) == "sign"
    sizes = {name: entry["rows"] for name, entry in found["environments"].items()}
    assert sizes == rows["found"].value_counts().to_dict()
    assert sizes["inferred-1"] > sizes["inferred-2"]
    positives = rows[rows["late"] == 1]["found"].value_counts().to_dict()
    told = {name: entry["positives"] for name, entry in found["environments"].items()}
    assert told == positives
    assert [f.environment for f in files] == sorted(f.environment for f in files)
    json.dumps(found, allow_nan=False)


def test_rows_outside_the_sample_are_assigned_as_well(run):
    rows, found, _ = run(planted(4000), sample=1000, **ACCEPT)
    assert found["sampled"] == 1000
    assert adjusted_rand_score(rows["found"], agrees(rows)) > 0.8


def test_more_than_two_clusters(run):
    """Two shortcuts that turn apart from each other: neither, one, the other."""
    frame = planted(6000)
    random = np.random.default_rng(5)
    turned = random.uniform(size=6000) < 0.15
    frame["second"] = np.where((frame["late"] == 1) ^ turned, 1.0, -1.0)
    frame = frame.drop(columns=["weak", "noise"])
    rows, _, _ = run(frame, method="clusters", number=3, **ACCEPT)
    assert rows["found"].nunique() == 3
    kinds = 2 * agrees(rows) + (rows["second"] > 0).eq(rows["late"] == 1)
    assert adjusted_rand_score(rows["found"], kinds) > 0.7


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([LOCAL], id="again"),
        pytest.param(PORTABLE, id="the portable runner"),
        pytest.param(PROCESSES, id="two processes", marks=pytest.mark.long),
    ],
)
def test_the_same_rows_give_the_same_bytes(run, monkeypatch, arguments):
    monkeypatch.setattr("components.multi_env_example_gen.readers._ROWS_A_RANGE", 900)
    written = []
    for folder, by in (("one", [LOCAL]), ("other", arguments)):
        _, found, files = run(planted(3000), folder=folder, arguments=by)
        written.append((found, [f.digest for f in files]))
    assert len(written[0][1]) > 4
    assert written[0] == written[1]


def ingested(folder, files, spec):
    """Serialized examples without their environment, by split, sorted."""
    import tensorflow as tf

    ingest.ingest(files, spec, str(folder), lambda: beam.Pipeline(argv=[LOCAL]))
    found = {}
    for split in ("train", "eval"):
        paths = [str(p) for p in sorted((folder / f"Split-{split}").glob("*.gz"))]
        rows = []
        for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
            example = tf.train.Example.FromString(record)
            del example.features.feature["environment"]
            rows.append(example.SerializeToString(deterministic=True))
        found[split] = sorted(rows)
    return found


def test_ingestion_gets_what_it_would_from_the_source(run, tmp_path):
    frame = planted(2000)
    frame["delay"] = np.where(frame["late"] == 1, 15.1, 15.0)  # near the bound
    frame["when"] = pd.to_datetime("2024-02-29") + pd.to_timedelta(frame["row"], "h")
    frame["vector"] = [[0.1 * i, 0.2] for i in range(2000)]
    frame.loc[::7, "weak"] = None
    frame = frame.drop(columns="late")
    label = {"name": "late", "from": "delay", "above": 15.05}
    for by in ((), ("when",)):
        spec = shards.Spec(label, 0.3, by, ())
        features = {"categorical": ["sign"], "numeric": ["weak"]}
        _, _, files = run(frame, spec=spec, features=features, **ACCEPT)
        source = {"environment": "all", "format": "parquet", "held_out": False}
        plain = listing.build_manifest(
            [{**source, "patterns": [str(tmp_path / "a.parquet")]}]
        )
        inferred = ingested(tmp_path / "inferred", files, spec)
        assert inferred == ingested(tmp_path / "plain", plain, spec)
        assert len(inferred["eval"]) > 400


def test_held_out_sources_stay_as_they_are(tmp_path):
    planted(3000).to_parquet(tmp_path / "pooled.parquet")
    planted(300, 1).to_csv(tmp_path / "known.csv", index=False)
    manifest = listing.build_manifest(
        [
            {"environment": None, "format": "parquet", "held_out": False}
            | {"patterns": [str(tmp_path / "pooled.parquet")]},
            {"environment": "known", "format": "csv", "held_out": True}
            | {"patterns": [str(tmp_path / "known.csv")]},
        ]
    )
    spec = shards.Spec({"name": "late"}, 0.3, (), ())
    files, found = infer.infer(
        manifest,
        spec,
        rule.Settings(sample=2000),
        {},
        NEVER,
        str(tmp_path / "out"),
        lambda: beam.Pipeline(argv=[LOCAL]),
    )
    assert files[-1] == manifest[-1]
    assert sum(e["rows"] for e in found["environments"].values()) == 3000
    folder = str(tmp_path / "examples")
    counts = ingest.ingest(files, spec, folder, lambda: beam.Pipeline(argv=[LOCAL]))
    roles = {name: e["held_out"] for name, e in counts["environments"].items()}
    assert roles == {"inferred-1": False, "inferred-2": False, "known": True}


def test_rows_without_a_label_are_counted(run):
    frame = planted(2000).astype({"late": "float"})
    frame.loc[:99, "late"] = None
    rows, found, _ = run(frame)
    assert found["unlabelled"] == 100
    assert len(rows) == 2000
    assert set(rows[rows["late"].isna()]["found"]) == {"inferred-1"}
    assert sum(e["rows"] for e in found["environments"].values()) == 1900


def test_bad_rows_are_dropped_and_counted_once(run):
    frame = planted(2000).astype({"noise": "object"})
    frame.loc[[3, 8], "noise"] = "broken"
    spec = shards.Spec(
        {"name": "late"}, 0.3, (), (), on_bad_row="drop", numbers=("noise",)
    )
    rows, found, _ = run(frame, name="a.csv", spec=spec)
    (entry,) = found["bad_rows"].values()
    assert entry == {"rows": 2, "unit": "line", "first": [5, 10]}
    assert len(rows) == 1998


def test_a_column_that_is_wider_later_is_read_again(run):
    frame = planted(9000)
    frame["count"] = 1
    frame = frame.astype({"count": "object"})
    frame.loc[8999, "count"] = 2.5
    rows, _, _ = run(frame, name="a.csv")
    assert rows["count"].dtype == float
    assert rows["count"].max() == 2.5


def test_noise_is_refused_with_the_reason(run):
    with pytest.raises(DataError, match="arbitrary: the reference model cannot tell"):
        run(noise(2000))
    _, found, _ = run(noise(2000), **ACCEPT)
    assert found["problems"]
    assert "They are arbitrary" in found["sentence"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(late=f["row"] < 40), "40 rows have late = 1, and at least"),
        (lambda f: f[:0], "0 rows have late = 0"),
        (lambda f: f[["late", "row"]], "no column is left to infer"),
        (lambda f: f[["late", "row"]].assign(x=1), "one value alone"),
        (lambda f: f.drop(columns="late"), "column 'late' is not in the data"),
    ],
)
def test_too_little_is_refused(run, change, said):
    with pytest.raises(DataError, match=said):
        run(change(planted(1000)))


def test_keys_that_are_too_coarse_are_refused(run):
    frame = planted(1000).assign(month=lambda f: f["row"] % 11)
    spec = shards.Spec({"name": "late"}, 0.3, ("month",), ())
    with pytest.raises(DataError, match=r"11 different keys \(month\), and 12"):
        run(frame, spec=spec)
    frame["month"] = np.where(frame["late"] == 1, 0, 1 + frame["row"] % 12)
    with pytest.raises(DataError, match="rows of a label to fit a reference model on"):
        run(frame, spec=spec)


def test_one_label_in_an_environment_is_refused():
    entry = {"method": "clusters", "environments": {"inferred-2": {}}}
    for rows, positives, said in ((0, 0, "no rows"), (5, 5, "one label only")):
        entry["environments"]["inferred-2"] = {"rows": rows, "positives": positives}
        with pytest.raises(DataError, match=f"inferred-2.*{said}.*smaller number"):
            infer._check_environments(entry)


def test_the_sample_is_the_same_from_any_parts():
    random = np.random.default_rng(0)
    table = passes.pa.table(
        {
            passes.ORDER: random.permutation(1000).astype(np.uint64),
            passes.LABEL: random.integers(0, 2, 1000),
        }
    )
    whole = passes.smallest(table, 30)
    parts = [passes.smallest(table[i : i + 100], 30) for i in range(0, 1000, 100)]
    assert passes.smallest(passes.pa.concat_tables(parts), 30) == whole
    frame = table.to_pandas().sort_values(passes.ORDER)
    expected = frame.groupby(passes.LABEL).head(30)[passes.ORDER]
    assert whole[passes.ORDER].to_pylist() == expected.to_list()
