"""How far logits are from what they claim: the calibration slope."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_STEPS, _CLOSE = 50, 1e-8


@dataclasses.dataclass(frozen=True)
class Slope:
    """A calibration slope and its variance; both NaN where there is none."""

    value: float
    variance: float


_NONE = Slope(math.nan, math.nan)


def calibration_slope(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> Slope:
    """Slope b of the logistic regression P(y = 1) = sigmoid(a + b logit).

    1 where probabilities are right but for a shift; below 1 where they are too extreme.

    Args:
      logits: [N] float.
      labels: [N], 0 or 1.
      weights: [N] >= 0.

    Returns:
      The slope, and its variance from the information matrix. NaN where the likelihood
      has no maximum, with one class only, all logits equal, or classes that a threshold
      tells apart.

    References:
      Cox 1958, Two Further Applications of a Model for Binary Regression.
    """
    kept = weights > 0
    x, y, w = (part[kept].astype(np.float64) for part in (logits, labels, weights))
    positive, negative = x[y > 0.5], x[y <= 0.5]
    if not len(positive) or not len(negative):
        return _NONE
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return _NONE
    center = np.average(x, weights=w)
    scale = math.sqrt(np.average((x - center) ** 2, weights=w))
    design = np.stack([np.ones_like(x), (x - center) / scale], axis=1)
    point, direction, best = np.zeros(2), np.zeros(2), -np.inf
    for _ in range(_STEPS):
        eta = design @ point
        value = np.sum(w * (y * eta - np.logaddexp(0.0, eta)))
        if value < best - 1e-12 * abs(best):  # too far: half the way back
            direction = direction / 2
            point = point - direction
            continue
        best = value
        p = np.exp(-np.logaddexp(0.0, -eta))
        gradient = design.T @ (w * (y - p))
        information = (design * (w * p * (1.0 - p))[:, None]).T @ design
        direction = np.linalg.solve(information, gradient)
        point = point + direction
        if np.abs(direction).max() < _CLOSE:
            variance = np.linalg.inv(information)[1, 1]
            return Slope(float(point[1] / scale), float(variance / scale**2))
    return _NONE
