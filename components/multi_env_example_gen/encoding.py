"""Feature columns as serialized tf.Examples, by whole columns, always the same bytes.

Protocol buffers put a map's entries in any order, and the usual encoders use it: the
same row gives other bytes in another process. Here they stand in the columns' order.

Wire format (tensorflow/core/example/*.proto), `<...>` after its length as a varint:

    Example      0x0a <Features>
    Features     0x0a <entry> for each column
    entry        0x0a <name>  0x12 <Feature>
    Feature      0x0a <BytesList> | 0x12 <FloatList> | 0x1a <Int64List> | nothing
    BytesList    0x0a <value> for each value
    FloatList    0x0a <4 bytes, little endian, for each value>
    Int64List    0x0a <a varint for each value>

All before the values of a row hangs on the length of the values alone, so it is made
once for each length that occurs. Of a column with few distinct values whole entries are
made once for each.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_VARINT_STEPS = np.array([1 << (7 * k) for k in range(1, 10)], dtype=np.uint64)
_SMALL = 1 << 16
_SAMPLE, _FEW = 1000, 8  # values looked at first; rows a distinct value, at least


def encode(batch: pa.RecordBatch) -> pa.BinaryArray:
    """A serialized tf.Example for each row.

    Args:
      batch: columns of lists of int64, float32 or binary, where a null or empty list is
        a missing value: a feature of no kind, as TFX's own components write it.

    Returns:
      binary [rows]; features in the order of the columns.
    """
    parts = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        parts += _entries(name, column)
    body = _join(parts, batch.num_rows)
    return _join([_heads(_lengths(body), _head), body], batch.num_rows)


def varint(number: int) -> bytes:
    """A number of 0 or more as a base-128 varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def varints(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Many numbers as varints, one after the other.

    Args:
      numbers: int64 [N]; those below 0 take ten bytes, as two's complement.

    Returns:
      The bytes, uint8, and how many each number takes, int64 [N].
    """
    numbers = numbers.view(np.uint64)
    sizes = np.searchsorted(_VARINT_STEPS, numbers, side="right") + 1
    starts = np.cumsum(sizes) - sizes
    out = np.empty(int(sizes.sum()), np.uint8)
    for k in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > k)
        more = np.where(sizes[rows] > k + 1, 128, 0)
        digit = (numbers[rows] >> np.uint64(7 * k)) & np.uint64(127)
        out[starts[rows] + k] = digit | more.astype(np.uint64)
    return out, sizes


def _entries(name: str, column: pa.ListArray) -> list[pa.Array]:
    """The column's entry in each row, in one part or in two."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    values = column.values
    if offsets[0] or offsets[-1] != len(values):
        values = values.slice(offsets[0], offsets[-1] - offsets[0])
        offsets = offsets - offsets[0]
    several = bool((np.diff(offsets) > 1).any())
    if not several and (repeated := _repeated(name, values, offsets)) is not None:
        return [repeated]
    return _each(name, values, offsets, several)


def _each(
    name: str, values: pa.Array, offsets: np.ndarray, several: bool
) -> list[pa.Array]:
    """Entries row by row: what precedes the values, and they."""
    if pa.types.is_integer(values.type):
        tag, (data, sizes) = 0x1A, varints(values.to_numpy(zero_copy_only=False))
        payload = _binary(_ends(sizes)[offsets], pa.py_buffer(data))
    elif pa.types.is_floating(values.type):
        tag, numbers = 0x12, values.to_numpy(zero_copy_only=False).astype("<f4")
        payload = _binary(4 * offsets, pa.py_buffer(np.ascontiguousarray(numbers)))
    else:
        tag = 0x0A
        if several:
            values = _join([_heads(_lengths(values), _head), values], len(values))
        ends = np.frombuffer(values.buffers()[1], np.int32)[
            values.offset : values.offset + len(values) + 1
        ]
        payload = _binary(ends[offsets], values.buffers()[2])
    packed = tag != 0x0A or not several
    key = name.encode()
    key = b"\x0a" + varint(len(key)) + key

    def entry(feature: bytes, size: int) -> bytes:
        whole = key + b"\x12" + varint(len(feature) + size) + feature
        return b"\x0a" + varint(len(whole) + size) + whole

    def head(size: int) -> bytes:
        inner = b"\x0a" + varint(size) if packed else b""
        return entry(bytes([tag]) + varint(len(inner) + size) + inner, size)

    heads = _heads(_lengths(payload), head, np.diff(offsets) == 0, entry(b"", 0))
    return [heads, payload]


def _repeated(
    name: str, values: pa.Array, offsets: np.ndarray
) -> pa.BinaryArray | None:
    """Entries by distinct value, at most one a row; None where they are too many."""
    # By bits: one NaN is not another, and 0.0 not -0.0.
    floating = pa.types.is_floating(values.type)
    distinct = values.view(pa.int32()) if floating else values
    sample = distinct[:: max(len(values) // _SAMPLE, 1)]
    if _FEW * len(pc.unique(sample)) > 4 * len(sample):
        return None
    encoded = pc.dictionary_encode(distinct)
    found = encoded.dictionary.view(values.type)
    if _FEW * len(found) > len(values):
        return None
    # One more, without a value, for the rows that have none.
    ends = np.minimum(np.arange(len(found) + 2), len(found))
    entries = _join(_each(name, found, ends, several=False), len(found) + 1)
    missing = np.diff(offsets) == 0
    index = np.full(len(missing), len(found), np.int32)
    index[~missing] = encoded.indices.to_numpy()
    return entries.take(pa.array(index))


def _heads(
    sizes: np.ndarray,
    make: Callable[[int], bytes],
    missing: np.ndarray | None = None,
    absent: bytes = b"",
) -> pa.Array:
    """`make(size)` for each row, made once for each size; `absent` where missing."""
    if sizes.max(initial=0) < _SMALL:
        found = np.flatnonzero(np.bincount(sizes, minlength=1))
        place = np.zeros(int(sizes.max(initial=0)) + 1, np.int64)
        place[found] = np.arange(len(found))
        index = place[sizes]
    else:
        found, index = np.unique(sizes, return_inverse=True)
    heads = [make(int(size)) for size in found]
    if missing is not None and missing.any():
        index = np.where(missing, len(heads), index)
        heads.append(absent)
    return pa.array(heads, pa.binary()).take(pa.array(index))


def _head(size: int) -> bytes:
    return b"\x0a" + varint(size)


def _join(parts: list[pa.Array], rows: int) -> pa.BinaryArray:
    """The parts of each row, one after the other."""
    if not parts:
        return pa.array([b""] * rows, pa.binary())
    separator = pa.scalar(b"", pa.binary())
    return pc.binary_join_element_wise(*parts, separator)


def _lengths(array: pa.BinaryArray) -> np.ndarray:
    return pc.binary_length(array).to_numpy().astype(np.int64)


def _ends(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])


def _binary(offsets: np.ndarray, data: pa.Buffer) -> pa.BinaryArray:
    """Rows of bytes that lie in one buffer, by their bounds [rows + 1]."""
    offsets = pa.py_buffer(np.ascontiguousarray(offsets.astype(np.int32)))
    rows = len(offsets) // 4 - 1
    return pa.Array.from_buffers(pa.binary(), rows, [None, offsets, data])
