"""Buckets of a number, as the values that slices are named by.

Ingestion counts by them and the Evaluator measures by them, so both must put every
number into the same one: numbers with a fraction are compared in float32, in which
tf.Examples hold them, and whole ones exactly.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from components.multi_env_example_gen.naming import bin_names


def label(values: pa.Array, edges: Sequence[float]) -> pa.Array:
    """The bucket of each number.

    Args:
      values: numbers [N]; null or NaN where there is none.
      edges: finite, rising; `[18, 65]` makes "below 18", "18 to 65" (18 included, 65
        not) and "65 and above".

    Returns:
      string [N]; null where there is no number.

    Raises:
      ValueError: values that are no numbers.
    """
    names = pa.array(bin_names(tuple(edges)), pa.string())
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), pa.string())
    bounds = np.asarray(edges, np.float64)
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float32(), safe=False)
        bounds = bounds.astype(np.float32)
    elif not pa.types.is_integer(values.type):
        raise ValueError(f"buckets need numbers, found {values.type}")
    absent = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    index = np.searchsorted(bounds, numbers, side="right")
    return names.take(pa.array(index, mask=absent))
