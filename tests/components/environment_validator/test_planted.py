"""Every defect that is planted is found and named, and nothing where nothing is."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import environments, planted

from .conftest import ROLES


def test_a_clean_world_has_no_error_and_no_warning(clean):
    assert [f.sentence for f in clean[0] if f.level != "note"] == []


@pytest.mark.parametrize("defect", planted.DEFECTS, ids=lambda d: d.name)
def test_a_defect_is_named(inspector, world, clean, defect):
    rng = np.random.default_rng(0)
    findings, _ = inspector.findings(defect.plant(world, ROLES, rng))
    named = environments.is_named(defect, findings, clean[0], ROLES)
    assert named is not None, [f.sentence for f in findings]
    feature = defect.feature(ROLES)
    assert feature in named.sentence
    if named.environments:
        assert ROLES.victim in named.sentence


@pytest.mark.parametrize("key", [(), ROLES.key], ids=["rows", "keys"])
def test_resamples_of_a_clean_world_have_no_error(inspector, world, key):
    for seed in range(10):
        drawn = planted.resampled(world, np.random.default_rng(seed), None, key)
        findings, _ = inspector.findings(drawn)
        assert [f.sentence for f in findings if f.level == "error"] == []


def test_drift_is_seen_since_the_last_released_run(inspector, world, clean):
    rng = np.random.default_rng(0)
    warmer = planted._numbers(lambda r: r.degrees, lambda v: v + 6)
    findings, _ = inspector.findings(warmer(world, ROLES, rng), clean[1])
    (found,) = [f for f in findings if f.check == "number_drift"]
    assert found.feature == "temperature"
    assert found.environments == ("south",)
    # The middle 99 % of a normal has a deviation of 0.97 of the whole.
    assert found.value == pytest.approx(6 / (0.97 * 15), rel=0.05)
    again, _ = inspector.findings(world, clean[1])
    assert [f for f in again if f.check.endswith("drift")] == []


def test_environments_that_are_alike_leave_a_penalty_nothing(inspector, world):
    halves = {}
    for cell, table in world.items():
        if cell[1] == "north":
            rows = np.random.default_rng(1).permutation(len(table))
            halves[cell[0], "a"] = table.take(pa.array(rows[::2]))
            halves[cell[0], "b"] = table.take(pa.array(rows[1::2]))
    findings, _ = inspector.findings(halves)
    (found,) = [f for f in findings if f.check == "alike"]
    assert found.environments == ("a", "b")


def test_a_label_that_turns_only_where_it_is_held_out_is_no_error(inspector, world):
    roles = dataclasses.replace(ROLES, victim="west")
    turned = planted._swapped_label(world, roles, np.random.default_rng(0))
    findings, _ = inspector.findings(turned)
    (found,) = [f for f in findings if f.check == "label_agreement"]
    assert (found.level, found.environments[0]) == ("warn", "west")


def test_two_environments_are_too_few_for_two_features_that_mislead(inspector, world):
    rng = np.random.default_rng(0)

    def telling(agree):
        def values(environment, label, roles, rng):
            told = rng.random(len(label)) < agree[environment]
            return np.where(told, label, 1 - label) + rng.normal(0, 0.1, len(label))

        return values

    first = planted._added(telling({"north": 0.9, "south": 0.7, "west": 0.5}))
    two = first(world, ROLES, rng)
    renamed = {
        cell: t.rename_columns(
            [c.replace("planted", "distance2") for c in t.schema.names]
        )
        for cell, t in two.items()
    }
    second = planted._added(telling({"north": 0.7, "south": 0.9, "west": 0.5}))
    both = {
        cell: t.drop(["distance"]).rename_columns(
            [
                c.replace("distance2", "distance")
                for c in t.drop(["distance"]).schema.names
            ]
        )
        for cell, t in second(renamed, ROLES, rng).items()
    }
    findings, _ = inspector.findings(both)
    (found,) = [f for f in findings if f.check == "too_few"]
    assert "distance" in found.sentence and "planted" in found.sentence
    assert "too_few" not in [f.check for f in inspector.findings(two)[0]]


def test_rows_of_few_distinct_values_coincide_without_being_copies(inspector, world):
    coarse = {}
    for cell, table in world.items():
        table = table.select(["environment", "sick", "day", "ward"])
        day = pa.compute.cast(pa.compute.divide(table["day"], 160), pa.int64())
        coarse[cell] = table.set_column(2, "day", day)
    findings, _ = inspector.findings(coarse)
    assert "duplicates" in [f.check for f in findings]
    assert not [f for f in findings if f.check.startswith("duplicates_across")]
