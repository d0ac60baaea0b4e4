"""Rules that no planted defect shows: the schema's environments, keys, levels."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv

from benchmarks import environments, planted
from components.environment_validator import checks, validating
from components.environment_validator.findings import named, percent

from .conftest import OPTIONS, ROLES


def judged(world, inspect=None, **options):
    inspector = environments.Inspector(OPTIONS, inspect)
    evidence, columns = inspector.evidence(world, **options)
    return validating.judge(evidence, inspector.settings, columns)


@pytest.fixture
def small(world):
    return {cell: table.slice(0, 800) for cell, table in world.items()}


@pytest.fixture
def schema(small):
    frame = pa.concat_tables(small.values()).drop(["environment"]).to_pandas()
    return tfdv.infer_schema(tfdv.generate_statistics_from_dataframe(frame))


def without_ward(world):
    return {
        cell: t.set_column(
            t.schema.get_field_index("ward"), "ward", pa.nulls(len(t), pa.string())
        )
        if cell[1] == "west"
        else t
        for cell, t in world.items()
    }


def test_a_schema_is_held_against_every_environment(small, schema):
    assert not [
        f for f in judged(small, schema=schema) if f.check == "schema_anomalies"
    ]
    found = judged(without_ward(small), schema=schema)
    (anomaly,) = [f for f in found if f.check == "schema_anomalies"]
    assert (anomaly.feature, anomaly.environments) == ("ward", ("west",))
    assert anomaly.level == "error"


def test_the_schemas_own_environments_are_used(small, schema):
    schema.default_environment.extend(["north", "south", "west"])
    tfdv.get_feature(schema, "ward").not_in_environment.append("west")
    found = judged(without_ward(small), schema=schema)
    assert not [f for f in found if f.check == "schema_anomalies"]
    missing = {
        cell: t if cell[1] != "north" else without_ward({("x", "west"): t})["x", "west"]
        for cell, t in without_ward(small).items()
    }
    found = judged(missing, schema=schema)
    names = {f.environments for f in found if f.check == "schema_anomalies"}
    assert names == {("north",)}


def test_an_unexpected_value_is_an_anomaly(small, schema):
    cell = ("train", "south")
    ward = ["Z" if i % 4 == 0 else "A" for i in range(len(small[cell]))]
    table = small[cell]
    changed = table.set_column(
        table.schema.get_field_index("ward"), "ward", pa.array(ward)
    )
    found = judged({**small, cell: changed}, schema=schema)
    (anomaly,) = [f for f in found if f.check == "schema_anomalies"]
    assert "Z" in anomaly.sentence and "south (train)" in anomaly.sentence


def test_rows_of_one_key_are_found_where_a_key_is_named(small):
    numbered = {}
    for i, (cell, table) in enumerate(small.items()):
        visit = np.arange(len(table)) + 10_000 * i
        if cell == ("train", "south"):
            visit[1::2] = visit[::2][: len(visit[1::2])]
        numbered[cell] = table.append_column("visit", pa.array(visit))
    assert not [f for f in judged(numbered) if f.check == "duplicate_keys"]
    found = judged(numbered, key=("visit",))
    (finding,) = [f for f in found if f.check == "duplicate_keys"]
    rows = sum(len(t) for c, t in numbered.items() if c[1] == "south")
    assert finding.environments == ("south",)
    assert finding.value == pytest.approx(400 / rows)


def test_a_check_that_is_off_finds_nothing(small):
    leak = planted._added(lambda e, y, r, rng: y + rng.normal(0, 0.1, len(y)))
    world = leak(small, ROLES, np.random.default_rng(0))
    assert [f.check for f in judged(world) if f.level == "error"] == ["leak"]
    off = judged(world, {"leak": {"level": "off"}})
    assert not [f for f in off if f.check == "leak"]
    warned = judged(world, {"leak": {"level": "warn"}})
    assert {f.level for f in warned if f.check == "leak"} == {"warn"}


def test_errors_come_first_and_the_largest_of_a_check_first(small):
    bounds = {"examples": {"bound": 10_000, "level": "error"}, "groups": {}}
    found = judged(small, bounds)
    levels = [checks.LEVELS.index(f.level) for f in found]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (list("abcdefg"), "a, b, c, d and 3 more"),
    ],
)
def test_names_are_listed(names, text):
    assert named(names) == text


def test_shares_have_the_digits_that_they_need():
    assert [percent(x) for x in (0, 0.5, 0.0123, 0.00012)] == [
        *("0.0 %", "50.0 %", "1.2 %", "0.012 %")
    ]
