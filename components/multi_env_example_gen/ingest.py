"""From the manifest's files to split examples: schema first, then shards, on Beam."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import counts as counting
from components.multi_env_example_gen import (
    query_files,
    readers,
    shards,
    splitting,
)
from components.multi_env_example_gen import tasks as tasks_lib
from components.multi_env_example_gen.columns import Schema
from components.multi_env_example_gen.labels import (
    check_label,
    class_names,
    is_regression,
    source_column,
)
from components.source_manifest.listing import SourceFile, check_unchanged

QUERIES = ".queries"


def ingest(
    files: list[SourceFile],
    spec: shards.Spec,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> dict[str, Any]:
    """Writes `<folder>/Split-{train,eval,ood}/*.gz` and returns the counts.

    Args:
      files: the manifest.
      spec: label, split, slices.
      folder: of the Examples artifact.
      make_pipeline: makes a Beam pipeline; called once, or again for queries, and each
        time that a CSV column turns out to be wider than its first block showed.

    Raises:
      DataError: the data cannot be trained on; one sentence.
    """
    schema = plan_schema(files, spec)
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
    at = os.path.join(folder, QUERIES)
    with query_files.read(files, at, make_pipeline) as local:
        tasks = plan_tasks(local.sources)
        total = counting.merge(_counts(tasks, spec, schema, folder, make_pipeline))
    total["bad_rows"] = local.rename(total["bad_rows"])
    check_counts(total, files, spec)
    return total


def _counts(
    tasks: list[shards.Task],
    spec: shards.Spec,
    schema: Schema,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> list[dict[str, Any]]:
    """Those of every task, once the schema is wide enough for all."""

    def attempt() -> list[dict[str, Any]]:
        eval_from = first_eval_times(tasks, spec, schema)
        timed = dataclasses.replace(spec, eval_from=eval_from)
        return _run(tasks, timed, schema, folder, make_pipeline)

    return tasks_lib.until_wide(attempt, schema, tasks, spec)


def first_eval_times(
    tasks: list[shards.Task], spec: shards.Spec, schema: Schema
) -> dict[str, Any]:
    """Where a time splits: the first of each environment's eval side.

    The rows from it on are the latest `spec.eval_fraction`, and those of the same time
    as their first. It takes all rows, labelled or not, and hangs on nothing else.

    Raises:
      DataError, ColumnWidened: as `shards.run_task` does.
    """
    if spec.eval_time is None:
        return {}
    found: dict[str, list[pa.Array]] = {}
    for task in tasks:
        for batch in shards.batches(task, schema, shards.bad_rows(task, spec)):
            times = shards.times_by_environment(batch, task, spec, schema)
            for name, values in times.items():
                found.setdefault(name, []).append(values)
    first = {}
    for name, arrays in found.items():
        times = pa.concat_arrays(arrays)
        at = min(math.ceil(len(times) * (1 - spec.eval_fraction)), len(times) - 1)
        order = pc.sort_indices(times)
        first[name] = times[order[at].as_py()].as_py()
    return first


def plan_schema(files: list[SourceFile], spec: shards.Spec) -> Schema:
    """The joint schema, checked for the columns that the config names."""
    schemas: dict[str, dict[str, Schema]] = {}
    for file in files:
        check_unchanged(file)
        found = readers.schema_of(file.path, file.format, file.options)
        schemas.setdefault(file.environment or "the source", {})[file.path] = found
    headerless = {file.path for file in files if file.format in readers.HEADERLESS}
    csv = {file.path: file.options for file in files if file.format == "csv"}
    schema = readers.joint_schema(schemas, headerless, spec.optional, csv, spec.numbers)
    source = source_column(spec.label)
    for environment, by_path in schemas.items():
        if not any(source in found for found in by_path.values()):
            check_label(spec.label, by_path[next(iter(by_path))], [environment])
    check_label(spec.label, schema, list(schemas))
    known = {*schema, shards.ENVIRONMENT}
    for key, names in (
        ("data.split.by", spec.split_by),
        ("data.split.time", [spec.eval_time]),
        ("data.split.column", [spec.eval_column]),
        ("evaluate.slices", [f for cross in spec.slices for f in cross]),
        ("data.environments.environment_column", [spec.naming and spec.naming.column]),
    ):
        for name in names:
            if name is not None and name not in known:
                raise DataError(
                    f"{key}: column {name!r} is not in the data; the columns are"
                    f" {', '.join(schema)}"
                )
    for name in spec.buckets:
        if name in schema and schema[name].kind == "bytes":
            raise DataError(
                f"evaluate.buckets: column {name!r} holds text, and buckets need"
                " numbers; slice by its values instead"
            )
    told_by = spec.naming.column if spec.naming else None
    if shards.ENVIRONMENT in schema and told_by != shards.ENVIRONMENT:
        raise DataError(
            f"the data already has a column {shards.ENVIRONMENT!r}, which is where the"
            " environment is stamped; rename it, or name it as environment_column"
        )
    return schema


def plan_tasks(files: list[SourceFile]) -> list[shards.Task]:
    """Every range of every file, with the name of its shards."""
    parts = [
        (file, part)
        for file in files
        for part in readers.ranges_of(file.path, file.format, file.options)
    ]
    return [
        shards.Task(file, part, f"data_tfrecord-{i:05d}-of-{len(parts):05d}")
        for i, (file, part) in enumerate(parts)
    ]


def check_counts(
    counts: dict[str, Any], files: list[SourceFile], spec: shards.Spec
) -> None:
    """Refuses data that no invariance can be learned from or shown on.

    Raises:
      DataError: an environment with no rows or no labelled rows, one class only in a
        training environment, a held-out environment without examples.
    """
    found = counts["environments"]
    names = [f.environment for f in files if f.environment] + list(spec.held_out)
    for name in dict.fromkeys([*names, *found]):
        entry = found.get(name)
        examples = sum(s["examples"] for s in entry["splits"].values()) if entry else 0
        if entry is None:
            raise DataError(
                f"environment {name!r} has no rows; check its files, or remove it from"
                " data.environments"
            )
        if entry["held_out"] and not entry["splits"].get(splitting.OOD):
            raise DataError(
                f"held-out environment {name!r} has no examples left to evaluate:"
                f" {_dropped(entry)}; give it more data, or another split"
            )
        if not examples:
            raise DataError(
                f"environment {name!r} has no labelled rows: {_dropped(entry)}; check"
                " data.label"
            )
        if not entry["held_out"]:
            _check_training(name, entry, spec)


def _check_training(name: str, entry: dict[str, Any], spec: shards.Spec) -> None:
    for split in (splitting.TRAIN, splitting.EVAL):
        numbers = entry["splits"].get(split, {"examples": 0, "positives": 0})
        if not numbers["examples"]:
            raise DataError(
                f"environment {name!r} has no rows in split {split!r}; change"
                " data.split (a fraction nearer to 0.5, or finer keys in `by`)"
            )
    train = entry["splits"][splitting.TRAIN]
    value = _only_class(train, spec)
    if value is not None:
        raise DataError(
            f"environment {name!r} has one class only in split 'train': all"
            f" {train['examples']:,} examples have {spec.label['name']} = {value};"
            " check data.label, or hold the environment out"
        )


def _only_class(train: dict[str, Any], spec: shards.Spec) -> str | None:
    """The one class that all examples have; None where there are two, or none."""
    if is_regression(spec.label):
        return None
    if names := class_names(spec.label):
        there = [n for n, size in zip(names, train["classes"], strict=True) if size]
        return there[0] if len(there) == 1 else None
    if train["positives"] in (0, train["examples"]):
        return "1" if train["positives"] else "0"
    return None


def _dropped(entry: dict[str, Any]) -> str:
    dropped = entry["dropped"]
    return (
        f"{dropped[counting.NO_LABEL]:,} rows without a label,"
        f" {dropped[counting.TRAIN_SIDE]:,} on the training side of the split's key"
    )


def _run(
    tasks: list[shards.Task],
    spec: shards.Spec,
    schema: Schema,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> list[dict[str, Any]]:
    """Writes all shards; the counts of each task."""
    for split in splitting.SPLITS:
        at = os.path.join(folder, f"Split-{split}")
        if tf.io.gfile.exists(at):
            tf.io.gfile.rmtree(at)
        tf.io.gfile.makedirs(at)
    do = functools.partial(_write_shards, spec, schema, folder)
    return tasks_lib.run(tasks, do, folder, make_pipeline)


def _write_shards(
    spec: shards.Spec, schema: Schema, folder: str, task: shards.Task
) -> dict[str, Any]:
    return shards.run_task(task, spec, schema, folder)
