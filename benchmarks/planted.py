"""Defects planted into a data set of several environments, and who should name them.

A world is (split, environment) -> table of plain columns. Each defect changes a copy of
it and says which checks may name it, for which feature and environment.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

World = dict[tuple[str, str], pa.Table]


@dataclasses.dataclass(frozen=True)
class Roles:
    """Columns and environments that the defects are planted in.

    Attributes:
      label: the label.
      key: what the split is made by.
      degrees: a number with a wide range of two signs or none, such as degrees F.
      length: a positive number, such as miles.
      share: a number from 0 to 100.
      clock: a time of day as HHMM.
      category: a category with a value that is common everywhere.
      victim: the training environment that the defect is in.
      other: another training environment.
    """

    label: str
    key: tuple[str, ...]
    degrees: str
    length: str
    share: str
    clock: str
    category: str
    victim: str
    other: str


@dataclasses.dataclass(frozen=True)
class Defect:
    """A defect, and what an inspection should say of it.

    Attributes:
      name: in words.
      plant: makes the world that has it.
      checks: one of these must find it.
      feature: that the finding names; "" for none.
      error: whether the run should stop by default.
    """

    name: str
    plant: Callable[[World, Roles, np.random.Generator], World]
    checks: tuple[str, ...]
    feature: Callable[[Roles], str] = lambda roles: ""
    error: bool = True


def _of(world: World, environment: str) -> list[tuple[str, str]]:
    return [cell for cell in world if cell[1] == environment]


def _each(
    world: World, environment: str, change: Callable[[pa.Table], pa.Table]
) -> World:
    return {
        cell: change(table) if cell[1] == environment else table
        for cell, table in world.items()
    }


def _set(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def _numbers(
    name: Callable[[Roles], str], change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[World, Roles, np.random.Generator], World]:
    """A number changed everywhere in the victim; missing stays missing."""

    def plant(world: World, roles: Roles, rng: np.random.Generator) -> World:
        column = name(roles)

        def changed(table: pa.Table) -> pa.Table:
            values = np.asarray(table[column].cast(pa.float64()), np.float64)
            new = change(values)
            return _set(table, column, pa.array(new, mask=np.isnan(values)))

        everywhere = {
            cell: _set(table, column, table[column].cast(pa.float64()))
            for cell, table in world.items()
        }
        return _each(everywhere, roles.victim, changed)

    return plant


def _some(
    column: Callable[[Roles], str], share: float, value: float | None
) -> Callable[[World, Roles, np.random.Generator], World]:
    """A share of a number's values in the victim becomes one value."""

    def plant(world: World, roles: Roles, rng: np.random.Generator) -> World:
        def changed(table: pa.Table) -> pa.Table:
            values = table[column(roles)].cast(pa.float64())
            hit = pa.array(rng.random(len(values)) < share)
            new = pc.if_else(hit, pa.scalar(value, pa.float64()), values)
            return _set(table, column(roles), new)

        everywhere = {
            cell: _set(table, column(roles), table[column(roles)].cast(pa.float64()))
            for cell, table in world.items()
        }
        return _each(everywhere, roles.victim, changed)

    return plant


def _category(
    change: Callable[[list[str | None], str], list[str | None]],
) -> Callable[[World, Roles, np.random.Generator], World]:
    def plant(world: World, roles: Roles, rng: np.random.Generator) -> World:
        common = _common(world, roles.category)

        def changed(table: pa.Table) -> pa.Table:
            values = table[roles.category].to_pylist()
            return _set(table, roles.category, pa.array(change(values, common)))

        return _each(world, roles.victim, changed)

    return plant


def _common(world: World, column: str) -> str:
    """The value whose smallest share over environments is the largest."""
    shares: dict[str, list[float]] = {}
    environments = sorted({environment for _, environment in world})
    for environment in environments:
        values = pa.concat_arrays(
            [c for cell in _of(world, environment) for c in world[cell][column].chunks]
        )
        for entry in values.value_counts().to_pylist():
            if entry["values"] is not None:
                share = entry["counts"] / len(values)
                shares.setdefault(entry["values"], []).append(share)
    everywhere = {k: min(v) for k, v in shares.items() if len(v) == len(environments)}
    return max(everywhere, key=everywhere.__getitem__)


def _without(world: World, roles: Roles, rng: np.random.Generator) -> World:
    common = _common(world, roles.category)
    return _each(
        world,
        roles.victim,
        lambda t: t.filter(pc.fill_null(pc.not_equal(t[roles.category], common), True)),
    )


def _added(
    values: Callable[[str, np.ndarray, Roles, np.random.Generator], np.ndarray],
) -> Callable[[World, Roles, np.random.Generator], World]:
    """A new number `planted` made from the label."""

    def plant(world: World, roles: Roles, rng: np.random.Generator) -> World:
        return {
            cell: table.append_column(
                "planted",
                pa.array(
                    values(cell[1], np.asarray(table[roles.label]), roles, rng),
                    pa.float64(),
                ),
            )
            for cell, table in world.items()
        }

    return plant


def _leak(
    environment: str, label: np.ndarray, roles: Roles, rng: np.random.Generator
) -> np.ndarray:
    return label + rng.normal(0, 0.2, len(label))


def _leak_here(
    environment: str, label: np.ndarray, roles: Roles, rng: np.random.Generator
) -> np.ndarray:
    told = label if environment == roles.victim else np.zeros(len(label))
    return told + rng.normal(0, 0.2, len(label))


def _spurious(
    environment: str, label: np.ndarray, roles: Roles, rng: np.random.Generator
) -> np.ndarray:
    agree = 0.9 if environment == roles.victim else 0.6
    told = np.where(rng.random(len(label)) < agree, label, 1 - label)
    return told + rng.normal(0, 0.1, len(label))


def _name(
    environment: str, label: np.ndarray, roles: Roles, rng: np.random.Generator
) -> np.ndarray:
    return rng.normal(10 * (environment == roles.victim), 0.5, len(label))


def _sample(table: pa.Table, share: float, rng: np.random.Generator) -> pa.Table:
    rows = rng.choice(len(table), max(int(share * len(table)), 1), replace=False)
    return table.take(pa.array(np.sort(rows)))


def _more(world: World, cell: tuple[str, str], rows: pa.Table) -> World:
    rows = rows.select(world[cell].schema.names).cast(world[cell].schema)
    return {**world, cell: pa.concat_tables([world[cell], rows])}


def _copied_to_eval(world: World, roles: Roles, rng: np.random.Generator) -> World:
    rows = _sample(world["train", roles.victim], 0.05, rng)
    return _more(world, ("eval", roles.victim), rows)


def _copied_to_other(world: World, roles: Roles, rng: np.random.Generator) -> World:
    rows = _sample(world["train", roles.other], 0.05, rng)
    return _more(world, ("train", roles.victim), rows)


def _twice(world: World, roles: Roles, rng: np.random.Generator) -> World:
    rows = _sample(world["train", roles.victim], 0.1, rng)
    return _more(world, ("train", roles.victim), rows)


def _contradicted(world: World, roles: Roles, rng: np.random.Generator) -> World:
    rows = _sample(world["train", roles.victim], 0.1, rng)
    flipped = pc.subtract(1, rows[roles.label])
    return _more(world, ("train", roles.victim), _set(rows, roles.label, flipped))


def _key_on_both_sides(world: World, roles: Roles, rng: np.random.Generator) -> World:
    train, held = ("train", roles.victim), ("eval", roles.victim)
    rows = world[train]
    first = [rows[name][0].as_py() for name in roles.key]
    mask = np.ones(len(rows), bool)
    for name, value in zip(roles.key, first, strict=True):
        mask &= np.asarray(pc.equal(rows[name], value))
    some = np.flatnonzero(mask)[: max(mask.sum() // 2, 1)]
    keep = np.setdiff1d(np.arange(len(rows)), some)
    moved = {**world, train: rows.take(pa.array(keep))}
    return _more(moved, held, rows.take(pa.array(some)))


def _swapped_label(world: World, roles: Roles, rng: np.random.Generator) -> World:
    return _each(
        world,
        roles.victim,
        lambda t: _set(t, roles.label, pc.subtract(1, t[roles.label])),
    )


def _one_class(world: World, roles: Roles, rng: np.random.Generator) -> World:
    cell = ("train", roles.victim)
    table = world[cell]
    return {**world, cell: table.filter(pc.equal(table[roles.label], 0))}


def _label_shift(world: World, roles: Roles, rng: np.random.Generator) -> World:
    def changed(table: pa.Table) -> pa.Table:
        label = np.asarray(table[roles.label])
        keep = (label == 1) | (rng.random(len(label)) < 0.2)
        return table.filter(pa.array(keep))

    return _each(world, roles.victim, changed)


def _few(world: World, roles: Roles, rng: np.random.Generator) -> World:
    return _each(world, roles.victim, lambda t: t.slice(0, 50))


def _clock(values: np.ndarray) -> np.ndarray:
    hours, minutes = np.divmod(values, 100)
    return (hours + 5) % 24 * 100 + minutes


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "Fahrenheit here, Celsius there",
        _numbers(lambda r: r.degrees, lambda v: (v - 32) / 1.8),
        ("unit",),
        lambda r: r.degrees,
    ),
    Defect(
        "miles here, kilometres there",
        _numbers(lambda r: r.length, lambda v: v * 1.609344),
        ("unit",),
        lambda r: r.length,
        error=False,
    ),
    Defect(
        "per cent here, shares there",
        _numbers(lambda r: r.share, lambda v: v / 100),
        ("unit",),
        lambda r: r.share,
    ),
    Defect(
        "a thousand times as large",
        _numbers(lambda r: r.length, lambda v: v * 1000),
        ("unit",),
        lambda r: r.length,
    ),
    Defect(
        "a clock five hours ahead",
        _numbers(lambda r: r.clock, _clock),
        ("offset",),
        lambda r: r.clock,
        error=False,
    ),
    Defect(
        "a thermometer 20 degrees too high",
        _numbers(lambda r: r.degrees, lambda v: v + 20),
        ("offset",),
        lambda r: r.degrees,
        error=False,
    ),
    Defect(
        "-999 for missing, in a twentieth",
        _some(lambda r: r.degrees, 0.05, -999.0),
        ("sentinel",),
        lambda r: r.degrees,
    ),
    Defect(
        "missing in four fifths",
        _some(lambda r: r.degrees, 0.8, None),
        ("missing_rate",),
        lambda r: r.degrees,
    ),
    Defect(
        "not recorded at all",
        _some(lambda r: r.degrees, 1.0, None),
        ("missing_rate",),
        lambda r: r.degrees,
    ),
    Defect(
        "a stuck sensor",
        _some(lambda r: r.degrees, 1.0, 50.0),
        ("constant",),
        lambda r: r.degrees,
    ),
    Defect(
        "another range",
        _numbers(lambda r: r.share, lambda v: 500 + v * 3.1),
        ("range",),
        lambda r: r.share,
    ),
    Defect(
        "a common category is gone",
        _without,
        ("categories",),
        lambda r: r.category,
        error=False,
    ),
    Defect(
        "a category renamed",
        _category(lambda v, common: [x if x != common else f"{x}-new" for x in v]),
        ("categories",),
        lambda r: r.category,
        error=False,
    ),
    Defect(
        "categories in small letters",
        _category(lambda v, common: [x and x.lower() for x in v]),
        ("categories", "category_distance"),
        lambda r: r.category,
        error=False,
    ),
    Defect("a leak", _added(_leak), ("leak",), lambda r: "planted"),
    Defect(
        "a leak in one environment", _added(_leak_here), ("leak",), lambda r: "planted"
    ),
    Defect(
        "a spurious feature",
        _added(_spurious),
        ("spurious",),
        lambda r: "planted",
        error=False,
    ),
    Defect(
        "the environment by another name",
        _added(_name),
        ("tells_environment", "range"),
        lambda r: "planted",
        error=False,
    ),
    Defect("a swapped label", _swapped_label, ("label_agreement",)),
    Defect("one class only", _one_class, ("label_support",)),
    Defect("another prevalence", _label_shift, ("label_shift",), error=False),
    Defect("fifty examples", _few, ("examples",), error=False),
    Defect("trained rows in eval", _copied_to_eval, ("duplicates_across_splits",)),
    Defect(
        "rows of another environment",
        _copied_to_other,
        ("duplicates_across_environments",),
    ),
    Defect("rows twice", _twice, ("duplicates",), error=False),
    Defect("twins of both labels", _contradicted, ("conflicting_labels",), error=False),
    Defect("a key on both sides", _key_on_both_sides, ("split_keys",)),
)


def sampled(world: World, rows: int, seed: int) -> World:
    """About so many rows of a world, drawn without replacement."""
    rng = np.random.default_rng(seed)
    share = min(rows / sum(len(table) for table in world.values()), 1.0)
    return {cell: _sample(table, share, rng) for cell, table in world.items()}


def resampled(
    world: World, rng: np.random.Generator, rows: int | None, key: tuple[str, ...]
) -> World:
    """A bootstrap resample: of rows, or of whole keys where `key` is given.

    Args:
      world: to resample, each environment and split by itself.
      rng: random numbers.
      rows: of the whole world about so many are drawn; None: as many as there are.
      key: columns that name what is drawn together; () for single rows.
    """
    total = sum(len(table) for table in world.values())
    share = 1.0 if rows is None else min(rows / total, 1.0)
    made = {}
    for cell, table in world.items():
        if not key:
            number = max(int(share * len(table)), 1)
            index = rng.integers(0, len(table), number)
        else:
            index = _drawn_keys(table, key, share, rng)
        made[cell] = table.take(pa.array(np.sort(index)))
    return made


def _drawn_keys(
    table: pa.Table, key: tuple[str, ...], share: float, rng: np.random.Generator
) -> np.ndarray:
    columns = np.stack([np.asarray(table[name]) for name in key])
    _, group = np.unique(columns, axis=1, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(group.max() + 2))
    number = max(int(share * (len(bounds) - 1)), 1)
    drawn = rng.integers(0, len(bounds) - 1, number)
    return np.concatenate([order[bounds[g] : bounds[g + 1]] for g in drawn])


def list_columns(table: pa.Table) -> pa.RecordBatch:
    """A table as tf.Examples are decoded: every value in a list, null where missing."""
    arrays = []
    for column in table.columns:
        flat = pa.concat_arrays([pa.array([], column.type), *column.chunks])
        if pa.types.is_string(flat.type):
            flat = flat.cast(pa.binary())
        elif pa.types.is_floating(flat.type):
            flat = flat.cast(pa.float32())
        there = np.asarray(flat.is_valid())
        offsets = np.concatenate([[0], np.cumsum(there)]).astype(np.int64)
        mask = pa.array(np.append(~there, False))
        made = pa.LargeListArray.from_arrays(
            pa.array(offsets, pa.int64(), mask=np.asarray(mask)), flat.drop_null()
        )
        arrays.append(made)
    return pa.RecordBatch.from_arrays(arrays, table.schema.names)


def shapes(world: Mapping[tuple[str, str], pa.Table]) -> dict[str, str]:
    """Column -> INT, FLOAT or BYTES."""
    kinds: dict[str, str] = {}
    for table in world.values():
        for field in table.schema:
            if pa.types.is_integer(field.type):
                kinds.setdefault(field.name, "INT")
            elif pa.types.is_floating(field.type):
                kinds[field.name] = "FLOAT"
            elif not pa.types.is_null(field.type):
                kinds[field.name] = "BYTES"
    return kinds
