"""What is kept of each environment and split: one pass, memory bounded by a sketch.

Of every split and environment: TFDV's statistics (with its sketches for quantiles and
top values), the rows and positives, and a sample of rows. Over all of them: how often
rows occur, see `repeats`. Everything merges in any order to the same result.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_data_validation.statistics import stats_impl, stats_options
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.environment_validator import repeats
from components.errors import DataError
from components.multi_env_example_gen.splitting import key_hashes

SAMPLE_ROWS = 20_000
# Of each list, as many positions of the sample's rows are looked at.
MOST_POSITIONS = 64
_TOP_VALUES = 1_000
_HASH = "__hash__"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which column of the examples is what.

    Attributes:
      schema: of the examples.
      label: the label.
      label_columns: the label, and what it is made from.
      environment: the environment's.
      telltales: columns that name the environment, besides.
      split_by: columns that are kept on one side of the split.
      key: columns that name a row; () for none.
      candidates: what the model may see.
      task: binary, multiclass or regression.
      classes: their names, for multiclass.
    """

    schema: schema_pb2.Schema
    label: str
    label_columns: tuple[str, ...]
    environment: str
    telltales: tuple[str, ...] = ()
    split_by: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    task: str = "binary"
    classes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes the label has; 0 for a number."""
        return {"binary": 2, "regression": 0}.get(self.task, len(self.classes))


@dataclasses.dataclass
class Partial:
    """Of some rows of one environment in one split; all of it merges.

    Attributes:
      rows: how many.
      sizes: of them of each class, int64; [0] for a regression.
      statistics: TFDV's accumulators.
      sample: the rows of smallest hash, with the hash in a column.
    """

    rows: int
    sizes: np.ndarray
    statistics: list[Any]
    sample: pa.Table


@dataclasses.dataclass(frozen=True)
class Profile:
    """Of all rows of one environment in one split.

    Attributes:
      split: train, eval or ood.
      environment: its name.
      rows: how many.
      sizes: of them of each class; () for a regression.
      statistics: TFDV's.
      sample: up to SAMPLE_ROWS rows: the candidates and the label, a list's values as
        columns `name[3]`; text as text, numbers as float64; null where missing.
    """

    split: str
    environment: str
    rows: int
    sizes: tuple[int, ...]
    statistics: statistics_pb2.DatasetFeatureStatistics
    sample: pa.Table

    @property
    def positives(self) -> int:
        """Rows of class 1 of a binary label."""
        return self.sizes[1] if len(self.sizes) > 1 else 0


class Profiler:
    """Makes, merges and finishes `Partial`s."""

    def __init__(self, columns: Columns):
        self._columns = columns
        options = stats_options.StatsOptions(
            schema=columns.schema,
            num_top_values=_TOP_VALUES,
            num_rank_histogram_buckets=_TOP_VALUES,
        )
        # In-memory generators are the sketching ones: their memory is bounded.
        self._generators = stats_impl.get_generators(options, in_memory=True)

    def take(
        self, batch: pa.RecordBatch, split: str
    ) -> tuple[dict[str, Partial], repeats.Repeats]:
        """The partials of a batch by environment, and how often its rows occur.

        Raises:
          DataError: an example without environment or label.
        """
        columns = self._columns
        names = _single(batch, columns.environment, split)
        labels = _labels(batch, columns, split)
        hashes = self._hashes(batch)
        encoded = names.dictionary_encode()
        found: dict[str, Partial] = {}
        parts = []
        for i, name in enumerate(encoded.dictionary.to_pylist()):
            mask = pc.equal(encoded.indices, i)
            rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
            index = pa.array(rows)
            mine = batch if len(rows) == batch.num_rows else batch.take(index)
            text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            found[text] = Partial(
                len(rows),
                _sizes(labels[rows], columns.num_classes),
                [g.add_input(g.create_accumulator(), mine) for g in self._generators],
                self._sample(mine, hashes[repeats.ROW][rows]),
            )
            parts.append(
                repeats.count({k: h[rows] for k, h in hashes.items()}, (split, text))
            )
        return found, repeats.merge(parts)

    def merge(self, parts: Iterable[Partial]) -> Partial:
        """The partial of all rows together."""
        found = list(parts)
        merged = [
            g.merge_accumulators([part.statistics[i] for part in found])
            for i, g in enumerate(self._generators)
        ]
        sample = _together([p.sample for p in found])
        return Partial(
            sum(p.rows for p in found),
            np.sum([p.sizes for p in found], axis=0),
            [g.compact(a) for g, a in zip(self._generators, merged, strict=True)],
            _smallest(sample),
        )

    def finish(self, part: Partial, split: str, environment: str) -> Profile:
        """What is kept in the end."""
        merged = stats_impl.extract_statistics_output(
            part.statistics, self._generators
        ).datasets[0]
        merged.name = f"{environment} ({split})"
        merged.num_examples = part.rows
        sample = part.sample.drop([_HASH])
        sizes = tuple(part.sizes.tolist())
        return Profile(split, environment, part.rows, sizes, merged, sample)

    def _hashes(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        columns = self._columns
        stamps = {columns.environment, *columns.telltales}
        rest = sorted(set(batch.schema.names) - stamps)
        unlabelled = [name for name in rest if name not in columns.label_columns]
        found = {
            repeats.ROW: key_hashes([batch.column(n) for n in rest]),
            repeats.UNLABELLED: key_hashes([batch.column(n) for n in unlabelled]),
        }
        for kind, names in (
            (repeats.KEY, columns.key),
            (repeats.SPLIT_KEY, columns.split_by),
        ):
            if names:
                found[kind] = key_hashes([batch.column(name) for name in names])
        return found

    def _sample(self, batch: pa.RecordBatch, hashes: np.ndarray) -> pa.Table:
        rows = np.argsort(hashes, kind="stable")[:SAMPLE_ROWS]
        table: dict[str, pa.Array] = {_HASH: pa.array(hashes[rows])}
        index = pa.array(rows)
        for name in (*self._columns.candidates, self._columns.label):
            column = batch.column(name).take(index)
            table |= _flat(name, column)
        return pa.table(table)


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all; null where a table has not the column."""
    types = {field.name: field.type for t in tables for field in t.schema}
    return pa.concat_tables(
        pa.table(
            {
                name: t[name] if name in t.schema.names else pa.nulls(len(t), kind)
                for name, kind in types.items()
            }
        )
        for t in tables
    )


def _smallest(table: pa.Table) -> pa.Table:
    if table.num_rows <= SAMPLE_ROWS:
        return table
    hashes = table[_HASH].to_numpy()
    return table.take(pa.array(np.argsort(hashes, kind="stable")[:SAMPLE_ROWS]))


def _flat(name: str, column: pa.Array) -> dict[str, pa.Array]:
    """A list column as columns of single values.

    Positions are evenly chosen where all lists that there are have one length, else
    they are the first.
    """
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    most = int(lengths.max(initial=0))
    if most <= 1:
        return {name: _plain(_at(column, lengths, 0))}
    is_dense = bool(np.isin(lengths, (0, most)).all())
    step = max(most / MOST_POSITIONS, 1) if is_dense else 1
    chosen = np.unique((np.arange(min(most, MOST_POSITIONS)) * step).astype(int))
    return {f"{name}[{i}]": _plain(_at(column, lengths, i)) for i in chosen}


def _at(column: pa.Array, lengths: np.ndarray, position: int) -> pa.Array:
    """The value at a position of each list, null where it is shorter."""
    values = pc.list_flatten(column)
    starts = np.cumsum(lengths) - lengths
    there = lengths > position
    index = pa.array(np.where(there, starts + position, 0), mask=~there)
    return values.take(index) if len(values) else pa.nulls(len(column), values.type)


def _plain(values: pa.Array) -> pa.Array:
    if pa.types.is_null(values.type):
        return values.cast(pa.float64())
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64(), safe=False)
        finite = pc.is_finite(numbers)
        return pc.if_else(finite, numbers, pa.scalar(None, pa.float64()))
    encoded = values.dictionary_encode()
    texts = [
        value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _single(batch: pa.RecordBatch, name: str, split: str) -> pa.Array:
    """One value a row.

    Raises:
      DataError: an example has none, or several.
    """
    at = batch.schema.get_field_index(name)
    column = batch.column(at) if at >= 0 else None
    if column is None or pa.types.is_null(column.type):
        raise DataError(f"feature {name!r} is in no example of split {split!r}")
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    if len(batch) and pc.min_max(lengths).as_py() != {"min": 1, "max": 1}:
        raise DataError(
            f"feature {name!r} in split {split!r}: an example has none or several"
            " values, and needs one"
        )
    return pc.list_flatten(column)


def _labels(batch: pa.RecordBatch, columns: Columns, split: str) -> np.ndarray:
    found = _single(batch, columns.label, split).to_numpy(zero_copy_only=False)
    if columns.num_classes and len(found) and found.max() >= columns.num_classes:
        raise DataError(
            f"feature {columns.label!r} in split {split!r}: an example has the label"
            f" {found.max():g}, and there are {columns.num_classes} classes"
        )
    return np.asarray(found, dtype=np.float64)


def _sizes(labels: np.ndarray, classes: int) -> np.ndarray:
    """Rows of each class; int64 [classes]."""
    if not classes:
        return np.zeros(0, np.int64)
    return np.bincount(labels.astype(np.int64), minlength=classes)


def order(profiles: Sequence[Profile]) -> list[Profile]:
    """By split and name."""
    rank = {"train": 0, "eval": 1, "ood": 2}
    return sorted(profiles, key=lambda p: (rank.get(p.split, 3), p.environment))
