"""The two passes over all rows: a sample to fit on, then an environment for each row.

Both do one range of one file at a time and hold one batch of it, with at most the
sample beside; what they leave lies in a folder that every worker can write.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet
import tensorflow as tf

from components.environment_inferrer import design
from components.environment_inferrer.rule import TableRule
from components.hashing import mix
from components.multi_env_example_gen import shards
from components.multi_env_example_gen.columns import Schema, flat, to_feature
from components.multi_env_example_gen.labels import make_label

ORDER, KEY, LABEL = "order", "key", "label"
_FEATURE = "feature "


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every pass knows.

    Attributes:
      spec: as ingestion takes it: label, split, what becomes of bad rows.
      schema: of all columns.
      kinds: features, see `design.choose`.
      most: rows of each label in a sample.
      folder: for what a pass leaves.
    """

    spec: shards.Spec
    schema: Schema
    kinds: dict[str, str]
    most: int
    folder: str


@dataclasses.dataclass(frozen=True)
class _Rows:
    """A batch.

    Attributes:
      columns: all of the schema, as `design.stored` gives them.
      labels: int64 with null where unknown; [rows].
      keys: see `shards.split_keys`; uint64 [rows].
    """

    columns: dict[str, pa.Array]
    labels: pa.Array
    keys: np.ndarray


def _rows(task: shards.Task, plan: Plan, bad: Any) -> Iterator[_Rows]:
    spec, schema = plan.spec, plan.schema
    source = spec.label.get("from") or spec.label["name"]
    for batch in shards.batches(task, schema, bad):
        shards.check_columns(batch, schema, task)
        columns = shards.all_columns(batch, schema)
        labels = make_label(flat(columns[source]), spec.label, task.file.path)
        lists = {
            name: to_feature(column, schema[name])
            for name, column in columns.items()
            if pa.types.is_nested(column.type)
        }
        keys = shards.split_keys(columns, lists, spec, schema)
        kept = {n: design.stored(c, schema, n) for n, c in columns.items()}
        yield _Rows(kept, labels, keys)


def sample_task(
    task: shards.Task, plan: Plan, numbers: Mapping[str, int]
) -> dict[str, Any]:
    """Leaves a sample of a range: `<folder>/<shard>`, at most `most` rows a label.

    A row is in the sample by a hash of its place, so the sample hangs on the files
    alone.

    Args:
      task: the range.
      plan: what for.
      numbers: shard -> number of the range.

    Returns:
      `labels`: how many rows have label 0 and 1.

    Raises:
      DataError, ColumnWidened: as the readers and `make_label` do.
    """
    start = mix(np.array([numbers[task.shard]], np.uint64))
    seen, counts = 0, [0, 0]
    tables: list[pa.Table] = []
    for rows in _rows(task, plan, shards.bad_rows(task, plan.spec)):
        place = np.arange(seen, seen + len(rows.labels), dtype=np.uint64)
        seen += len(rows.labels)
        for label in (0, 1):
            found = pc.equal(rows.labels, pa.scalar(label, pa.int64()))
            counts[label] += pc.sum(found).as_py() or 0
        tables.append(_table(rows, mix(start + place), plan))
        if len(tables) > 1:  # so that no more than a batch and a sample are held
            tables = [smallest(pa.concat_tables(tables), plan.most)]
    if tables:
        with _create(os.path.join(plan.folder, task.shard)) as out:
            pa_parquet.write_table(smallest(tables[0], plan.most), out)
    return {"labels": counts}


def _table(rows: _Rows, order: np.ndarray, plan: Plan) -> pa.Table:
    features = {_FEATURE + name: rows.columns[name] for name in plan.kinds}
    own = {ORDER: pa.array(order), KEY: pa.array(rows.keys), LABEL: rows.labels}
    table = pa.table({**own, **features})
    return table.filter(pc.is_valid(table[LABEL]))


def smallest(table: pa.Table, most: int) -> pa.Table:
    """Of each label, the `most` rows that come first by their hash; in that order."""
    labels = table[LABEL].to_numpy()
    order = np.argsort(table[ORDER].to_numpy(), kind="stable")
    kept = np.zeros(len(order), bool)
    for label in (0, 1):
        kept[order[labels[order] == label][:most]] = True
    return table.take(pa.array(order[kept[order]]))


def gather(tasks: list[shards.Task], plan: Plan) -> pa.Table:
    """The sample of all ranges; columns `order`, `key`, `label` and the features."""
    whole: pa.Table | None = None
    for task in tasks:
        path = os.path.join(plan.folder, task.shard)
        if not tf.io.gfile.exists(path):
            continue
        with tf.io.gfile.GFile(path, "rb") as file:
            part = pa_parquet.read_table(io.BytesIO(file.read()))
        both = part if whole is None else pa.concat_tables([whole, part])
        whole = smallest(both, plan.most)
    if whole is None:
        none = _Rows(
            {n: pa.array([], design.stored_type(plan.schema, n)) for n in plan.kinds},
            pa.array([], pa.int64()),
            np.zeros(0, np.uint64),
        )
        whole = _table(none, np.zeros(0, np.uint64), plan)
    return whole


def features_of(table: pa.Table) -> dict[str, pa.Array]:
    """The features of a gathered sample."""
    return {
        name.removeprefix(_FEATURE): table[name].combine_chunks()
        for name in table.column_names
        if name.startswith(_FEATURE)
    }


def write_task(
    task: shards.Task, plan: Plan, rule: TableRule, names: tuple[str, ...]
) -> dict[str, Any]:
    """Writes the rows of a range by environment: `<folder>/<name>/<shard>.parquet`.

    Rows without a label, of which no example is made, go to the first environment, so
    that ingestion counts them.

    Args:
      task: the range.
      plan: what for.
      rule: assigns environments.
      names: of these.

    Returns:
      `rows`: of each environment with a label; `positives` among them; `unlabelled`;
      `bad_rows` (see `bad_rows`).

    Raises:
      DataError, ColumnWidened: as the readers and `make_label` do.
    """
    types = {name: design.stored_type(plan.schema, name) for name in plan.schema}
    schema = pa.schema(list(types.items()))
    bad = shards.bad_rows(task, plan.spec)
    rows, positives, unlabelled = [0] * len(names), [0] * len(names), 0
    with contextlib.ExitStack() as stack:
        writers: dict[int, pa_parquet.ParquetWriter] = {}
        for batch in _rows(task, plan, bad):
            labels = pc.fill_null(batch.labels, -1).to_numpy(zero_copy_only=False)
            known = labels >= 0
            found = rule.assign(batch.columns, np.maximum(labels, 0), batch.keys)
            found = np.where(known, found, 0)
            unlabelled += int((~known).sum())
            table = pa.table(batch.columns, schema=schema)
            for i in np.unique(found):
                mine = found == i
                rows[i] += int((mine & known).sum())
                positives[i] += int((mine & (labels == 1)).sum())
                if i not in writers:
                    at = os.path.join(plan.folder, names[i], f"{task.shard}.parquet")
                    out = stack.enter_context(_create(at))
                    writer = pa_parquet.ParquetWriter(out, schema)
                    writers[i] = stack.enter_context(writer)
                writers[i].write_table(table.filter(pa.array(mine)))
    return {
        "rows": rows,
        "positives": positives,
        "unlabelled": unlabelled,
        "bad_rows": bad.as_json(),
    }


@contextlib.contextmanager
def _create(path: str) -> Iterator[pa.PythonFile]:
    """A file to write for Arrow, on any filesystem that TensorFlow knows."""
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        yield pa.PythonFile(_Sink(file), mode="w")
        file.flush()


class _Sink:
    """A GFile as Arrow wants a file."""

    closed = False

    def __init__(self, file: Any):
        self._file, self._at = file, 0

    def write(self, content: bytes) -> int:
        self._file.write(bytes(content))
        self._at += len(content)
        return len(content)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
