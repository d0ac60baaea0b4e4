"""The Beam side: one pass over the examples, split by split, to profiles."""

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms import window
from tfx_bsl.public.tfxio import TFExampleRecord

from components.environment_validator import repeats
from components.environment_validator.profiles import Columns, Partial, Profiler

_TELEMETRY = ["tfx-irm", "EnvironmentValidator"]
_BATCH_ROWS = 4_096
# Batches are taken together up to this size, so that one environment's rows are many.
_CHUNK_BYTES = 32 * 2**20
_REPEATS = ("", "")


class ProfileSplits(beam.PTransform):
    """Reads the splits and writes their pickled profiles and repeats to a file."""

    def __init__(self, columns: Columns, patterns: Mapping[str, list[str]], path: str):
        """Makes the transform.

        Args:
          columns: of the examples.
          patterns: split -> file patterns of its TFRecords.
          path: of the file: a pickled ([Profile], Repeats).
        """
        super().__init__(label="ProfileSplits")
        self._columns = columns
        self._patterns = patterns
        self._path = path

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Profiles every split, and merges by split and environment."""
        parts = []
        for split, files in self._patterns.items():
            record = TFExampleRecord(
                file_pattern=files,
                schema=self._columns.schema,
                telemetry_descriptors=_TELEMETRY,
            )
            parts.append(
                pipeline
                | f"Read[{split}]" >> record.BeamSource(_BATCH_ROWS)
                | f"Profile[{split}]" >> beam.ParDo(_Profile(self._columns, split))
            )
        return (
            parts
            | beam.Flatten()
            | beam.CombinePerKey(_Merge(self._columns))
            | beam.combiners.ToList()
            | beam.Map(_write, self._columns, self._path)
        )


class _Profile(beam.DoFn):
    """Batches of a bundle to `((split, environment), Partial)`, and repeats.

    One of each leaves a bundle: a runner keeps what leaves until all is read.
    """

    def __init__(self, columns: Columns, split: str):
        self._columns = columns
        self._split = split

    def setup(self) -> None:
        self._profiler = Profiler(self._columns)

    def start_bundle(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._found: dict[tuple[str, str], Any] = {}

    def process(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes >= _CHUNK_BYTES:
            self._profile()

    def finish_bundle(self) -> Iterator[Any]:
        self._profile()
        for element in self._found.items():
            yield window.GlobalWindows.windowed_value(element)

    def _profile(self) -> None:
        if not self._batches:
            return
        rows = pa.Table.from_batches(self._batches).combine_chunks()
        self._batches, self._bytes = [], 0
        for batch in rows.to_batches():
            found, repeated = self._profiler.take(batch, self._split)
            for environment, part in found.items():
                self._add((self._split, environment), part)
            self._add(_REPEATS, repeated)

    def _add(self, key: tuple[str, str], part: Any) -> None:
        parts = [self._found[key], part] if key in self._found else [part]
        self._found[key] = _together(self._profiler, parts)


class _Merge(beam.CombineFn):
    def __init__(self, columns: Columns):
        self._columns = columns

    def setup(self) -> None:
        self._profiler = Profiler(self._columns)

    def create_accumulator(self) -> list[Any]:
        return []

    def add_input(self, accumulator: list[Any], part: Any) -> list[Any]:
        return [_together(self._profiler, [*accumulator, part])]

    def merge_accumulators(self, accumulators: Any) -> list[Any]:
        parts = [part for accumulator in accumulators for part in accumulator]
        return [_together(self._profiler, parts)] if parts else []

    def extract_output(self, accumulator: list[Any]) -> Any:
        return accumulator[0]


def _together(profiler: Profiler, parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], repeats.Repeats):
        return repeats.merge(parts)
    return profiler.merge(parts)


def _write(found: list[tuple[Any, Any]], columns: Columns, path: str) -> None:
    from tfx.dsl.io import fileio

    profiler = Profiler(columns)
    profiles = [
        profiler.finish(part, split, environment)
        for (split, environment), part in found
        if isinstance(part, Partial)
    ]
    repeated = dict(found).get(_REPEATS, repeats.Repeats((), {}))
    with fileio.open(path, "wb") as file:
        file.write(pickle.dumps((profiles, repeated)))
