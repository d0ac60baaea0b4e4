"""Names and kinds of a TFRecord file's features, without TensorFlow.

Importing TensorFlow takes seconds; the first records of a file take milliseconds. A
tf.Example omits what is missing, so the features found are all of them only where the
whole file was read.
"""

from collections.abc import Iterator
from typing import Any

from components.errors import DataError
from components.multi_env_example_gen import tfrecord_files
from components.multi_env_example_gen.columns import Column

RECORDS = 300
_NO_EXAMPLES = "its records are no tf.Examples"
# The fields of `tf.train.Feature`.
_KINDS = {1: "bytes", 2: "float", 3: "int"}


def columns_of(path: str, limit: int = RECORDS) -> tuple[dict[str, Column], bool]:
    """Columns of the first records, and whether these were all.

    Args:
      path: TFRecord of tf.Examples, plain or gzipped.
      limit: records to read.

    Raises:
      DataError: not a TFRecord of tf.Examples, truncated, or empty.
    """
    columns: dict[str, Column] = {}
    count = 0
    try:
        for record in tfrecord_files.records(path):
            if count == limit:
                return columns, False
            count += 1
            for name, column in _features(record):
                known = columns.get(name, column)
                kind = column.kind if known.kind == "null" else known.kind
                columns[name] = Column(kind, known.is_list or column.is_list)
        if not count:
            raise ValueError("it holds no record")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as tfrecord: {error}; the file is empty, damaged,"
            " truncated or of another format: write it again, or name its format in the"
            " config"
        ) from error
    return columns, True


def _features(record: bytes) -> Iterator[tuple[str, Column]]:
    """Name and column of each feature of a serialized tf.Example."""
    for number, features in _fields(record):
        if number != 1:
            raise ValueError(_NO_EXAMPLES)
        for _, entry in _fields(features):
            parts = dict(_fields(entry))
            if not isinstance(parts.get(1), bytes):
                raise ValueError(_NO_EXAMPLES)
            yield parts[1].decode(), _column(parts.get(2, b""))


def _column(feature: bytes) -> Column:
    for number, values in _fields(feature):
        if number in _KINDS:
            kind = _KINDS[number]
            count = _count(values, kind)
            return Column(kind if count else "null", count > 1)
    return Column("null")


def _count(values: bytes, kind: str) -> int:
    """Number of values in a BytesList, FloatList or Int64List, packed or not."""
    total = 0
    for _, value in _fields(values):
        if kind == "bytes" or not isinstance(value, bytes):
            total += 1
        elif kind == "float":
            total += len(value) // 4
        else:  # each varint ends with a byte below 128
            total += sum(byte < 128 for byte in value)
    return total


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values of a serialized protobuf message."""
    if not isinstance(message, bytes):
        raise ValueError(_NO_EXAMPLES)
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        value: Any
        if wire == 0:
            value, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = None, at + size
        elif wire == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(_NO_EXAMPLES)
        if at > len(message):
            raise ValueError(_NO_EXAMPLES)
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    for byte in message[at : at + 10]:
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7
    raise ValueError(_NO_EXAMPLES)
