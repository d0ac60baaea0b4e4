"""TFRecords of tf.Examples, plain or gzipped, decoded by tfx_bsl's C++."""

from collections.abc import Iterator
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.compute as pc

from components import files

_CHUNK = 8 << 20
_BATCH_ROWS, _BATCH_BYTES = 1 << 12, 32 << 20


def batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows, some thousand at a time; every column is one of lists.

    Raises:
      OSError: no TFRecord of tf.Examples, or truncated.
    """
    # Here, as it takes seconds to import.
    from tfx_bsl.coders import example_coder

    decoder = example_coder.ExamplesToRecordBatchDecoder()
    rows: list[bytes] = []
    size = 0
    try:
        for record in records(path):
            rows.append(record)
            size += len(record)
            if len(rows) == _BATCH_ROWS or size >= _BATCH_BYTES:
                yield decoder.DecodeBatch(rows)
                rows, size = [], 0
        if rows:
            yield decoder.DecodeBatch(rows)
    except (RuntimeError, ValueError) as error:
        raise OSError(str(error)) from error


def records(path: str) -> Iterator[bytes]:
    """The payloads: each after its length and that one's checksum, before its own.

    Raises:
      OSError: damaged, or truncated.
    """
    with files.open_file(path) as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with pa.input_stream(file, compression="gzip" if gzipped else None) as stream:
            yield from _payloads(stream)


def _payloads(stream: Any) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        rest = rest + chunk if rest else chunk
        at, end = 0, len(rest)
        while end - at >= 12:
            length = int.from_bytes(rest[at : at + 8], "little")
            if _checksum(rest[at : at + 8]) != rest[at + 8 : at + 12]:
                raise OSError(
                    "a record's length is damaged, or it is no TFRecord at all"
                )
            stop = at + 12 + length
            if stop + 4 > end:
                break
            record = rest[at + 12 : stop]
            if _checksum(record) != rest[stop : stop + 4]:
                raise OSError("a record's checksum is not its own")
            yield record
            at = stop + 4
        rest = rest[at:]
    if rest:
        raise OSError("it ends within a record")


def _checksum(content: bytes) -> bytes:
    return masked(google_crc32c.value(content)).to_bytes(4, "little")


def masked(crc: Any) -> Any:
    """CRC-32C as TFRecords have it: rotated by 15 bits, and a constant added.

    Args:
      crc: an integer, or an array of 64 bits each.
    """
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


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
