"""TFRecord files of whole columns of tf.Examples: framed by Arrow, packed by zlib.

TensorFlow's writer takes a record at a time and keeps other threads of Python waiting
while it packs it; here a batch goes at once.

    record       length (8 bytes), its checksum (4), the example, its checksum (4)
"""

import zlib

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.errors import DataError
from components.multi_env_example_gen.tfrecord_files import masked

_LEVEL = 1  # shards are read once or twice: time counts more than a tenth of the size
_GZIP = 31  # zlib's window bits, with gzip's header, which tells no time here


class RecordWriter:
    """A gzipped TFRecord file, which the same examples always make the same.

    Its methods raise a DataError where the file cannot be written.
    """

    def __init__(self, path: str):
        """Begins the file.

        Args:
          path: where; any that TensorFlow can write.
        """
        self._path = path
        self._file = tf.io.gfile.GFile(path, "wb")
        self._pack = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)

    def write(self, examples: pa.BinaryArray) -> None:
        """Adds a batch of serialized examples; [rows]."""
        if len(examples):
            self._put(self._pack.compress(frames(examples)))

    def close(self) -> None:
        """Ends the file."""
        self._put(self._pack.flush())
        try:
            self._file.close()
        except tf.errors.OpError as error:
            raise self._unwritten(error) from error

    def _put(self, packed: bytes) -> None:
        try:
            self._file.write(packed)
        except tf.errors.OpError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: tf.errors.OpError) -> DataError:
        return DataError(
            f"{self._path} cannot be written ({error.message}); free space there, or"
            " name another root"
        )


def frames(records: pa.BinaryArray) -> pa.Buffer:
    """All records with their lengths and checksums, one after the other.

    Args:
      records: [rows], none missing, at least one.
    """
    lengths = pc.binary_length(records).to_numpy().astype("<u8")
    known, which = np.unique(lengths, return_inverse=True)
    heads = np.empty((len(known), 12), np.uint8)
    heads[:, :8] = known.view(np.uint8).reshape(-1, 8)
    sums = [google_crc32c.value(head[:8].tobytes()) for head in heads]
    heads[:, 8:] = _checksums(sums).reshape(-1, 4)
    _, offsets, data = records.buffers()
    content = data.to_pybytes()
    offsets = np.frombuffer(offsets, np.int32)[records.offset :][: len(records) + 1]
    sums = [
        google_crc32c.value(content[a:b])
        for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    tails = _fixed(_checksums(sums), 4)
    framed = pc.binary_join_element_wise(
        _fixed(heads.ravel(), 12).take(pa.array(which)), records, tails, b""
    )
    return framed.buffers()[2].slice(0, int(lengths.sum()) + 16 * len(records))


def _checksums(sums: list[int]) -> np.ndarray:
    """Four bytes each; uint8 [4 n]."""
    return masked(np.array(sums, np.int64)).astype("<u4").view(np.uint8)


def _fixed(content: np.ndarray, size: int) -> pa.BinaryArray:
    rows = len(content) // size
    offsets = np.arange(0, len(content) + 1, size, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.binary(), rows, buffers)
