"""The label, made by the config and not by a notebook.

`{"name": "late", "from": "arr_delay", "above": 15}` is 1 where arr_delay > 15;
`{"name": "late"}` is a column that holds 0 and 1 already. With `"classes": ["cat",
"dog"]` the label is the place of the column's value in that list, and with `"task":
"regression"` it is the column's number.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import DataError
from components.multi_env_example_gen.columns import Column, Schema, as_kind

_MOST_CLASSES_SHOWN = 12


def source_column(spec: dict[str, Any]) -> str:
    """The column that the label is, or is made from."""
    return spec.get("from") or spec["name"]


def is_regression(spec: dict[str, Any]) -> bool:
    """Whether the label is a number to be forecast as it is."""
    return spec.get("task") == "regression"


def class_names(spec: dict[str, Any]) -> tuple[str, ...]:
    """Names of the classes by their ids; () where the label has none of its own."""
    return tuple(spec.get("classes") or ())


def label_column(spec: dict[str, Any]) -> Column:
    """What the label is in the Examples."""
    return Column("float" if is_regression(spec) else "int")


def check_label(spec: dict[str, Any], schema: Schema, environments: list[str]) -> None:
    """Refuses a label that the data cannot give.

    Raises:
      DataError: the column is not there, would be overwritten, holds lists, or is text
        where a number is wanted.
    """
    source = source_column(spec)
    if source not in schema:
        raise DataError(
            f"data.label: column {source!r} is not in the data of"
            f" {', '.join(environments)}; the columns are {', '.join(schema)}"
        )
    if source != spec["name"] and spec["name"] in schema:
        raise DataError(
            f"data.label.name: the data already has a column {spec['name']!r}; give"
            " the label another name"
        )
    column = schema[source]
    text = column.kind == "bytes" and not class_names(spec)
    if column.is_list or text:
        held = "lists" if column.is_list else "text"
        wanted = "a binary label needs numbers"
        if is_regression(spec):
            wanted = "the label of a regression is a number"
        elif class_names(spec):
            wanted = "a label of classes is one value"
        raise DataError(
            f"data.label: column {source!r} holds {held}, and {wanted}; name another"
            " column"
        )


def make_label(values: pa.Array, spec: dict[str, Any], where: str) -> pa.Array:
    """The label of each row, null where it is unknown.

    Args:
      values: the label's source column; [rows], numeric, or any for classes.
      spec: as above.
      where: file, for the error.

    Returns:
      [rows] with nulls: int64 of 0 and 1, or of ids in [0, number of classes); float32
      of finite numbers for a regression.

    Raises:
      DataError: a plain label column with another value than 0 and 1, a value that is
        none of the classes, or a number that is not finite.
    """
    if class_names(spec):
        return _class_ids(values, spec, where)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if is_regression(spec):
        return _numbers(values, spec, where)
    if spec.get("above") is not None:
        return pc.greater(
            values.cast(pa.float64()), pa.scalar(float(spec["above"]))
        ).cast(pa.int64())
    numbers = values.cast(pa.float64())
    wrong = pc.unique(numbers.drop_null()).to_numpy(zero_copy_only=False)
    wrong = wrong[~np.isin(wrong, (0.0, 1.0))]
    if len(wrong):
        raise DataError(
            f"data.label: column {spec['name']!r} of {where} holds {wrong[0]:g}, and a"
            " binary label is 0 or 1; use `from:` and `above:` to make one"
        )
    return numbers.cast(pa.int64())


def _numbers(values: pa.Array, spec: dict[str, Any], where: str) -> pa.Array:
    numbers = as_kind(values, "float")
    finite = pc.fill_null(pc.is_finite(numbers), True)
    if not pc.all(finite).as_py():
        wrong = values.filter(pc.invert(finite))[0].as_py()
        raise DataError(
            f"data.label: column {source_column(spec)!r} of {where} holds {wrong:g},"
            " which is no finite number of 32 bits; correct it, or leave such rows out"
        )
    return numbers


def _class_ids(values: pa.Array, spec: dict[str, Any], where: str) -> pa.Array:
    """Values to ids by their text; an empty text is a missing label."""
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.int64())
    if pa.types.is_temporal(values.type):
        values = as_kind(values, "bytes")
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    classes = class_names(spec)
    ids = {name: i for i, name in enumerate(classes)}
    found: list[int | None] = []
    for value in values.dictionary.to_pylist():
        texts = list(_texts(value))
        known = [ids[text] for text in texts if text in ids]
        if not known and value not in (None, "", b""):
            raise DataError(
                f"data.label: column {source_column(spec)!r} of {where} holds"
                f" {texts[0]!r}, which is none of the {len(classes)} classes"
                f" ({_listed(classes)}); add it to data.label.classes, or leave such"
                " rows out"
            )
        found.append(known[0] if known else None)
    return pa.array(found, pa.int64()).take(values.indices)


def _texts(value: Any) -> Iterator[str]:
    """How a value may be written as a class: 3.0 as 3, true as True."""
    if isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, bool):
        yield from (str(value).lower(), str(value), str(value).upper())
        yield str(int(value))
    elif isinstance(value, str):
        yield value
    elif value is not None:
        if float(value).is_integer():
            yield str(int(value))
        yield str(value)


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:_MOST_CLASSES_SHOWN])
    more = len(classes) - _MOST_CLASSES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
