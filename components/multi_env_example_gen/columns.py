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

int here and float there is float. Missing is an absent feature, never a number; NaN is
missing too. What a float of 32 bits or an int64 cannot hold, infinity among them, makes
a row a bad one.
"""

import dataclasses
import datetime
import re

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
LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LARGEST_INT = 2**63 - 1


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
    if _is_bytes(value_type) or _is_time(value_type):
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


def fits_float(values: pa.Array) -> pa.Array:
    """Which floats a tf.Example can hold; NaN and missing ones count as such."""
    small = pc.less_equal(pc.abs(values), pa.scalar(LARGEST_FLOAT, values.type))
    return pc.fill_null(pc.or_(small, pc.is_nan(values)), True)


def clean(array: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray | None]:
    """A column without NaN, and the rows with what a tf.Example cannot hold.

    Args:
      array: as the reader gave it; [rows].
      kind: what it becomes.

    Returns:
      The column, NaN in place of a value missing; and a mask [rows], None where all
      rows are good. What is missing among the several values of a list has no place to
      go, so such a row is a bad one.
    """
    values = pc.list_flatten(array) if _is_list(array.type) else array
    values = _plain(values)
    unfit, nan = _unfit(values, kind), _nan(values)
    if not _is_list(array.type):
        if nan is not None:
            values = pc.if_else(pa.array(nan), None, values)
        return values, unfit
    if unfit is None and nan is None and not values.null_count:
        return array, None
    rows = pc.list_parent_indices(array).to_numpy(zero_copy_only=False)
    bad, absent = np.zeros(len(array), bool), np.zeros(len(array), bool)
    if unfit is not None:
        bad[rows[unfit]] = True
    absent[rows[values.is_null().to_numpy(zero_copy_only=False)]] = True
    if nan is not None:
        absent[rows[nan]] = True
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    bad |= absent & (lengths > 1)
    alone = absent & (lengths == 1)
    array = array.take(pa.array(np.arange(len(array)), mask=alone))
    return array, bad if bad.any() else None


def _plain(values: pa.Array) -> pa.Array:
    """Decimals and half floats as floats; all else as it is."""
    if pa.types.is_decimal(values.type):
        return values.cast(pa.float64())
    if pa.types.is_float16(values.type):  # which older Arrows do not cast
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return pa.array(numbers, mask=values.is_null().to_numpy(zero_copy_only=False))
    return values


def _unfit(values: pa.Array, kind: str) -> np.ndarray | None:
    """Which values are too large, None for none."""
    if pa.types.is_uint64(values.type) and kind == "int":
        found = pc.greater(values, pa.scalar(_LARGEST_INT, pa.uint64()))
    elif pa.types.is_floating(values.type):
        found = pc.invert(fits_float(values))
    else:
        return None
    return _mask(found) if pc.any(found).as_py() else None


def _nan(values: pa.Array) -> np.ndarray | None:
    """Which values are NaN, None for none."""
    if not pa.types.is_floating(values.type):
        return None
    found = pc.is_nan(values)
    return _mask(found) if pc.any(found).as_py() else None


def _mask(booleans: pa.Array) -> np.ndarray:
    return pc.fill_null(booleans, False).to_numpy(zero_copy_only=False).astype(bool)


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


def flat(array: pa.Array) -> pa.Array:
    """A column of one value a row as a flat array; missing is null."""
    if not _is_list(array.type):
        return array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
    index = np.cumsum(lengths) - 1
    values = pc.list_flatten(array)
    if pa.types.is_null(values.type):
        return pa.nulls(len(array))
    return values.take(pa.array(index, mask=lengths == 0))


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
        values = _texts(values)
    values = _plain(values)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), target)
    return values.cast(target, safe=False)


def _texts(times: pa.Array) -> pa.Array:
    """Times as ISO 8601; Arrow knows zones by their names, and not by their offsets."""
    zone = getattr(times.type, "tz", None) or ""
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", zone)
    if not offset:
        return times.cast(pa.string())
    sign, hours, minutes = offset.groups()
    shift = datetime.timedelta(hours=int(hours), minutes=int(minutes))
    shift = pa.scalar(-shift if sign == "-" else shift, pa.duration(times.type.unit))
    local = pc.add(times.cast(pa.timestamp(times.type.unit)), shift)
    return pc.binary_join_element_wise(
        local.cast(pa.string()), f"{sign}{hours}{minutes}", ""
    )


def _is_list(arrow_type: pa.DataType) -> bool:
    t = pa.types
    return (
        t.is_list(arrow_type)
        or t.is_large_list(arrow_type)
        or t.is_fixed_size_list(arrow_type)
    )


def _is_time(arrow_type: pa.DataType) -> bool:
    t = pa.types
    return t.is_date(arrow_type) or t.is_time(arrow_type) or t.is_timestamp(arrow_type)


def _is_bytes(arrow_type: pa.DataType) -> bool:
    t = pa.types
    return (
        t.is_string(arrow_type)
        or t.is_large_string(arrow_type)
        or t.is_binary(arrow_type)
        or t.is_large_binary(arrow_type)
        or t.is_fixed_size_binary(arrow_type)
    )
