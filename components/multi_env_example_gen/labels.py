"""The label, made by the config and not by a notebook.

`{"name": "late", "from": "arr_delay", "above": 15}` is 1 where arr_delay > 15;
`{"name": "late"}` is a column that holds 0 and 1 already.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import DataError
from components.multi_env_example_gen.columns import Schema


def check_label(spec: dict[str, Any], schema: Schema, environments: list[str]) -> None:
    """Refuses a label that the data cannot give.

    Raises:
      DataError: the column is not there, would be overwritten, or is text.
    """
    source = spec.get("from") or spec["name"]
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
    if column.is_list or column.kind == "bytes":
        held = "lists" if column.is_list else "text"
        raise DataError(
            f"data.label: column {source!r} holds {held}, and a binary label needs"
            " numbers; name another column"
        )


def make_label(values: pa.Array, spec: dict[str, Any], where: str) -> pa.Array:
    """The label of each row, null where it is unknown.

    Args:
      values: the label's source column; [rows], numeric.
      spec: as above.
      where: file, for the error.

    Returns:
      int64 [rows] of 0, 1 and null.

    Raises:
      DataError: a plain label column with another value than 0 and 1.
    """
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
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
