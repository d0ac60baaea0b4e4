"""One schema for all environments, and Arrow columns as tf.Example holds them.

tf.Example knows int64, float (32 bit) and bytes, each a list. Sources know more, so
every column has one *kind*, the same in all environments:

| in the source                      | kind  |
|------------------------------------|-------|
| integers, booleans (0 and 1)       | int   |
| floats, decimals                   | float |
| text, binary, dictionaries of them | bytes |
| dates, times, timestamps           | bytes, ISO 8601 |
| lists of these                     | the same, `is_list` |
| nothing but missing values         | null (joins any other) |

int here and float there is float. Missing is an absent feature, never a number.
"""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import DataError

_ARROW = {"int": pa.int64(), "float": pa.float32(), "bytes": pa.binary()}
_WORDS = {"int": "integers", "float": "numbers", "bytes": "text", "null": "nothing"}


@dataclasses.dataclass(frozen=True)
class Column:
    """What a column holds: kind `int`, `float`, `bytes` or `null`, lists or not."""

    kind: str
    is_list: bool = False


Schema = dict[str, Column]
KINDS = ("int", "float", "bytes")


class ColumnWidened(Exception):
    """A column holds more than its first block showed: read again, wider."""

    def __init__(self, column: str, kind: str, is_list: bool = False):
        super().__init__(column, kind, is_list)
        self.column, self.kind, self.is_list = column, kind, is_list


def column_of(arrow_type: pa.DataType, name: str, where: str) -> Column:
    """The column that an Arrow type becomes.

    Raises:
      DataError: a type that tf.Example cannot hold (struct, map, nested list).
    """
    value_type, is_list = arrow_type, False
    if _is_list(arrow_type):
        value_type, is_list = arrow_type.value_type, True
    if pa.types.is_dictionary(value_type):
        value_type = value_type.value_type
    t = pa.types
    if t.is_null(value_type):
        return Column("null", is_list)
    if t.is_integer(value_type) or t.is_boolean(value_type):
        return Column("int", is_list)
    if t.is_floating(value_type) or t.is_decimal(value_type):
        return Column("float", is_list)
    if _is_bytes(value_type) or t.is_temporal(value_type):
        return Column("bytes", is_list)
    raise DataError(
        f"{where}: column {name!r} has the type {arrow_type}, which a tf.Example cannot"
        " hold; flatten it, or leave the column out of the source"
    )


def join(columns: dict[str, Column], name: str) -> Column:
    """The one column that holds what all environments have under `name`.

    Args:
      columns: where (environment or file) -> column found there.
      name: the column's name, for the error.

    Raises:
      DataError: text here and numbers there.
    """
    kinds = {c.kind: where for where, c in columns.items() if c.kind != "null"}
    is_list = any(c.is_list for c in columns.values())
    if not kinds:
        return Column("null", is_list)
    if "bytes" in kinds and len(kinds) > 1:
        other = next(kind for kind in kinds if kind != "bytes")
        raise DataError(
            f"column {name!r} holds {_WORDS['bytes']} in {kinds['bytes']} and"
            f" {_WORDS[other]} in {kinds[other]}; give it one type in all environments"
        )
    if len(kinds) > 1:
        return Column("float", is_list)
    return Column(next(iter(kinds)), is_list)


def to_feature(array: pa.Array, column: Column) -> pa.Array:
    """A column as a list array of int64, float32 or binary; missing is a null list.

    Args:
      array: the column as the reader gave it; [rows].
      column: what it must become.
    """
    target = _ARROW["int" if column.kind == "null" else column.kind]
    if _is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = as_kind(pc.list_flatten(array), column.kind, target)
        return _lists(offsets, lengths == 0, values)
    present = pc.is_valid(array).to_numpy(zero_copy_only=False)
    values = as_kind(array.drop_null() if array.null_count else array, column.kind)
    offsets = np.concatenate([[0], np.cumsum(present)])
    return _lists(offsets, ~present, values)


def _lists(offsets: object, missing: np.ndarray, values: pa.Array) -> pa.Array:
    offsets = np.asarray(offsets, dtype=np.int32)
    mask = np.concatenate([missing, [False]])
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), values)


def as_kind(values: pa.Array, kind: str, target: pa.DataType | None = None) -> pa.Array:
    """Values cast to the Arrow type of a kind, element by element."""
    target = target or _ARROW["int" if kind == "null" else kind]
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_temporal(values.type):
        values = values.cast(pa.string())
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), target)
    return values.cast(target, safe=False)


def _is_list(arrow_type: pa.DataType) -> bool:
    t = pa.types
    return (
        t.is_list(arrow_type)
        or t.is_large_list(arrow_type)
        or t.is_fixed_size_list(arrow_type)
    )


def _is_bytes(arrow_type: pa.DataType) -> bool:
    t = pa.types
    return (
        t.is_string(arrow_type)
        or t.is_large_string(arrow_type)
        or t.is_binary(arrow_type)
        or t.is_large_binary(arrow_type)
        or t.is_fixed_size_binary(arrow_type)
    )
