"""Counts of what was ingested, carried on the Examples artifact.

Everything later that must notice a vanished slice or a small group looks here:

    {"environments": {"EWR": {"held_out": false,
                              "splits": {"train": {"examples": 9, "positives": 2}},
                              "dropped": {"no_label": 1, "train_side_of_key": 0}}},
     "slices": {"eval": {'["environment", "carrier"]': [[["EWR", "UA"], 12000]]}},
     "rows": 120000, "left_out": 0, "missing": {"seats": 30},
     "bad_rows": {"data/jfk.csv": {"rows": 4, "unit": "line", "first": [17, 90, 91]}}}

Of a label of classes a split also has `"classes": [5, 3, 1]`, the examples of each,
and 0 positives; a regression has 0 positives.

`left_out` are rows of no environment that the config names; `bad_rows` were dropped
before they were counted as rows.
"""

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.multi_env_example_gen import bad_rows

NO_LABEL = "no_label"
TRAIN_SIDE = "train_side_of_key"


def empty() -> dict[str, Any]:
    """Counts of nothing."""
    return {
        "environments": {},
        "slices": {},
        "missing": {},
        "rows": 0,
        "left_out": 0,
        "bad_rows": {},
    }


def add_environment(
    counts: dict[str, Any],
    environment: str,
    held_out: bool,
    dropped: dict[str, int],
    splits: dict[str, dict[str, Any]],
) -> None:
    """Adds rows of one environment: split -> `examples`, `positives`, `classes`."""
    entry = counts["environments"].setdefault(
        environment,
        {"held_out": held_out, "splits": {}, "dropped": {NO_LABEL: 0, TRAIN_SIDE: 0}},
    )
    for reason, number in dropped.items():
        entry["dropped"][reason] += int(number)
    for split, sizes in splits.items():
        found = entry["splits"].setdefault(split, {"examples": 0, "positives": 0})
        for key in ("examples", "positives"):
            found[key] += int(sizes[key])
        if "classes" in sizes:
            before = found.get("classes", [0] * len(sizes["classes"]))
            pairs = zip(before, sizes["classes"], strict=True)
            found["classes"] = [int(a + b) for a, b in pairs]


def add_slices(
    counts: dict[str, Any], split: str, features: list[str], columns: list[pa.Array]
) -> None:
    """Counts the values (or joint values) of slice features in one split.

    Rows where one of the features is missing belong to none of its slices.

    Args:
      counts: to be added to.
      split: train, eval or ood.
      features: one feature, or the features of a cross.
      columns: their values, each [rows].
    """
    present = np.ones(len(columns[0]), dtype=bool)
    for column in columns:
        present &= pc.is_valid(column).to_numpy(zero_copy_only=False)
    arrays = [column.filter(pa.array(present)) for column in columns]
    names = [str(i) for i in range(len(arrays))]
    ones = pa.array(np.ones(present.sum(), np.int64))
    table = pa.table([*arrays, ones], [*names, "n"])
    grouped = table.group_by(names).aggregate([("n", "sum")])
    values = zip(*(map(text, grouped[n].to_pylist()) for n in names), strict=True)
    found = dict(zip(values, grouped["n_sum"].to_pylist(), strict=True))
    _add(counts, split, json.dumps(features), found)


def _add(
    counts: dict[str, Any], split: str, key: str, found: dict[tuple[str, ...], int]
) -> None:
    slot = counts["slices"].setdefault(split, {}).setdefault(key, [])
    merged = Counter({tuple(value): number for value, number in slot})
    merged.update(found)
    slot[:] = sorted([list(value), number] for value, number in merged.items())


def text(value: Any) -> str:
    """A slice value as text, as TFMA writes it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum of counts of several ranges."""
    total = empty()
    for part in parts:
        total["rows"] += part["rows"]
        total["left_out"] += part["left_out"]
        bad_rows.merge(total["bad_rows"], part["bad_rows"])
        for name, number in part["missing"].items():
            total["missing"][name] = total["missing"].get(name, 0) + number
        for name, entry in part["environments"].items():
            held_out, dropped = entry["held_out"], entry["dropped"]
            add_environment(total, name, held_out, dropped, entry["splits"])
        for split, features in part["slices"].items():
            for key, found in features.items():
                _add(total, split, key, {tuple(value): n for value, n in found})
    return total
