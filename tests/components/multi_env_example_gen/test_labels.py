"""The label of each task, from the column's value to the example."""

import datetime
import decimal
import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import counts as counting
from components.multi_env_example_gen import ingest, shards
from components.multi_env_example_gen.columns import Column
from components.multi_env_example_gen.labels import check_label, make_label
from components.source_manifest import listing

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
ANIMALS = {"name": "kind", "classes": ["cat", "dog", "bird"]}
DIGITS = {"name": "digit", "classes": ["0", "1", "2", "3"]}
NUMBER = {"name": "delay", "task": "regression"}


@pytest.mark.parametrize(
    ("values", "spec", "ids"),
    [
        (pa.array(["dog", None, "cat", "bird", ""]), ANIMALS, [1, None, 0, 2, None]),
        (pa.array([b"dog", b"cat"]), ANIMALS, [1, 0]),
        (pa.array(["dog", "cat", None]).dictionary_encode(), ANIMALS, [1, 0, None]),
        (pa.array([3, 0, None], pa.int8()), DIGITS, [3, 0, None]),
        (pa.array([3.0, 0.0, np.nan, None]), DIGITS, [3, 0, None, None]),
        (pa.array(["3", "0"]), DIGITS, [3, 0]),
        (pa.array([decimal.Decimal("2.00")]), DIGITS, [2]),
        (pa.array([0.5, 1.5]), {"name": "x", "classes": ["1.5", "0.5"]}, [1, 0]),
        (pa.array([True, False]), {"name": "x", "classes": ["false", "true"]}, [1, 0]),
        (pa.array([True, False]), DIGITS, [1, 0]),
        (
            pa.array([datetime.date(2020, 1, 2)]),
            {"name": "x", "classes": ["2020-01-01", "2020-01-02"]},
            [1],
        ),
        (pa.nulls(2), ANIMALS, [None, None]),
    ],
)
def test_classes_are_ids_by_their_text(values, spec, ids):
    label = make_label(values, spec, "a.csv")
    assert label.type == pa.int64()
    assert label.to_pylist() == ids


@pytest.mark.parametrize(
    ("values", "spec", "found"),
    [
        (pa.array(["cat", "Dog"]), ANIMALS, "'Dog'"),
        (pa.array([1, 4]), DIGITS, "'4'"),
        (pa.array([1.0, 1.5]), DIGITS, "'1.5'"),
        (pa.array([1, -1]), DIGITS, "'-1'"),
    ],
)
def test_a_value_that_is_no_class_is_refused(values, spec, found):
    with pytest.raises(DataError) as error:
        make_label(values, spec, "a.csv")
    assert str(error.value) == (
        f"data.label: column {spec['name']!r} of a.csv holds {found}, which is none of"
        f" the {len(spec['classes'])} classes ({', '.join(spec['classes'])}); add it to"
        " data.label.classes, or leave such rows out"
    )


def test_of_many_classes_a_few_are_listed():
    spec = {"name": "x", "classes": [str(i) for i in range(100)]}
    with pytest.raises(DataError, match="9, 10, 11 and 88 more"):
        make_label(pa.array([100]), spec, "a.csv")


@pytest.mark.parametrize("kind", [pa.int16(), pa.float32(), pa.float64()])
def test_a_number_stays_one_of_32_bits(kind):
    label = make_label(pa.array([3, None, -2], kind), NUMBER, "a.csv")
    assert label.type == pa.float32()
    assert label.to_pylist() == [3.0, None, -2.0]


def test_nan_is_a_missing_label():
    assert make_label(pa.array([np.nan, 1.0]), NUMBER, "x").to_pylist() == [None, 1.0]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(DataError) as error:
        make_label(pa.array([1.0, value]), NUMBER, "a.csv")
    assert "column 'delay' of a.csv holds" in str(error.value)
    assert "no finite number of 32 bits" in str(error.value)


@pytest.mark.parametrize(
    ("spec", "column", "said"),
    [
        (NUMBER, Column("bytes"), "holds text, and the label of a regression is a"),
        (NUMBER, Column("float", True), "holds lists, and the label of a regression"),
        (
            {"name": "delay", "classes": ["a", "b"]},
            Column("bytes", True),
            "holds lists, and a label of classes is one value",
        ),
        ({"name": "delay"}, Column("bytes"), "holds text, and a binary label needs"),
    ],
)
def test_columns_that_no_label_can_be_made_of(spec, column, said):
    with pytest.raises(DataError) as error:
        check_label(spec, {"delay": column}, ["A"])
    assert said in str(error.value)


def test_classes_may_be_text():
    check_label({"name": "d", "classes": ["a", "b"]}, {"d": Column("bytes")}, ["A"])


def ingested(tmp_path, tables, label):
    """Examples of three environments, the last held out, by split; and the counts."""
    sources = []
    for name, table in tables.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path)
        source = {"environment": name, "format": "parquet", "patterns": [str(path)]}
        sources.append({**source, "held_out": name == "C"})
    spec = shards.Spec(label, 0.5, (), (("environment",),))
    options = beam.options.pipeline_options.PipelineOptions([RUNNER])
    folder = str(tmp_path / "examples")
    found = ingest.ingest(
        listing.build_manifest(sources),
        spec,
        folder,
        lambda: beam.Pipeline(options=options),
    )
    rows = {}
    for path in sorted((tmp_path / "examples").glob("Split-*/*.gz")):
        records = tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
        split = rows.setdefault(path.parent.name.removeprefix("Split-"), [])
        split += [tf.train.Example.FromString(record) for record in records]
    return rows, found


def test_ids_reach_the_examples_and_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    tables = {}
    for name in "ABC":
        kinds = rng.choice(["cat", "dog", "bird", ""], 200, p=[0.5, 0.3, 0.1, 0.1])
        tables[name] = pa.table({"kind": kinds, "size": rng.normal(size=200)})
    rows, counts = ingested(tmp_path, tables, ANIMALS)
    for split, examples in rows.items():
        for name in "ABC":
            ids = [
                e.features.feature["kind"].int64_list.value[0]
                for e in examples
                if e.features.feature["environment"].bytes_list.value[0]
                == name.encode()
            ]
            if not ids:
                continue
            entry = counts["environments"][name]["splits"][split]
            expected = [ids.count(k) for k in range(3)]
            assert entry == {
                "examples": len(ids),
                "positives": 0,
                "classes": expected,
            }
    for name, table in tables.items():  # against the tables themselves
        entry = counts["environments"][name]
        kinds = table["kind"].to_pylist()
        totals = np.sum([s["classes"] for s in entry["splits"].values()], axis=0)
        assert totals.tolist() == [kinds.count(k) for k in ANIMALS["classes"]]
        assert entry["dropped"]["no_label"] == kinds.count("")
    assert json.loads(json.dumps(counts)) == counts


def test_numbers_reach_the_examples(tmp_path):
    rng = np.random.default_rng(1)
    tables = {}
    for name in "ABC":
        delay = rng.normal(10, 40, 100).round(1)
        delay[::10] = np.nan
        tables[name] = pa.table({"delay": delay, "row": np.arange(100) + ord(name)})
    rows, counts = ingested(tmp_path, tables, NUMBER)
    found = {}
    for examples in rows.values():
        for example in examples:
            feature = example.features.feature
            name = feature["environment"].bytes_list.value[0].decode()
            key = (name, feature["row"].int64_list.value[0] - ord(name))
            (found[key],) = feature["delay"].float_list.value
    expected = {
        (name, i): np.float32(value)
        for name, table in tables.items()
        for i, value in enumerate(table["delay"].to_pylist())
        if not np.isnan(value)
    }
    assert found == expected
    for entry in counts["environments"].values():
        assert entry["dropped"]["no_label"] == 10
        assert {s["positives"] for s in entry["splits"].values()} == {0}


def test_one_class_alone_in_training_is_refused(tmp_path):
    kinds = {"A": ["cat", "dog"] * 50, "B": ["dog"] * 100, "C": ["cat", "bird"] * 50}
    tables = {
        name: pa.table({"kind": k, "row": np.arange(100)}) for name, k in kinds.items()
    }
    with pytest.raises(DataError, match="'B' has one class only .* kind = dog;"):
        ingested(tmp_path, tables, ANIMALS)


def test_counts_of_classes_add_up():
    parts = []
    for sizes in ([1, 0, 2], [3, 4, 5]):
        part = counting.empty()
        split = {"examples": sum(sizes), "positives": 0, "classes": sizes}
        counting.add_environment(part, "A", False, {}, {"train": split})
        parts.append(part)
    (entry,) = counting.merge(parts)["environments"].values()
    assert entry["splits"]["train"] == {
        "examples": 15,
        "positives": 0,
        "classes": [4, 4, 7],
    }
