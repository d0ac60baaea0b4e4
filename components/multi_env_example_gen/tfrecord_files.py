"""TFRecords of tf.Examples, plain or gzipped, by TensorFlow's and tfx_bsl's C++."""

import gzip
import os
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

_BATCH_ROWS, _BATCH_BYTES = 1 << 13, 32 << 20
_FRAME = 16  # bytes around a record: length, two checksums


def batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows, some thousand at a time; every column is one of lists.

    Raises:
      OSError: no TFRecord of tf.Examples, or truncated.
    """
    # Both are C++: no Python per cell.
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    records = tf.data.TFRecordDataset(path, "GZIP" if gzipped else "")
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    size = 0
    try:
        rows = _BATCH_ROWS
        for first in records.take(1).as_numpy_iterator():
            rows = min(max(_BATCH_BYTES // max(len(first), 1), 1), rows)
        for batch in records.batch(rows).as_numpy_iterator():
            serialized = batch.tolist()
            size += sum(map(len, serialized)) + _FRAME * len(serialized)
            yield decoder.DecodeBatch(serialized)
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise OSError(str(error)) from error
    if gzipped:
        _check_gzip_end(path, size)


def _check_gzip_end(path: str, size: int) -> None:
    """TensorFlow takes the end of a truncated gzip stream for the end of the data."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        if int.from_bytes(file.read(4), "little") == size % 2**32:
            return
    with gzip.open(path) as file:  # several members: only reading it all can tell
        while file.read(1 << 20):
            pass


def fields(batch: pa.RecordBatch) -> list[pa.Field]:
    """Columns of decoded rows: a list only where some example holds several values."""
    found = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        scalar = pa.types.is_null(field.type) or (
            (pc.max(pc.list_value_length(column)).as_py() or 0) <= 1
        )
        value_type = field.type
        if scalar and not pa.types.is_null(field.type):
            value_type = field.type.value_type
        found.append(pa.field(field.name, value_type))
    return found
