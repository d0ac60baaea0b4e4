"""What the Trainer makes of labels: checks, and the scale of a regression's.

The label of a regression is learned in standard deviations from its mean, both of the
training split. A penalty's weight, the bound of a constraint, a learning rate and the
starting weights of a network then mean the same whether the label is in minutes or in
seconds; the exported model answers in the label's own unit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

# A label whose deviation is below this share of its mean is constant but for rounding.
_CONSTANT = 1e-7


@dataclasses.dataclass(frozen=True)
class LabelScale:
    """z = (y - mean) / deviation; as it stands, the label itself.

    Attributes:
      mean: of the labels of the training split, each row once.
      deviation: their standard deviation, > 0.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def standardise(self, labels: Any) -> Any:
        """Labels in deviations from the mean; a tensor or an array."""
        return (labels - self.mean) / self.deviation

    def undo(self, outputs: Any) -> Any:
        """Outputs of a model in the label's own unit."""
        return outputs * self.deviation + self.mean


class Moments:
    """Mean and deviation of numbers that come batch by batch, in float64.

    References:
      Chan, Golub and LeVeque 1983, Algorithms for Computing the Sample Variance.
    """

    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Adds a batch of finite numbers, [N]."""
        if not len(values):
            return
        values = values.astype(np.float64)
        count, mean = len(values), float(values.mean())
        moved, total = mean - self._mean, self._count + count
        self._squares += float(np.sum((values - mean) ** 2))
        self._squares += moved**2 * self._count * count / total
        self._mean += moved * count / total
        self._count = total

    @property
    def scale(self) -> LabelScale:
        """That of all numbers; of equal ones the deviation counts as 1."""
        deviation = math.sqrt(self._squares / self._count) if self._count else 0.0
        varies = deviation > _CONSTANT * abs(self._mean)
        return LabelScale(self._mean, deviation if varies else 1.0)


def check_labels(labels: np.ndarray, name: str, classes: int | None) -> None:
    """Refuses labels that cannot be trained with.

    Args:
      labels: [N] float.
      name: of their column, for the error.
      classes: number of classes of a multiclass task, else None.

    Raises:
      ValueError: a label is missing, not finite, or no id of a class.
    """
    if not np.isfinite(labels).all():
        raise ValueError(
            f"Label {name!r} is missing or not finite in some examples: drop them "
            "before training"
        )
    if classes is None:
        return
    wrong = labels[(labels != np.floor(labels)) | (labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(
            f"Label {name!r} is {wrong[0]:g} in some examples; expected ids of classes "
            f"from 0 to {classes - 1}"
        )
