"""One range of one source file to its shards: stamp, label, split, encode, count."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import buckets
from components.errors import DataError
from components.multi_env_example_gen import counts as counting
from components.multi_env_example_gen import encoding, readers, splitting
from components.multi_env_example_gen.bad_rows import REFUSE, BadRows
from components.multi_env_example_gen.columns import (
    Column,
    ColumnWidened,
    Schema,
    as_kind,
    flat,
    to_feature,
)
from components.multi_env_example_gen.environments import name_environments
from components.multi_env_example_gen.labels import (
    class_names,
    is_regression,
    label_column,
    make_label,
    source_column,
)
from components.multi_env_example_gen.naming import Naming
from components.source_manifest.listing import SourceFile, check_unchanged

ENVIRONMENT = "environment"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What to make of the sources, the same for every range.

    Attributes:
      label: see `labels`.
      eval_fraction: share of the keys on the eval side, in (0, 1).
      split_by: key columns that stay on one side together; empty: each row alone.
      slices: features (or crosses) to count.
      buckets: feature -> edges by which a number is sliced; see `components.buckets`.
      naming: how a column tells the environment, or None.
      held_out: environments to hold out where a column tells them.
      optional: columns that some files may lack.
      numbers: columns that are wanted as numbers.
      on_bad_row: `refuse` or `drop`; see `bad_rows`.
      eval_time: a column by which the latest `eval_fraction` of each environment's rows
        are its eval side, or None.
      eval_column, eval_values: rows with one of these values, as text, are the eval
        side, or None.
      eval_from: environment -> its first `eval_time` on the eval side; see
        `ingest.first_eval_times`.
    """

    label: dict[str, Any]
    eval_fraction: float
    split_by: tuple[str, ...]
    slices: tuple[tuple[str, ...], ...]
    naming: Naming | None = None
    held_out: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    on_bad_row: str = REFUSE
    eval_time: str | None = None
    eval_column: str | None = None
    eval_values: tuple[str, ...] = ()
    eval_from: dict[str, Any] = dataclasses.field(default_factory=dict)
    buckets: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Task:
    """One range of one file, and the name of the shards that it becomes."""

    file: SourceFile
    part: readers.Range
    shard: str


def run_task(task: Task, spec: Spec, schema: Schema, folder: str) -> dict[str, Any]:
    """Writes the shards of one range.

    Args:
      task: the range.
      spec: label, split and slices.
      schema: the joint schema of all environments.
      folder: of the Examples; shards go to `<folder>/Split-<split>/<shard>.gz`.

    Returns:
      Counts (see `counts`).

    Raises:
      DataError, ColumnWidened: as the readers and `make_label` do.
    """
    check_unchanged(task.file)
    total = counting.empty()
    bad = bad_rows(task, spec)
    with _shards(folder, task.shard) as write:
        for batch in batches(task, schema, bad):
            check_columns(batch, schema, task)
            for split, examples in _process(batch, task, spec, schema, total).items():
                write(split, examples)
    check_unchanged(task.file)
    total["bad_rows"] = bad.as_json()
    return total


@contextlib.contextmanager
def _shards(folder: str, shard: str) -> Iterator[Callable[[str, pa.BinaryArray], None]]:
    """A function that adds examples to the shard of a split."""
    # Here, as it imports TensorFlow, which takes seconds.
    from components.multi_env_example_gen.record_writer import RecordWriter

    writers: dict[str, RecordWriter] = {}

    def write(split: str, examples: pa.BinaryArray) -> None:
        if split not in writers:
            path = os.path.join(folder, f"Split-{split}", f"{shard}.gz")
            writers[split] = RecordWriter(path)
        writers[split].write(examples)

    yield write
    for writer in writers.values():
        writer.close()


def bad_rows(task: Task, spec: Spec) -> BadRows:
    """A record of a range's bad rows."""
    return readers.bad_rows(task.file.path, task.file.format, spec.on_bad_row)


def batches(task: Task, schema: Schema, bad: BadRows) -> Iterator[pa.RecordBatch]:
    """The rows of a range, as the readers give them."""
    file = task.file
    return readers.batches(file.path, file.format, task.part, schema, file.options, bad)


def check_columns(batch: pa.RecordBatch, schema: Schema, task: Task) -> None:
    """Refuses a batch with a column that the schema has not.

    Raises:
      DataError, ColumnWidened: the latter where files have no header.
    """
    unknown = sorted(set(batch.schema.names) - set(schema))
    if unknown and task.file.format in readers.HEADERLESS:
        raise ColumnWidened(unknown[0], "null")  # its kind is found when it is read
    if unknown:
        raise DataError(
            f"{task.file.path}: column {unknown[0]!r} appears after the first"
            " records only; write the file with the same columns throughout"
        )


def _process(
    batch: pa.RecordBatch, task: Task, spec: Spec, schema: Schema, total: dict
) -> dict[str, pa.BinaryArray]:
    """Splits and encodes a batch, adds to the counts; split -> serialized examples."""
    total["rows"] += batch.num_rows
    columns = all_columns(batch, schema)
    source = columns[source_column(spec.label)]
    label = make_label(flat(source), spec.label, task.file.path)
    known = pc.is_valid(label).to_numpy(zero_copy_only=False)
    environment = environments_of(columns, task, spec, batch.num_rows)
    named = pc.is_valid(environment).to_numpy(zero_copy_only=False)
    if not (known & named).all():
        total["left_out"] += int((~named).sum())
        _count_unlabelled(total, environment, known & named, named, task, spec)
        keep = pa.array(known & named)
        columns = {name: column.filter(keep) for name, column in columns.items()}
        label, environment = label.filter(keep), environment.filter(keep)
    features = {n: to_feature(column, schema[n]) for n, column in columns.items()}
    on_eval = _on_eval_side(columns, features, environment, task, spec, schema)
    chosen = _assign(environment, on_eval, task, spec)
    _count(total, chosen, environment, label, columns, task, spec, schema)
    features[spec.label["name"]] = to_feature(label, label_column(spec.label))
    features[ENVIRONMENT] = to_feature(environment, Column("bytes"))
    names = sorted(features)
    stamped = pa.RecordBatch.from_arrays([features[n] for n in names], names)
    encoded = encoding.encode(stamped)
    return {
        split: encoded.filter(pa.array(chosen == index))
        for index, split in enumerate(splitting.SPLITS)
        if (chosen == index).any()
    }


def environments_of(
    columns: dict[str, pa.Array], task: Task, spec: Spec, rows: int
) -> pa.Array:
    """Of each row its environment; null where the config names none.

    Raises:
      DataError: the column that tells it has missing values, or no fit ones.
    """
    if spec.naming is None:
        return pa.array(np.full(rows, task.file.environment, dtype=object))
    column = columns[spec.naming.column]
    values = flat(column)
    if values.null_count:
        raise DataError(
            f"{task.file.path}: {values.null_count} rows have no value in"
            f" {spec.naming.column!r}, which tells the environment; fill it, or"
            " leave these rows out"
        )
    return name_environments(values, spec.naming, task.file.path)


def _held_out(environment: str, task: Task, spec: Spec) -> bool:
    return task.file.held_out or environment in spec.held_out


def _by_environment(environment: pa.Array) -> list[tuple[str, np.ndarray]]:
    encoded = environment.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    names = encoded.dictionary.to_pylist()
    return [(name, codes == code) for code, name in enumerate(names)]


def _count_unlabelled(
    total: dict,
    environment: pa.Array,
    known: np.ndarray,
    named: np.ndarray,
    task: Task,
    spec: Spec,
) -> None:
    for name, rows in _by_environment(environment.filter(pa.array(named))):
        dropped = {counting.NO_LABEL: int((rows & ~known[named]).sum())}
        held_out = _held_out(name, task, spec)
        counting.add_environment(total, name, held_out, dropped, {})


def times_by_environment(
    batch: pa.RecordBatch, task: Task, spec: Spec, schema: Schema
) -> dict[str, pa.Array]:
    """Values of `spec.eval_time` by environment: float64 or binary."""
    columns = all_columns(batch, schema)
    times = _times(columns, task, spec, schema)
    environment = environments_of(columns, task, spec, batch.num_rows)
    return {
        name: times.filter(pa.array(rows))
        for name, rows in _by_environment(environment)
        if name is not None
    }


def _times(
    columns: dict[str, pa.Array], task: Task, spec: Spec, schema: Schema
) -> pa.Array:
    assert spec.eval_time is not None
    column = schema[spec.eval_time]
    values = as_kind(flat(columns[spec.eval_time]), column.kind)
    if values.null_count:
        raise DataError(
            f"{task.file.path}: {values.null_count} rows have no value in"
            f" {spec.eval_time!r}, by which data.split.time splits; fill it, or leave"
            " these rows out"
        )
    return values if column.kind == "bytes" else values.cast(pa.float64())


def all_columns(batch: pa.RecordBatch, schema: Schema) -> dict[str, pa.Array]:
    """All columns of the schema; those that the batch lacks are missing."""
    return {
        name: batch.column(batch.schema.get_field_index(name))
        if name in batch.schema.names
        else pa.nulls(batch.num_rows)
        for name in schema
    }


def _on_eval_side(
    columns: dict[str, pa.Array],
    features: dict[str, pa.Array],
    environment: pa.Array,
    task: Task,
    spec: Spec,
    schema: Schema,
) -> np.ndarray:
    if spec.eval_column is not None:
        column = schema[spec.eval_column]
        values = as_kind(flat(columns[spec.eval_column]), column.kind)
        wanted = pa.array(spec.eval_values, pa.string())
        side = pc.is_in(values.cast(pa.string()), value_set=wanted)
        return side.to_numpy(zero_copy_only=False)
    if spec.eval_time is not None:
        times = _times(columns, task, spec, schema)
        side = np.zeros(len(times), bool)
        for name, rows in _by_environment(environment):
            first = pa.scalar(spec.eval_from[name], times.type)
            late = pc.greater_equal(times, first).to_numpy(zero_copy_only=False)
            side |= rows & late
        return side
    hashes = split_keys(columns, features, spec, schema)
    return splitting.on_eval_side(hashes, spec.eval_fraction)


def split_keys(
    columns: dict[str, pa.Array],
    features: dict[str, pa.Array],
    spec: Spec,
    schema: Schema,
) -> np.ndarray:
    """Hashes of what stays on one side of a split; uint64 [rows].

    Args:
      columns: as `all_columns` gives them.
      features: lists among them as `to_feature` makes them.
      spec: names the key, or the whole row is one.
      schema: the joint schema.
    """
    return splitting.key_hashes(
        [
            features[k]
            if pa.types.is_nested(columns[k].type)
            else as_kind(columns[k], schema[k].kind)
            for k in spec.split_by or schema
        ]
    )


def _assign(
    environment: pa.Array, on_eval: np.ndarray, task: Task, spec: Spec
) -> np.ndarray:
    """Index into SPLITS of each row, -1 where a held-out row is of a training key."""
    chosen = np.where(on_eval, 1, 0)
    alone = not (spec.split_by or spec.eval_time or spec.eval_column)
    for name, rows in _by_environment(environment):
        if _held_out(name, task, spec):
            kept = np.ones_like(on_eval) if alone else on_eval
            chosen = np.where(rows, np.where(kept, 2, -1), chosen)
    return chosen


def _count(
    total: dict,
    chosen: np.ndarray,
    environment: pa.Array,
    label: pa.Array,
    columns: dict[str, pa.Array],
    task: Task,
    spec: Spec,
    schema: Schema,
) -> None:
    found = label.to_numpy(zero_copy_only=False)
    for name, rows in _by_environment(environment):
        splits = {
            split: _sizes(found[rows & (chosen == i)], spec)
            for i, split in enumerate(splitting.SPLITS)
            if (rows & (chosen == i)).any()
        }
        dropped = {counting.TRAIN_SIDE: int((rows & (chosen == -1)).sum())}
        held_out = _held_out(name, task, spec)
        counting.add_environment(total, name, held_out, dropped, splits)
    for name, column in columns.items():
        total["missing"][name] = total["missing"].get(name, 0) + column.null_count
    sliced = {
        f: environment
        if f == ENVIRONMENT
        else _slice_values(flat(columns[f]), schema[f].kind, spec.buckets.get(f))
        for features in spec.slices
        for f in features
    }
    for i, split in enumerate(splitting.SPLITS):
        rows = pa.array(chosen == i)
        if not (chosen == i).any():
            continue
        for features in spec.slices:
            values = [sliced[f].filter(rows) for f in features]
            counting.add_slices(total, split, list(features), values)


def _sizes(label: np.ndarray, spec: Spec) -> dict[str, Any]:
    """Counts of some rows of one environment and split, see `counts`."""
    sizes: dict[str, Any] = {"examples": len(label), "positives": 0}
    if classes := class_names(spec.label):
        sizes["classes"] = np.bincount(label, minlength=len(classes)).tolist()
    elif not is_regression(spec.label):
        sizes["positives"] = int((label == 1).sum())
    return sizes


def _slice_values(
    column: pa.Array, kind: str, edges: tuple[float, ...] | None
) -> pa.Array:
    values = as_kind(column, kind)
    return values if edges is None else buckets.label(values, edges)


def task_to_json(task: Task) -> str:
    """A task as text: what travels through Beam."""
    return json.dumps(dataclasses.asdict(task))


def task_from_json(text: str) -> Task:
    """The inverse of `task_to_json`."""
    entry = json.loads(text)
    part = readers.Range(**entry["part"])
    return Task(SourceFile(**entry["file"]), part, entry["shard"])
