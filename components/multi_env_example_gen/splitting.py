"""Splits by a stable hash: the same row or key is always on the same side.

The hash looks only at the row (or its key columns), never at its environment, file or
position, so adding an environment moves no row of another.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.hashing import mix

TRAIN, EVAL, OOD = "train", "eval", "ood"
SPLITS = (TRAIN, EVAL, OOD)
_MISSING = np.uint64(0x5BD1E9955BD1E995)


def key_hashes(columns: Sequence[pa.Array]) -> np.ndarray:
    """Hash of the joint key of each row.

    Args:
      columns: the key columns (or all columns, where each row stands alone), each
        [rows]; values may be missing or lists.

    Returns:
      uint64 [rows]. 1, 1.0 and True hash alike, so int here and float there agree, and
      so do a value and a list of it alone, a missing value and an empty list.
    """
    state = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        state = mix(state + _digests(column))
    return state


def on_eval_side(hashes: np.ndarray, fraction: float) -> np.ndarray:
    """True for about `fraction` of the keys; [rows]."""
    return hashes < np.uint64(min(int(fraction * 2**64), 2**64 - 1))


def _digests(column: pa.Array) -> np.ndarray:
    """One number for each value: its bits, or its text's BLAKE2b; uint64 [rows]."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        if pa.types.is_floating(column.type):
            column = column.cast(pa.float32(), safe=False)
        missing = column.is_null().to_numpy(zero_copy_only=False)
        filled = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0)
        numbers = filled.to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
        return np.where(missing, _MISSING, numbers.view(np.uint64))
    if pa.types.is_null(column.type):
        return np.full(len(column), _MISSING)
    if pa.types.is_nested(column.type):
        return _list_digests(column)
    encoded = pc.dictionary_encode(column)
    texts = encoded.dictionary.cast(pa.binary()).to_pylist()
    digests = [hashlib.blake2b(text, digest_size=8).digest() for text in texts]
    values = np.frombuffer(b"".join(digests), dtype="<u8")
    index = pc.fill_null(encoded.indices, len(values)).to_numpy()
    return np.append(values, _MISSING)[index]


def _list_digests(column: pa.Array) -> np.ndarray:
    """One number for each list, of all its values in their order; uint64 [rows]."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    lengths = lengths.astype(np.int64)
    values = _digests(pc.list_flatten(column))
    starts = np.cumsum(lengths) - lengths
    several = lengths > 1
    within = np.arange(len(values)) - np.repeat(starts, lengths)
    with np.errstate(over="ignore"):
        placed = mix(values + mix(within.astype(np.uint64)))
        sums = np.zeros(len(lengths), dtype=np.uint64)
        np.add.at(sums, np.repeat(np.arange(len(lengths)), lengths), placed)
        joint = mix(sums + lengths.astype(np.uint64))
    found = np.where(several, joint, _MISSING)
    single = lengths == 1
    found[single] = values[starts[single]]
    return found
