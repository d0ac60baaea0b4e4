"""What features are asked to tell of a label: events that are there or not.

Of a binary label that is its 1; of classes each against the rest; of a number whether
it lies above the median of the training environments.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

# Of more classes the most frequent ones are looked at.
MOST_EVENTS = 50
_SURE = 2.0  # standard errors, where there is one event


@dataclasses.dataclass(frozen=True)
class Event:
    """An event by environment.

    Attributes:
      told: how a sentence names it: `the label`, `class cat`.
      labels: bool [rows] an environment.
    """

    told: str
    labels: tuple[np.ndarray, ...]


def of(
    labels: Sequence[np.ndarray], task: str, classes: Sequence[str], num_training: int
) -> tuple[Event, ...]:
    """The events of a label; at least one.

    Args:
      labels: [rows] an environment; those of training first.
      task: binary, multiclass or regression.
      classes: their names, for multiclass.
      num_training: how many environments are trained on.
    """
    if task == "multiclass":
        ids = np.concatenate([np.asarray(part, np.int64) for part in labels])
        sizes = np.bincount(ids, minlength=len(classes))
        kept = np.sort(np.argsort(-sizes, kind="stable")[:MOST_EVENTS])
        return tuple(
            Event(f"class {classes[k]}", tuple(part == k for part in labels))
            for k in kept
        )
    if task == "regression":
        cut = _cut(labels[: num_training or None])
        told = f"whether the label is above {cut:.4g}"
        return (Event(told, tuple(part > cut for part in labels)),)
    return (Event("the label", tuple(part > 0 for part in labels)),)


def sure(events: int) -> float:
    """Standard errors to be sure by, of one of so many events (Bonferroni)."""
    return float(stats.norm.isf(stats.norm.sf(_SURE) / events))


def _cut(labels: Sequence[np.ndarray]) -> float:
    """The median, or the next value below where half of all or more are the largest."""
    values = np.concatenate(labels) if labels else np.zeros(0)
    if not len(values):
        return 0.0
    cut = float(np.median(values))
    below = values[values < cut]
    return float(below.max()) if cut == values.max() and len(below) else cut
