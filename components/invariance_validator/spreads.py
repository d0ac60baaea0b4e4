"""What is known of a metric on a slice: the spread that its kind of metric calls for.

`checks.METRICS` declares the kind: the scale of its limits, and what it is a share of.
"""

from typing import TYPE_CHECKING

import numpy as np

from components.invariance_validator import intervals
from components.invariance_validator.checks import METRICS, Metric

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

FEW = 20  # events: with fewer, only exact limits say something
_UNKNOWN = Metric(-np.inf, np.inf)


def single(result: "SliceResult", metric: str, exact: bool = True) -> intervals.Spread:
    """Of a metric on a slice.

    Args:
      result: of the slice.
      metric: a key of its metrics.
      exact: whether a share may have exact limits where its replicates show no spread.

    Returns:
      The spread, of shape [].
    """
    estimate, kind = result.metrics[metric], _kind(metric)
    units = np.nan if kind.share_of is None or not exact else _units(result, metric)
    # Without a spread nobody knows what belongs together: each block is one example.
    blocks = np.count_nonzero(result.block_examples)
    bare = min(units, blocks) if blocks else np.nan
    if kind.share_of == "pairs" and units >= FEW:
        units = np.nan
    return intervals.spread(
        estimate.value,
        estimate.replicates,
        scale=kind.scale if exact else intervals.IDENTITY,
        units=units,
        bare=bare,
    )


def change(
    result: "SliceResult", released: "SliceResult", metric: str
) -> intervals.Spread:
    """Of a metric minus that of the released model on the same examples."""
    found, other, kind = result.metrics[metric], released.metrics[metric], _kind(metric)
    return intervals.difference(
        np.float64(found.value),
        found.replicates,
        np.float64(other.value),
        other.replicates,
        scale=kind.scale,
        step=1 / result.examples if kind.share_of == "examples" else 0.0,
    )


def misses(result: "SliceResult", metric: str) -> float:
    """How many examples keep a share from the nearer end of its range; inf: no share.

    Of an AUC A it is (1 - A) times the size of the rarer class.
    """
    if _kind(metric).share_of is None:
        return np.inf
    value = result.metrics[metric].value
    return _units(result, metric) * min(value, 1 - value)


def rarer(result: "SliceResult") -> int:
    """Examples of the rarer class."""
    return min(result.positives, result.examples - result.positives)


def scale(metric: str) -> str:
    """The scale on which a metric's limits are formed."""
    return _kind(metric).scale


def _units(result: "SliceResult", metric: str) -> float:
    pairs = _kind(metric).share_of == "pairs"
    return float(rarer(result) if pairs else result.examples)


def _kind(metric: str) -> Metric:
    return METRICS.get(metric, _UNKNOWN)
