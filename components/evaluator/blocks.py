"""Jackknife blocks: a stable hash of what belongs together.

The block depends on the cluster key alone: the same in every split, for both models and
on every machine. So two slices that share days, and two models on the same rows, can be
compared replicate by replicate.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from components.hashing import mix

BLOCKS = 20
_MISSING = np.uint64(0x6D697373696E67)


def assign(keys: Sequence[np.ndarray]) -> np.ndarray:
    """The block of each row by its cluster key.

    Args:
      keys: the key's columns, each [N]: numbers, or objects (bytes, str, None where
        the value is missing).

    Returns:
      int64 [N] in [0, BLOCKS). 1 and 1.0 are the same key.

    Raises:
      ValueError: no column.
    """
    if not keys:
        raise ValueError("a cluster key has at least one column, found none")
    state = np.zeros(len(keys[0]), dtype=np.uint64)
    for column in keys:
        state = mix(state ^ _hash(np.asarray(column)))
    return (state % np.uint64(BLOCKS)).astype(np.int64)


def _hash(column: np.ndarray) -> np.ndarray:
    """Hash of each value; uint64 [N]."""
    if column.dtype != object:
        return mix(_bits(column))
    encoded = pa.array(column, from_pandas=True).dictionary_encode()
    values = encoded.dictionary.to_pylist()
    if values and isinstance(values[0], (bytes, str)):
        raw = [v.encode() if isinstance(v, str) else v for v in values]
        hashes = np.fromiter(map(zlib.crc32, raw), np.uint64, len(raw))
    else:
        hashes = _bits(np.asarray(values))
    hashes = np.append(hashes, _MISSING)
    index = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return mix(hashes[index])


def _bits(numbers: np.ndarray) -> np.ndarray:
    """Numbers as uint64, whole ones alike whether stored as int or float."""
    if numbers.dtype.kind in "iub":
        return numbers.astype(np.int64).view(np.uint64)
    numbers = numbers.astype(np.float64)
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
    whole &= np.abs(numbers) < 2.0**62
    integers = np.where(whole, numbers, 0.0).astype(np.int64)
    return np.where(whole, integers.view(np.uint64), numbers.view(np.uint64))
