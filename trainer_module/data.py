"""The input pipeline: TFRecords of tf.Examples to batches balanced by environment.

Every split is read once: gunzipped, parsed a few thousand rows at a time, put through
the transform graph. The transformed rows are packed into one matrix of floats and one
of ids, so that a training batch is two gathers, not one a column. They stay in memory
up to `MAX_BYTES`; a split that is larger is counted in that first pass and then read
from its files again and again, an environment at a time.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from trainer_module.features import ENVIRONMENT, LABEL, WEIGHT, Feature
from trainer_module.labels import LabelScale, Moments, check_labels
from trainer_module.settings import Columns, TrainSettings
from trainer_module.transform_graph import TransformGraph

READ_BATCH = 4096
EVAL_BATCH = 8192
MAX_BYTES = 2 * 2**30
SHUFFLE_ROWS = 50_000
_FOREVER = 2**40  # epochs

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Unpacked rows of a batch.

    Attributes:
      features: name -> [B, width] float32 or [B, 1] int32.
      labels: [B, 1] float32: 0 or 1, ids of classes, or a regression's numbers in
        deviations from their mean.
      weights: [B] float32, or None where no column holds weights.
      environment_ids: [B] int32.
    """

    features: dict[str, tf.Tensor]
    labels: tf.Tensor
    weights: tf.Tensor | None
    environment_ids: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Layout:
    """How rows are packed: [B, F] float32 and [B, I] int32.

    Attributes:
      features: the model's inputs.
      weighted: whether there is a column of weights.
      scale: what labels are standardised by; packed they are as they were.
    """

    features: tuple[Feature, ...]
    weighted: bool
    scale: LabelScale = LabelScale()

    @property
    def floats(self) -> list[tuple[str, int]]:
        """Names and widths in the matrix of floats."""
        pairs = [(f.name, f.width) for f in self.features if f.cardinality is None]
        return pairs + [(LABEL, 1)] + ([(WEIGHT, 1)] if self.weighted else [])

    @property
    def ids(self) -> list[tuple[str, int]]:
        """Names and widths in the matrix of ids."""
        names = [f.name for f in self.features if f.cardinality is not None]
        return [(name, 1) for name in [*names, ENVIRONMENT]]

    @property
    def label_at(self) -> int:
        """The label's column in the matrix of floats; a weight follows it."""
        return sum(width for _, width in self.floats) - 1 - self.weighted

    def pack(self, transformed: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Packs what the transform graph returns."""

        def join(pairs: list[tuple[str, int]], dtype: tf.DType) -> tf.Tensor:
            parts = [
                tf.reshape(transformed[name], [-1, width]) for name, width in pairs
            ]
            return tf.concat([tf.cast(part, dtype) for part in parts], axis=1)

        return join(self.floats, tf.float32), join(self.ids, tf.int32)

    def unpack(self, floats: tf.Tensor, ids: tf.Tensor) -> Rows:
        """Undoes `pack`, and standardises the labels."""
        parts: dict[str, tf.Tensor] = {}
        for pairs, packed in ((self.floats, floats), (self.ids, ids)):
            split = tf.split(packed, [width for _, width in pairs], axis=1)
            parts.update(zip((name for name, _ in pairs), split, strict=True))
        weights = parts.pop(WEIGHT) if self.weighted else None
        return Rows(
            features=parts,
            labels=self.scale.standardise(parts.pop(LABEL)),
            weights=None if weights is None else tf.reshape(weights, [-1]),
            environment_ids=tf.reshape(parts.pop(ENVIRONMENT), [-1]),
        )


@dataclasses.dataclass(frozen=True)
class Split:
    """One split, transformed.

    Attributes:
      layout: how its rows are packed.
      environments: names of the training environments.
      counts: [E] rows of each environment.
      stream: packed batches in the order of the files, read anew each time.
      memory: both matrices, or None where they don't fit.
      label_moments: of the labels of the training environments.
    """

    layout: Layout
    environments: tuple[str, ...]
    counts: np.ndarray
    stream: tf.data.Dataset
    memory: tuple[tf.Tensor, tf.Tensor] | None
    label_moments: Moments = dataclasses.field(default_factory=Moments)

    def batches(self, batch_size: int = EVAL_BATCH) -> tf.data.Dataset:
        """Packed batches of every row once, in order; the last one may be smaller."""
        if self.memory is None:
            return self.stream.rebatch(batch_size).prefetch(2)
        floats, ids = self.memory
        starts = tf.data.Dataset.range(0, floats.shape[0], batch_size)
        return starts.map(
            lambda start: (
                floats[start : start + batch_size],
                ids[start : start + batch_size],
            )
        ).prefetch(2)

    def balanced(self, batch_size: int, seed: int, start: int = 0) -> tf.data.Dataset:
        """Endless packed batches with equally many rows of every environment.

        Each environment is shuffled by itself and starts over, newly shuffled, when it
        is used up; environments of different sizes so take different numbers of steps.
        A batch that holds every row of every environment is not shuffled.
        In memory the shuffle is over all rows, else over `SHUFFLE_ROWS` at a time.

        Args:
          batch_size: rows; what is left over by the number of environments is dropped.
          seed: the same seed gives the same batches.
          start: how many batches to leave out. In memory that takes no time; from files
            what is left out is read.

        Raises:
          ValueError: an environment has no rows.
        """
        for name, count in zip(self.environments, self.counts, strict=True):
            if count == 0:
                raise ValueError(
                    f"Training environment {name!r} has no rows in the train split: "
                    "check its source, or take it out of data.environments"
                )
        share = batch_size // len(self.environments)
        if self._is_whole(share):
            return tf.data.Dataset.from_tensors(self.memory).repeat()  # full batches
        make = self._streamed if self.memory is None else self._shuffled
        with tf.device("CPU"):
            parts = [make(i, share, seed, start) for i in range(len(self.environments))]
        joined = tf.data.Dataset.zip(tuple(parts)).map(_concat)
        if self.memory is not None:
            floats, ids = self.memory
            joined = joined.map(
                lambda rows: (tf.gather(floats, rows), tf.gather(ids, rows)),
                num_parallel_calls=2,
            )
        return joined.prefetch(tf.data.AUTOTUNE)

    def without(self, index: int) -> Split:
        """The split as if it had never had one of its environments."""

        def leave(floats: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own = ids[:, -1:]
            own = tf.where(own == index, -1, own - tf.cast(own > index, tf.int32))
            return floats, tf.concat([ids[:, :-1], own], axis=1)

        names = list(self.environments)
        del names[index]
        with tf.device("CPU"):
            memory = None if self.memory is None else leave(*self.memory)
        return Split(
            self.layout,
            tuple(names),
            np.delete(self.counts, index),
            self.stream.map(leave),
            memory,
        )

    def _is_whole(self, share: int) -> bool:
        """Whether `share` rows of each environment are all rows there are."""
        if self.memory is None or (self.counts != share).any():
            return False
        return len(self.memory[0]) == self.counts.sum()

    def _shuffled(
        self, index: int, share: int, seed: int, start: int
    ) -> tf.data.Dataset:
        """Row numbers of one environment, `share` at a time, shuffled every epoch."""
        assert self.memory is not None
        environment_ids = self.memory[1][:, -1]
        rows = tf.cast(tf.reshape(tf.where(environment_ids == index), [-1]), tf.int32)

        first, offset = divmod(start * share, int(self.counts[index]))

        def permuted(epoch: tf.Tensor) -> tf.Tensor:
            order = _permutation(tf.size(rows), seed, index, epoch)
            return tf.gather(rows, order)[tf.where(epoch == first, offset, 0) :]

        epochs = tf.data.Dataset.range(first, _FOREVER).map(permuted)
        return epochs.rebatch(share, drop_remainder=True).prefetch(4)

    def _streamed(
        self, index: int, share: int, seed: int, start: int
    ) -> tf.data.Dataset:
        """Packed rows of one environment, `share` at a time, from the files."""

        def own(floats: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            mine = ids[:, -1] == index
            return tf.boolean_mask(floats, mine), tf.boolean_mask(ids, mine)

        size = min(SHUFFLE_ROWS, int(self.counts[index]))
        first, offset = divmod(start * share, size)

        def permuted(
            number: tf.Tensor, block: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, ...]:
            order = _permutation(tf.shape(block[0])[0], seed, index, number)
            order = order[tf.where(number == first, offset, 0) :]
            return tuple(tf.gather(part, order) for part in block)

        blocks = self.stream.map(own).repeat().rebatch(size).skip(first)
        rows = blocks.enumerate(first).map(permuted)
        return rows.rebatch(share, drop_remainder=True).prefetch(4)


def load_splits(
    files: Sequence[Sequence[str]], graph: TransformGraph, settings: TrainSettings
) -> list[Split]:
    """Reads and transforms the training split and others.

    Args:
      files: of each split, its file patterns; those of the training split first. Its
        labels tell the scale of a regression's.
      graph: the transform graph.
      settings: columns and task.

    Raises:
      ValueError: as `load_split` does.
    """
    columns, classes = settings.columns, settings.classes
    splits: list[Split] = []
    for patterns in files:
        split = load_split(patterns, graph, columns, classes=classes)
        if settings.task == "regression":
            scale = splits[0].layout.scale if splits else split.label_moments.scale
            layout = dataclasses.replace(split.layout, scale=scale)
            split = dataclasses.replace(split, layout=layout)
        splits.append(split)
    return splits


def load_split(
    patterns: Sequence[str],
    graph: TransformGraph,
    columns: Columns,
    max_bytes: int = MAX_BYTES,
    classes: int | None = None,
) -> Split:
    """Reads and transforms a split.

    Args:
      patterns: file patterns of TFRecords, gzipped where the name ends in .gz.
      graph: the transform graph.
      columns: label, weight, environment.
      max_bytes: of the transformed rows; a larger split is streamed.
      classes: number of classes of a multiclass task, else None.

    Returns:
      The split, in memory if it fits.

    Raises:
      ValueError: no file matches, there are no rows, or a row has no label, one that is
        no class, or a weight that is missing or negative.
    """
    layout = Layout(graph.features, weighted=columns.weight is not None)
    stream = _transformed(patterns, graph, layout)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    counts = np.zeros(len(columns.environments), np.int64)
    used = total = 0
    moments = Moments()
    for floats, ids in _checked(stream, layout, columns, classes):
        total += len(ids)
        moments.add(floats[ids[:, -1] >= 0, layout.label_at])
        counts += np.bincount(ids[ids[:, -1] >= 0, -1], minlength=len(counts))
        used += floats.nbytes + ids.nbytes
        if used <= max_bytes:
            kept.append((floats, ids))
        else:
            kept.clear()
    if total == 0:
        raise ValueError(f"There are no examples in {', '.join(patterns)}")
    memory = None
    if kept:
        with tf.device("CPU"):
            floats, ids = zip(*kept, strict=True)
            memory = (
                tf.constant(np.concatenate(floats)),
                tf.constant(np.concatenate(ids)),
            )
    else:
        _LOG.info("%d rows need %d MB: streamed from files", total, used >> 20)
    return Split(layout, columns.environments, counts, stream, memory, moments)


def read_examples(patterns: Sequence[str]) -> tf.data.Dataset:
    """Serialized tf.Examples, a string each, of all files that the patterns match.

    Args:
      patterns: file patterns of TFRecords, gzipped where the name ends in .gz.

    Raises:
      ValueError: a pattern matches nothing.
    """

    def records(name: str) -> tf.data.Dataset:
        compression = "GZIP" if name.endswith(".gz") else ""
        return tf.data.TFRecordDataset(name, compression, buffer_size=8 * 2**20)

    files: list[str] = []
    for pattern in patterns:
        found = sorted(tf.io.gfile.glob(pattern))
        if not found:
            raise ValueError(f"No file matches {pattern!r}")
        files.extend(found)
    dataset = records(files[0])
    for name in files[1:]:
        dataset = dataset.concatenate(records(name))
    return dataset


def _transformed(
    patterns: Sequence[str], graph: TransformGraph, layout: Layout
) -> tf.data.Dataset:
    """Packed batches of `READ_BATCH` rows in the order of the files."""

    # AutoGraph would spend seconds on rewriting TFT's Python, which needs none of it.
    @tf.autograph.experimental.do_not_convert
    def transform(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = tf.io.parse_example(serialized, graph.training_spec)
        return layout.pack(graph.apply(raw))

    batches = read_examples(patterns).batch(READ_BATCH)
    return batches.map(transform, num_parallel_calls=2).prefetch(2)


def _checked(
    stream: tf.data.Dataset, layout: Layout, columns: Columns, classes: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """NumPy batches, refused where labels or weights can't be trained with."""
    for floats, ids in stream.as_numpy_iterator():
        check_labels(floats[:, layout.label_at], columns.label, classes)
        if layout.weighted and not (floats[:, -1] >= 0).all():
            raise ValueError(
                f"Weight {columns.weight!r} is missing or negative in some examples; "
                "expected a number >= 0"
            )
        yield floats, ids


def _permutation(
    size: tf.Tensor, seed: int, environment: int, epoch: tf.Tensor
) -> tf.Tensor:
    """A random order of `size` rows; it hangs on the three other numbers alone."""
    keys = tf.random.stateless_uniform([size], [seed, environment * _FOREVER + epoch])
    return tf.argsort(keys)


def _concat(*parts: tf.Tensor | tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor | tuple:
    """Joins the environments' shares of a batch, row numbers or packed rows."""
    if isinstance(parts[0], tuple):
        return tuple(tf.concat(same, axis=0) for same in zip(*parts, strict=True))
    return tf.concat(parts, axis=0)
