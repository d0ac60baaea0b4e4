"""The same work on every range of every file, on any Beam runner.

Each task leaves its result as a file, so nothing hangs on shared memory. A range that
holds more than the schema says widens it, and all are done again.
"""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import apache_beam as beam
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen import columns, readers, shards
from components.multi_env_example_gen.columns import Schema

_RESULTS = ".results"

Work = Callable[[shards.Task], dict[str, Any]]
_T = TypeVar("_T")


class Widened(Exception):
    """Columns hold more than their first blocks showed: name, kind, is_list of each."""

    def __init__(self, found: list[tuple[str, str, bool]]):
        super().__init__(found)
        self.found = found


def run(
    tasks: list[shards.Task],
    do: Work,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> list[dict[str, Any]]:
    """Does it to all.

    Args:
      tasks: the ranges.
      do: a function that can be pickled; its result is plain JSON.
      folder: for the results, which are gone in the end; made anew by the caller.
      make_pipeline: makes a Beam pipeline; called once.

    Returns:
      Of each task, in their order, what it returned.

    Raises:
      DataError: of a task, the first in their order.
      Widened: some rows hold more than was planned; see `until_wide`.
    """
    at = os.path.join(folder, _RESULTS)
    if tf.io.gfile.exists(at):
        tf.io.gfile.rmtree(at)
    tf.io.gfile.makedirs(at)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Tasks" >> beam.Create([shards.task_to_json(task) for task in tasks])
            | "Spread" >> beam.Reshuffle()
            | "Do" >> beam.Map(_do, do, at)
        )
    results = []
    for task in tasks:
        with tf.io.gfile.GFile(os.path.join(at, task.shard)) as file:
            results.append(json.loads(file.read()))
    tf.io.gfile.rmtree(at)
    errors = [r["error"] for r in results if "error" in r]
    if errors:
        raise DataError(errors[0])
    if widened := sorted({tuple(r["widen"]) for r in results if "widen" in r}):
        raise Widened(widened)
    return [r["done"] for r in results]


def _do(text: str, do: Any, folder: str) -> None:  # Beam reads hints, not all of them
    task = shards.task_from_json(text)
    try:
        result: dict[str, Any] = {"done": do(task)}
    except DataError as error:
        result = {"error": str(error)}
    except columns.ColumnWidened as wider:
        result = {"widen": [wider.column, wider.kind, wider.is_list]}
    with tf.io.gfile.GFile(os.path.join(folder, task.shard), "w") as file:
        file.write(json.dumps(result))


def until_wide(
    attempt: Callable[[], _T],
    schema: Schema,
    tasks: list[shards.Task],
    spec: shards.Spec,
) -> _T:
    """Tries, and again after each widening of the schema.

    Args:
      attempt: reads with `schema`; raises `ColumnWidened` or `Widened`.
      schema: becomes wider.
      tasks: the ranges.
      spec: names the columns that a file may lack.

    Raises:
      DataError: a column that some files cannot have.
    """
    while True:
        try:
            return attempt()
        except columns.ColumnWidened as wider:
            found = [(wider.column, wider.kind, wider.is_list)]
        except Widened as several:
            found = several.found
        for name, kind, is_list in found:
            _widen(schema, name, kind, is_list, tasks, spec)


def _widen(
    schema: Schema,
    name: str,
    kind: str,
    is_list: bool,
    tasks: list[shards.Task],
    spec: shards.Spec,
) -> None:
    """Takes what later rows showed: another kind of a column, or a column."""
    files = [task.file for task in tasks]
    with_header = [f.path for f in files if f.format not in readers.HEADERLESS]
    if name not in schema and with_header and name not in spec.optional:
        raise DataError(
            f"column {name!r} comes in later rows of some files, and {with_header[0]}"
            " has no such column; all environments need the same columns: add it,"
            " leave it out, or name it in data.optional"
        )
    known = schema.get(name, columns.Column("null"))
    schema[name] = columns.Column(kind, is_list or known.is_list)
