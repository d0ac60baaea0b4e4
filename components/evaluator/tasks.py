"""What differs between the tasks: labels, predictions, statistics, what is written.

`of(options)` gives the functions of a task; all else in the Evaluator is the same for
all of them.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from components.evaluator import (
    columns,
    distribution,
    measures,
    multiclass,
    regression,
)
from components.evaluator import statistics as st
from components.evaluator.settings import MULTICLASS, REGRESSION, Options

REPLICATES = "_replicates"
BLOCK_EXAMPLES = "block_examples"
CLASS_EXAMPLES = "class_examples"
POSITIVES = "positives"
SCORES = "score_sketch"
CALIBRATION_ERROR = "calibration_error"


@dataclasses.dataclass(frozen=True)
class Task:
    """The functions of a task.

    Attributes:
      labels: (column, feature, split) -> labels [N]; raises DataError.
      predictions: (outputs, models, rows) -> model -> predictions [N] or [N, K].
      rows_of: (labels, predictions, weights) -> the summands of each example.
      group: (rows, blocks, groups, number) -> statistics of each group.
      merge: statistics of parts of a slice -> of the slice.
      values: statistics -> what is written of a slice, by name.
      curve: statistics -> its calibration curve; None where the task has none.
    """

    labels: Callable[[np.ndarray, str, str], np.ndarray]
    predictions: Callable[[Any, dict[str, str], int], dict[str, np.ndarray]]
    rows_of: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
    group: Callable[[Any, np.ndarray, np.ndarray, int], list[Any]]
    merge: Callable[[Iterable[Any]], Any]
    values: Callable[[Any], dict[str, Any]]
    curve: Callable[[Any], measures.Curve] | None


def of(options: Options) -> Task:
    """The task that the options name."""
    if options.task == REGRESSION:
        return _REGRESSION
    if options.task != MULTICLASS:
        return BINARY
    number = len(options.classes)
    return Task(
        labels=partial(columns.classes, number=number),
        predictions=partial(
            columns.predictions,
            classes=number,
            meaning=f"a model of {number} classes gives so many probabilities each",
        ),
        rows_of=multiclass.rows_of,
        group=multiclass.group,
        merge=multiclass.merge,
        values=_of_classes,
        curve=_curve_of_top,
    )


def _of_binary(statistics: st.Statistics) -> dict[str, Any]:
    totals = statistics.blocks.sum(axis=0)
    return {
        "example_count": float(totals[st.EXAMPLES]),
        POSITIVES: float(totals[st.POSITIVES]),
        "weighted_example_count": float(totals[st.WEIGHT]),
        "invalid_predictions": float(totals[st.INVALID]),
        BLOCK_EXAMPLES: statistics.blocks[:, st.EXAMPLES].astype(np.int64),
        SCORES: distribution.score_sketch(statistics.coarse).reshape(-1),
        **_calibration_limits(statistics),
        **_measured(measures.measure(statistics)),
    }


def _of_classes(statistics: multiclass.Statistics) -> dict[str, Any]:
    of_class = statistics.classes[..., multiclass.OF_CLASS].sum(axis=0)
    return {
        **_sizes(statistics.blocks, multiclass),
        CLASS_EXAMPLES: of_class.astype(np.int64),
        SCORES: distribution.score_sketch(statistics.top.coarse).reshape(-1),
        **_calibration_limits(statistics.top),
        **_measured(multiclass.measure(statistics)),
    }


def _of_numbers(statistics: regression.Statistics) -> dict[str, Any]:
    return {
        **_sizes(statistics.blocks, regression),
        **_measured(regression.measure(statistics)),
    }


def _sizes(blocks: np.ndarray, task: Any) -> dict[str, Any]:
    totals = blocks.sum(axis=0)
    return {
        "example_count": float(totals[task.EXAMPLES]),
        "weighted_example_count": float(totals[task.WEIGHT]),
        "invalid_predictions": float(totals[task.INVALID]),
        BLOCK_EXAMPLES: blocks[:, task.EXAMPLES].astype(np.int64),
    }


def _calibration_limits(statistics: st.Statistics) -> dict[str, float]:
    return {
        f"{CALIBRATION_ERROR}_{name}": number
        for name, number in measures.calibration_limits(statistics).items()
    }


def _measured(found: dict[str, tuple[float, np.ndarray]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, (value, replicates) in found.items():
        values[name] = value
        values[name + REPLICATES] = replicates
    return values


def _curve(statistics: st.Statistics) -> measures.Curve:
    return measures.curve(statistics.fine)


def _curve_of_top(statistics: multiclass.Statistics) -> measures.Curve:
    return measures.curve(statistics.top.fine)


BINARY = Task(
    labels=columns.labels,
    predictions=columns.predictions,
    rows_of=st.rows_of,
    group=st.group,
    merge=st.merge,
    values=_of_binary,
    curve=_curve,
)
_REGRESSION = Task(
    labels=columns.numbers,
    predictions=partial(
        columns.predictions, meaning="a regression gives one number each"
    ),
    rows_of=regression.rows_of,
    group=regression.group,
    merge=regression.merge,
    values=_of_numbers,
    curve=None,
)
