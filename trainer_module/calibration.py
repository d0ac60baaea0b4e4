"""How far logits are from what they claim: the calibration slope."""

from __future__ import annotations

import numpy as np

_STEPS, _CLOSE = 50, 1e-8


def calibration_slope(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> float:
    """Slope b of the logistic regression P(y = 1) = sigmoid(a + b logit).

    1 where probabilities are right but for a shift; below 1 where they are too extreme.

    Args:
      logits: [N] float.
      labels: [N], 0 or 1.
      weights: [N] >= 0.

    Returns:
      The slope; NaN where the likelihood has no maximum, with one class only, all
      logits equal, or classes that a threshold tells apart.

    References:
      Cox 1958, Two Further Applications of a Model for Binary Regression.
    """
    kept = weights > 0
    x, y, w = (part[kept].astype(np.float64) for part in (logits, labels, weights))
    positive, negative = x[y > 0.5], x[y <= 0.5]
    if not len(positive) or not len(negative):
        return float("nan")
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return float("nan")
    center, scale = np.average(x, weights=w), 0.0
    scale = np.sqrt(np.average((x - center) ** 2, weights=w))
    design = np.stack([np.ones_like(x), (x - center) / scale], axis=1)
    point, best = np.zeros(2), -np.inf
    direction = np.zeros(2)
    for _ in range(_STEPS):
        eta = design @ point
        value = np.sum(w * (y * eta - np.logaddexp(0.0, eta)))
        if value < best - 1e-12 * abs(best):  # too far: half the way back
            direction = direction / 2
            point = point - direction
            continue
        best = value
        p = 1.0 / (1.0 + np.exp(-eta))
        gradient = design.T @ (w * (y - p))
        curvature = (design * (w * p * (1.0 - p))[:, None]).T @ design
        direction = np.linalg.solve(curvature, gradient)
        point = point + direction
        if np.abs(direction).max() < _CLOSE:
            return float(point[1] / scale)
    return float("nan")
