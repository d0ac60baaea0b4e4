"""The rows of queries as files, which are then read as any others.

Beam's own reader runs a query into a temporary table and exports that, which costs
nothing, to Avro files in Cloud Storage. Rows come in any order: each goes, by a hash of
itself, to one of as many buckets as all rows need, and is sorted there. So the files
are the same, byte for byte, for the same rows, and memory is bounded by a bucket.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import tensorflow as tf
from apache_beam.io.gcp.bigquery import BigQueryQueryPriority
from apache_beam.options.pipeline_options import GoogleCloudOptions

from components import bigquery, files
from components.bigquery import Field
from components.errors import DataError
from components.multi_env_example_gen import bad_rows, query_rows
from components.source_manifest import matching
from components.source_manifest.listing import SourceFile, check_unchanged

BUCKET = 64 << 20  # bytes of rows as text, about
_GROUP = 1 << 14  # rows of a row group


@dataclasses.dataclass(frozen=True)
class Local:
    """Sources of which the queries have become files.

    Attributes:
      sources: in their order, those of a query in its place.
      names: path of such a file -> name of the query.
    """

    sources: list[SourceFile]
    names: dict[str, str]

    def rename(self, found: dict[str, Any]) -> dict[str, Any]:
        """Bad rows by their query; a row of a result has no number."""
        renamed: dict[str, Any] = {}
        for path, entry in found.items():
            if path in self.names:
                entry = {**entry, "first": []}
            bad_rows.merge(renamed, {self.names.get(path, path): entry})
        return renamed


@contextlib.contextmanager
def read(
    sources: list[SourceFile], folder: str, make_pipeline: Callable[[], beam.Pipeline]
) -> Iterator[Local]:
    """Runs the queries among some sources, for as long as their rows are needed.

    Args:
      sources: the manifest.
      folder: for the rows; gone in the end.
      make_pipeline: makes a Beam pipeline; called once, where there is a query.

    Raises:
      DataError: a query fails, or a table has changed meanwhile; within, those that
        name such a file name its query instead.
    """
    queries = [one for one in sources if one.format == bigquery.FORMAT]
    if not queries:
        yield Local(sources, {})
        return
    try:
        parts = _read(queries, folder, make_pipeline)
        for query in queries:
            check_unchanged(query)
        names = {
            part.path: query.path
            for query, listed in zip(queries, parts, strict=True)
            for part in listed
        }
        left = iter(parts)
        found = [
            part
            for one in sources
            for part in (next(left) if one.format == bigquery.FORMAT else [one])
        ]
        try:
            yield Local(found, names)
        except DataError as error:
            raise DataError(_named(str(error), names)) from error
    finally:
        if tf.io.gfile.exists(folder):
            tf.io.gfile.rmtree(folder)


def _named(text: str, names: dict[str, str]) -> str:
    for path, name in names.items():
        parts = re.split(rf"{re.escape(path)}(?:, row [0-9,]+)?", text)
        text = name.join(parts)
    return text


def _read(
    queries: list[SourceFile], folder: str, make_pipeline: Callable[[], beam.Pipeline]
) -> list[list[SourceFile]]:
    """Of each query, the files of its rows."""
    steps = []
    for i, query in enumerate(queries):
        where = matching.where(query.environment)
        at = os.path.join(folder, f"query-{i:03d}")
        steps.append(_Write(bigquery.explain(query.options, where).fields, at))
        tf.io.gfile.makedirs(at)
    try:
        with make_pipeline() as pipeline:
            for i, (query, step) in enumerate(zip(queries, steps, strict=True)):
                _check_project(query, pipeline)
                rows = pipeline | f"Read{i}" >> _reader(query.options)
                _ = rows | f"Write{i}" >> step
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        names = " and ".join(query.path for query in queries)
        raise DataError(
            f"{names} cannot be read: {reason}; see what BigQuery says of the job in"
            " the history of the project"
        ) from error
    return [
        [_listed(query, path) for path in step.written()]
        for query, step in zip(queries, steps, strict=True)
    ]


def _check_project(query: SourceFile, pipeline: beam.Pipeline) -> None:
    """Beam asks in the project of its own options, where another table may lie."""
    billed = pipeline.options.view_as(GoogleCloudOptions).project
    if billed not in (None, query.options["project"]):
        raise DataError(
            f"{query.path} is asked in {query.options['project']!r}, but Beam has"
            f" --project={billed}; name the same project"
        )


def _reader(options: dict[str, Any]) -> beam.PTransform:
    return beam.io.ReadFromBigQuery(
        method=beam.io.ReadFromBigQuery.Method.EXPORT,
        gcs_location=options["temp"],
        query=options["query"],
        project=options["project"],
        use_standard_sql=True,
        flatten_results=False,
        # The other kind may wait for a day, where nothing tells why.
        query_priority=BigQueryQueryPriority.INTERACTIVE,
    )


def _reason(error: Exception) -> str | None:
    """What BigQuery or Cloud Storage said; None where it was neither."""
    text = str(error)
    if "BigQuery job" not in text and "HttpError" not in text:
        return None
    said = re.search(r"message\\?[\"']?: (?P<quote>\\?['\"])(.+?)(?P=quote)", text)
    return " ".join((said[2] if said else text).split()).rstrip(".")[:300]


def _listed(query: SourceFile, path: str) -> SourceFile:
    stat = files.stat(path)
    return dataclasses.replace(
        query,
        format="parquet",
        path=path,
        size=stat.size,
        digest="",
        version=stat.version,
        options={},
    )


class _Write(beam.PTransform):
    """Rows to `<folder>/<bucket>-of-<buckets>.parquet`."""

    def __init__(self, fields: tuple[Field, ...], folder: str):
        super().__init__()
        self.fields, self.folder = fields, folder

    def written(self) -> list[str]:
        """The files, one at least."""
        found = tf.io.gfile.glob(os.path.join(self.folder, "*.parquet"))
        return sorted(found) or [_write((0, []), 1, self.fields, self.folder)]

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        names = [field.name for field in self.fields]
        texts = rows | "Encode" >> beam.Map(query_rows.encode, names)
        size = texts | beam.Map(len) | "Size" >> beam.CombineGlobally(sum)
        count = beam.pvalue.AsSingleton(size | "Buckets" >> beam.Map(_buckets))
        return (
            texts
            | "Bucket" >> beam.Map(_with_bucket, count)
            | beam.GroupByKey()
            | "Write" >> beam.Map(_write, count, self.fields, self.folder)
        )


def _buckets(size: int) -> int:
    return max(1, math.ceil(size / BUCKET))


def _with_bucket(text: bytes, count: int) -> tuple[int, bytes]:
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "big") % count, text


def _write(
    bucket: tuple[int, Iterable[bytes]],
    count: int,
    fields: tuple[Field, ...],
    folder: str,
) -> str:
    index, texts = bucket
    times = Counter(texts)  # rows that are alike all fall into one bucket
    rows = itertools.chain.from_iterable(
        itertools.repeat(text, times[text]) for text in sorted(times)
    )
    sink = pa.BufferOutputStream()
    with pa_parquet.ParquetWriter(sink, query_rows.decode([], fields).schema) as writer:
        while group := list(itertools.islice(rows, _GROUP)):
            batch = query_rows.decode(group, fields)
            writer.write_table(pa.Table.from_batches([batch]))
    path = os.path.join(folder, f"{index:05d}-of-{count:05d}.parquet")
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(sink.getvalue().to_pybytes())
    return path
