"""Generated tables in every format, against a plain reading of the same files.

What the Examples must hold follows from `plain_reading` and docs/sources.md, value by
value.
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any
from unittest import mock

import apache_beam as beam
from hypothesis import HealthCheck, given, settings

from components.errors import DataError
from components.multi_env_example_gen import (
    avro_files,
    csv_blocks,
    csv_files,
    ingest,
    json_files,
    readers,
    shards,
    tfrecord_files,
)
from components.source_manifest import listing
from tests.components.multi_env_example_gen import plain_reading
from tests.components.multi_env_example_gen.tables import Table, tables, write

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@contextlib.contextmanager
def small_blocks() -> Iterator[None]:
    """Files read some rows at a time, and CSVs and Parquet in parts."""
    sizes = {(csv_blocks, "BLOCK"): 64, (csv_files, "RANGE"): 64}
    sizes |= {(json_files, "_BLOCK"): 64, (avro_files, "_BATCH"): 2}
    sizes |= {(readers, "BATCH_ROWS"): 3, (readers, "_ROWS_A_RANGE"): 5}
    sizes |= {(tfrecord_files, "_BATCH_ROWS"): 2}
    with contextlib.ExitStack() as stack:
        for (module, name), size in sizes.items():
            stack.enter_context(mock.patch.object(module, name, size))
        yield


def ingested(table: Table, folder: pathlib.Path) -> tuple[Any, Any]:
    """What the Examples must hold, and what they do: rows, or why they are refused."""
    sources = table.sources
    paths = [write(source, folder) for source in sources]
    plain = [
        plain_reading.read_plainly(s, path)
        for s, path in zip(sources, paths, strict=True)
    ]
    entries = [
        {
            "environment": source.name,
            "format": source.format.split(".")[0],
            "patterns": [str(path)],
            "held_out": source.held_out,
            "options": source.options,
        }
        for source, path in zip(sources, paths, strict=True)
    ]
    side = {} if table.by_hash else {"eval_column": "fold", "eval_values": ("eval",)}
    slices = (("environment",), ("fold",))
    spec = shards.Spec(
        {"name": "late"}, 0.5, (), slices, optional=table.optional, **side
    )
    files = listing.build_manifest(entries)
    out = str(folder / "out")
    wanted = plain_reading.expected(sources, plain, table.by_hash)
    early = all(column.early for columns in plain for column in columns.values())
    in_parts = table.in_parts and early and wanted is not None
    blocks = small_blocks() if in_parts else contextlib.nullcontext()
    try:
        with blocks:
            ingest.ingest(files, spec, out, lambda: beam.Pipeline(argv=[RUNNER]))
    except DataError as error:
        return wanted, str(error)
    return wanted, plain_reading.read_examples(out)


@settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(tables())
def test_examples_hold_what_a_plain_reading_has(table):
    with tempfile.TemporaryDirectory() as folder:
        wanted, found = ingested(table, pathlib.Path(folder))
    if wanted is None:
        said = ("give it one type", "data.on_bad_row: drop")
        assert isinstance(found, str) and any(map(found.__contains__, said)), found
    else:
        assert found == wanted
