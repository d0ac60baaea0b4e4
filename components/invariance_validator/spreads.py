"""What is known of a metric on a slice: the spread that its kind of metric calls for.

`metrics.TASKS` declares the kind: the scale of its limits, and what it is a share of.
"""

from typing import TYPE_CHECKING

import numpy as np

from components.invariance_validator import intervals, metrics
from components.invariance_validator.scales import IDENTITY, OUTERMOST

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

FEW = 20  # events: with fewer, only exact limits say something


def single(result: "SliceResult", metric: str, exact: bool = True) -> intervals.Spread:
    """Of a metric on a slice.

    Args:
      result: of the slice.
      metric: a key of its metrics.
      exact: whether a share may have exact limits where its replicates show no spread.

    Returns:
      The spread, of shape [].
    """
    estimate, kind = result.metrics[metric], info(result, metric)
    units = _units(result, kind) if kind.share_of and exact else np.nan
    # Without a spread nobody knows what belongs together: each block is one example.
    blocks = np.count_nonzero(result.block_examples)
    bare = min(units, blocks) if blocks else np.nan
    if kind.share_of == "pairs" and units >= FEW:
        units = np.nan
    return intervals.spread(
        estimate.value,
        estimate.replicates,
        scale=kind.scale if exact or kind.scale in OUTERMOST else IDENTITY,
        units=units,
        bare=bare,
    )


def change(
    result: "SliceResult", released: "SliceResult", metric: str
) -> intervals.Spread:
    """Of a metric minus that of the released model on the same examples."""
    found, other = result.metrics[metric], released.metrics[metric]
    kind = info(result, metric)
    alone = kind.share_of in ("examples", "classes")
    return intervals.difference(
        np.float64(found.value),
        found.replicates,
        np.float64(other.value),
        other.replicates,
        scale=kind.scale,
        paired=True,
        step=1 / _units(result, kind) if alone else 0.0,
    )


def misses(result: "SliceResult", metric: str) -> float:
    """How many examples keep a share from the nearer end of its range; inf: no share.

    Of an AUC A it is (1 - A) times the size of the rarer class.
    """
    kind, value = info(result, metric), result.metrics[metric].value
    if kind.share_of is None:
        return np.inf
    return _units(result, kind) * min(value, 1 - value)


def rarer(result: "SliceResult", metric: str = "") -> int:
    """Examples that a metric hangs on.

    Of the binary task those of the rarer class; of several classes those outside of the
    largest, or where each class counts the same, of the rarest that is there; of a
    regression all.
    """
    if result.task == metrics.REGRESSION:
        return result.examples
    if result.task == metrics.BINARY:
        return min(result.positives, result.examples - result.positives)
    there = [number for number in result.class_examples if number]
    if info(result, metric).share_of == "classes":
        return min(there, default=0)
    return result.examples - max(there, default=0)


def info(result: "SliceResult", metric: str) -> metrics.Metric:
    """What is known of a metric in the result's task."""
    return metrics.TASKS[result.task].info(metric)


def _units(result: "SliceResult", kind: metrics.Metric) -> float:
    """How many independent examples a share is of, at least.

    A mean of shares of K classes is an average of the shares right among as many
    examples of each class as the rarest has, n, and those vary no more than a share of
    K n examples does: strata only make it surer (Hoeffding 1956).
    """
    if kind.share_of == "pairs":
        return float(rarer(result))
    if kind.share_of == "classes":
        there = [number for number in result.class_examples if number]
        return float(len(there) * min(there, default=0))
    return float(result.examples)
