"""The scale of a softmax's logits that fits the labels best, told in one pass.

The likelihood of softmax(b z) is concave in b, so its maximum is where the derivative
is 0. To find it takes the examples again at each b; what adds up in one pass are the
derivative and its own derivative at fixed scales, between which a cubic runs.
"""

import numpy as np

# Close around 1, where calibrated models are; wide beyond.
SCALES = np.array(
    [-4, -2, -1, -0.5, 0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
    + [1, 1.125, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6, 8, 12, 16, 32]
)
_HALVINGS = 50
_LEAST = 1e-9  # of the weight: a derivative below it is rounding


def derivatives(z: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Derivative of each example's cross-entropy in b, and of that, at `SCALES`.

    d = sum_k q_k z_k - z_y and sum_k q_k z_k^2 - (sum_k q_k z_k)^2, with q = softmax(b
    z) and y the label.

    Args:
      z: float64 [N, K], logits but for a constant.
      chosen: float64 [N], z of the label.

    Returns:
      float64 [N, 2, SCALES].
    """
    found = np.empty((len(z), 2, len(SCALES)))
    square = z**2
    top, low = z.max(axis=1, keepdims=True), z.min(axis=1, keepdims=True)
    for i, scale in enumerate(SCALES):
        q = np.exp(scale * (z - (top if scale >= 0 else low)))
        q /= q.sum(axis=1, keepdims=True)
        mean = np.einsum("nk,nk->n", q, z)
        found[:, 0, i] = mean - chosen
        found[:, 1, i] = np.einsum("nk,nk->n", q, square) - mean**2
    return found


def best(sums: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The scale at which the derivative is 0.

    Between the two of `SCALES` around it the derivative is the cubic that has the right
    values and slopes at both (Hermite's).

    Args:
      sums: [R, 2, SCALES], sums of weight * `derivatives`.
      weight: [R], total weights.

    Returns:
      [R]. NaN where there is none between the first and the last of `SCALES`, as where
      no example is wrong; where the logits of each example are all the same; and where
      a sum is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = sums[:, 0] / weight[:, None]
        curve = np.maximum(sums[:, 1] / weight[:, None], 0.0)
        above = slope > _LEAST
        end = above.argmax(axis=1)
        start, row = np.maximum(end - 1, 0), np.arange(len(sums))
        known = above.any(axis=1) & (slope[row, start] <= _LEAST)
        known &= np.isfinite(slope).all(axis=1)
    width = SCALES[end] - SCALES[start]
    ends = slope[row, start], slope[row, end]
    tangents = width * curve[row, start], width * curve[row, end]
    share = _root(*ends, *tangents)
    return np.where(known & (end > 0), SCALES[start] + share * width, np.nan)


def _root(
    left: np.ndarray, right: np.ndarray, rise_left: np.ndarray, rise_right: np.ndarray
) -> np.ndarray:
    """Where Hermite's cubic on [0, 1] from below 0 to above it is 0."""
    low, high = np.zeros_like(left), np.ones_like(left)
    for _ in range(_HALVINGS):
        t = (low + high) / 2
        value = (
            (1 + 2 * t) * (1 - t) ** 2 * left
            + t**2 * (3 - 2 * t) * right
            + t * (1 - t) ** 2 * rise_left
            - t**2 * (1 - t) * rise_right
        )
        low, high = np.where(value > 0, low, t), np.where(value > 0, t, high)
    return (low + high) / 2
