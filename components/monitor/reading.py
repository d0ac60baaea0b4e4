"""Files of a stream to rows: read and encoded as ingestion does it, and scored."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import buckets
from components.errors import DataError
from components.evaluator.pooling import text
from components.invariance_validator.kinds import ENVIRONMENT
from components.monitor.rows import Rows, concatenate
from components.multi_env_example_gen import encoding, labels, readers, shards
from components.multi_env_example_gen.columns import (
    Column,
    Schema,
    as_kind,
    flat,
    to_feature,
)
from components.source_manifest.listing import SourceFile

Score = Callable[[pa.BinaryArray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Spec:
    """What to make of the files.

    Attributes:
      ingested: how ingestion reads them; `split_by` is what belongs together; without
        `naming` the environment of each file is its rows'.
      columns: column of the model -> its kind.
      slices: features to slice by, each once, without the environment.
      weight: a column, or None.
    """

    ingested: shards.Spec
    columns: Mapping[str, str]
    slices: tuple[str, ...] = ()
    weight: str | None = None


@dataclasses.dataclass(frozen=True)
class Stream:
    """What files held.

    Attributes:
      rows: those of some environment.
      labelled: whether the label's column is there.
      left_out: rows of no environment that the config names.
      bad_rows: dropped; file -> what, see `bad_rows`.
    """

    rows: Rows
    labelled: bool
    left_out: int
    bad_rows: dict[str, Any]


def read(files: Sequence[SourceFile], spec: Spec, score: Score) -> Stream:
    """All rows of some files, with their scores.

    Args:
      files: of the stream, one at least.
      spec: what to make of them.
      score: of serialized examples, predictions [N] or [N, K].

    Raises:
      DataError: a file cannot be read, has no rows, or not the columns of the model.
    """
    # Here, as Beam and TensorFlow take seconds to import.
    from components.multi_env_example_gen import ingest, tasks

    schema = _schema(files, spec)
    planned = ingest.plan_tasks(list(files))

    def attempt() -> Stream:
        for name, kind in spec.columns.items():
            _settle(schema, name, kind, files)
        return _read(planned, spec, schema, score)

    return tasks.until_wide(attempt, schema, planned, spec.ingested)


def _schema(files: Sequence[SourceFile], spec: Spec) -> Schema:
    """The joint schema, with the columns of the model in its kinds."""
    found = {f.path: readers.schema_of(f.path, f.format, f.options) for f in files}
    headerless = {f.path for f in files if f.format in readers.HEADERLESS}
    csv = {f.path: f.options for f in files if f.format == "csv"}
    taken = [name for name, kind in spec.columns.items() if kind != "bytes"]
    numbers = sorted({*spec.ingested.numbers, *taken})
    optional = spec.ingested.optional
    schema = readers.joint_schema(
        {"the stream": found}, headerless, optional, csv, numbers
    )
    absent = sorted(set(spec.columns) - set(schema) - set(optional))
    if absent and (len(headerless) < len(files) or len(absent) == len(spec.columns)):
        raise DataError(
            f"{files[0].path} has no column {absent[0]!r}, which the served model takes"
            f" (missing: {', '.join(absent)}; the columns are {', '.join(schema)});"
            " give it the columns of the training data"
        )
    named = {
        "data.split.by": spec.ingested.split_by,
        "evaluate.slices": spec.slices,
        "data.weight": (spec.weight,) if spec.weight else (),
    }
    if spec.ingested.naming is not None:
        column = spec.ingested.naming.column
        if column not in schema:
            raise DataError(
                f"{files[0].path} has no column {column!r}, which tells the"
                " environment; add it, or name the one of all rows with --environment"
            )
    for key, names in named.items():
        for name in names:
            if name not in schema and name != ENVIRONMENT:
                raise DataError(
                    f"{files[0].path} has no column {name!r}, which {key} names; the"
                    f" columns are {', '.join(schema)}"
                )
    return schema


def _settle(schema: Schema, name: str, kind: str, files: Sequence[SourceFile]) -> None:
    """Gives a column of the stream the kind that the model takes."""
    column = schema.get(name, Column("null"))
    if column.kind == kind:
        return
    if (column.kind == "bytes") != (kind == "bytes") and column.kind != "null":
        held = "text" if column.kind == "bytes" else "numbers"
        wanted = "text" if kind == "bytes" else "numbers"
        raise DataError(
            f"{files[0].path}: column {name!r} holds {held}, and the served model takes"
            f" {wanted}; bring it into the form of the training data"
        )
    if not (column.kind == "float" and kind == "int"):  # checked when it is read
        schema[name] = Column(kind, column.is_list)


def _read(
    planned: Sequence[shards.Task], spec: Spec, schema: Schema, score: Score
) -> Stream:
    parts: list[Rows] = []
    left_out, bad_rows = 0, {}
    source = labels.source_column(spec.ingested.label)
    for task in planned:
        bad = shards.bad_rows(task, spec.ingested)
        for batch in shards.batches(task, schema, bad):
            shards.check_columns(batch, schema, task)
            rows, more = _of_batch(batch, task, spec, schema, score)
            left_out += more
            if rows is not None:
                parts.append(rows)
        bad_rows.update(bad.as_json())
    if not parts:
        names = ", ".join(dict.fromkeys(task.file.path for task in planned))
        why = f"; {left_out:,} are of no environment of the config" if left_out else ""
        raise DataError(f"{names or 'the stream'} has no rows to look at{why}")
    return Stream(concatenate(parts), source in schema, left_out, bad_rows)


def _of_batch(
    batch: pa.RecordBatch, task: shards.Task, spec: Spec, schema: Schema, score: Score
) -> tuple[Rows | None, int]:
    """The rows of a batch that are of some environment, and how many are of none."""
    columns = shards.all_columns(batch, schema)
    environment = shards.environments_of(columns, task, spec.ingested, batch.num_rows)
    named = pc.is_valid(environment)
    left_out = batch.num_rows - (pc.sum(named).as_py() or 0)
    if left_out:
        columns = {name: column.filter(named) for name, column in columns.items()}
        environment = environment.filter(named)
    if not len(environment):
        return None, left_out
    features = {}
    for name, column in columns.items():
        kind = spec.columns.get(name, schema[name].kind)
        _check_whole(column, kind, name, task.file.path)
        features[name] = to_feature(column, Column(kind, schema[name].is_list))
    values = {name: _slice_values(columns, schema, name, spec) for name in spec.slices}
    texts = {name: _texts(column) for name, column in values.items()}
    units = None
    if spec.ingested.split_by:
        units = shards.split_keys(columns, features, spec.ingested, schema)
    missing = {
        name: features[name].is_null().to_numpy(zero_copy_only=False)
        for name in spec.columns
        if name in features
    }
    features[ENVIRONMENT] = to_feature(environment, Column("bytes"))
    names = sorted(features)
    stamped = pa.RecordBatch.from_arrays([features[n] for n in names], names)
    found = Rows(
        labels=_labels(columns, task, spec, len(environment)),
        predictions=score(encoding.encode(stamped)),
        values={**texts, ENVIRONMENT: _texts(environment)},
        units=units,
        weights=_weights(columns, task, spec),
        missing=missing,
    )
    return found, left_out


def _labels(
    columns: dict[str, pa.Array], task: shards.Task, spec: Spec, rows: int
) -> np.ndarray:
    source = labels.source_column(spec.ingested.label)
    if source not in columns:
        return np.full(rows, np.nan)
    made = labels.make_label(flat(columns[source]), spec.ingested.label, task.file.path)
    found: np.ndarray = made.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _weights(
    columns: dict[str, pa.Array], task: shards.Task, spec: Spec
) -> np.ndarray | None:
    if spec.weight is None:
        return None
    numbers = as_kind(flat(columns[spec.weight]), "float").cast(pa.float64())
    found: np.ndarray = numbers.to_numpy(zero_copy_only=False)
    if not (found >= 0).all():
        raise DataError(
            f"{task.file.path}: a value of {spec.weight!r}, the weight, is missing or"
            " below 0; correct it, or leave such rows out"
        )
    return found


def _check_whole(column: pa.Array, kind: str, name: str, where: str) -> None:
    """Refuses a fraction where the model takes whole numbers."""
    values = pc.list_flatten(column) if pa.types.is_nested(column.type) else column
    if kind == "int" and pa.types.is_floating(values.type):
        numbers = values.drop_null()
        if not pc.all(pc.equal(numbers, pc.floor(numbers))).as_py() and len(numbers):
            raise DataError(
                f"{where}: column {name!r} holds fractions, and the served model takes"
                " whole numbers; bring it into the form of the training data"
            )


def _slice_values(
    columns: dict[str, pa.Array], schema: Schema, name: str, spec: Spec
) -> pa.Array:
    # In the kind of the training data, so that 5.0 is the slice that 5 was.
    kind = spec.columns.get(name, schema[name].kind)
    values = as_kind(flat(columns[name]), kind)
    edges = spec.ingested.buckets.get(name)
    return values if edges is None else buckets.label(values, edges)


def _texts(column: pa.Array) -> np.ndarray:
    """Values as text, as slices are named; None where missing."""
    encoded = column.dictionary_encode()
    names = [text(value) for value in encoded.dictionary.to_pylist()]
    known = np.array([*names, None], dtype=object)
    codes = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return known[codes.astype(np.int64)]
