"""Means and centred second moments of two variables, by block, that add up.

Sums of squares lose what a large mean leaves of a small variance; moments around the
mean do not. Two parts merge by the formula of Chan, Golub and LeVeque.

References:
  Chan, Golub and LeVeque 1983, Algorithms for Computing the Sample Variance, eq. 2.1.
"""

import numpy as np

# Columns: total weight, the two means, and sums of weight * deviation * deviation.
WEIGHT, MEAN_Y, MEAN_X, YY, XX, XY = range(6)
COLUMNS = 6


def of_rows(
    y: np.ndarray, x: np.ndarray, weights: np.ndarray, cell: np.ndarray, size: int
) -> np.ndarray:
    """Moments of the examples of each cell.

    Args:
      y: float64 [N].
      x: float64 [N].
      weights: float64 [N], >= 0.
      cell: int64 [N] in [0, size).
      size: number of cells.

    Returns:
      float64 [size, COLUMNS]; zeros where there is no weight.
    """
    found = np.zeros((size, COLUMNS))
    found[:, WEIGHT] = np.bincount(cell, weights, size)
    there = found[:, WEIGHT] > 0
    with np.errstate(invalid="ignore", over="ignore"):
        for column, values in ((MEAN_Y, y), (MEAN_X, x)):
            total = np.bincount(cell, weights * values, size)
            found[there, column] = total[there] / found[there, WEIGHT]
        of_y, of_x = y - found[cell, MEAN_Y], x - found[cell, MEAN_X]
        for column, product in ((YY, of_y**2), (XX, of_x**2), (XY, of_x * of_y)):
            found[:, column] = np.bincount(cell, weights * product, size)
    return found


def merge(parts: np.ndarray) -> np.ndarray:
    """Moments of several parts together.

    Args:
      parts: float64 [P, ..., COLUMNS].

    Returns:
      float64 [..., COLUMNS].
    """
    weight = parts[..., WEIGHT]
    total = weight.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(total > 0, weight / np.where(total > 0, total, 1.0), 0.0)
        mean_y = (share * parts[..., MEAN_Y]).sum(axis=0)
        mean_x = (share * parts[..., MEAN_X]).sum(axis=0)
        of_y, of_x = parts[..., MEAN_Y] - mean_y, parts[..., MEAN_X] - mean_x
        scatter = [
            (parts[..., column] + weight * product).sum(axis=0)
            for column, product in ((YY, of_y**2), (XX, of_x**2), (XY, of_x * of_y))
        ]
    return np.stack([total, mean_y, mean_x, *scatter], axis=-1)


def without_each(blocks: np.ndarray) -> np.ndarray:
    """Moments of all blocks, then without each; [1 + B, COLUMNS] of [B, COLUMNS]."""
    number = len(blocks)
    keep = np.concatenate([np.ones((1, number)), 1 - np.eye(number)])
    parts = np.repeat(blocks[:, None], number + 1, axis=1)
    # What is left out has no weight; its means then count for nothing.
    for column in (WEIGHT, YY, XX, XY):
        parts[..., column] *= keep.T
    return merge(parts)


def varies(moments: np.ndarray, scatter: int, mean: int) -> np.ndarray:
    """Whether a variable is more than a constant with the rounding of float32.

    Args:
      moments: [..., COLUMNS].
      scatter: YY or XX.
      mean: MEAN_Y or MEAN_X.

    Returns:
      bool [...]: a standard deviation above 3e-7 of the mean; False where NaN.
    """
    least = 1e-13 * moments[..., WEIGHT] * moments[..., mean] ** 2
    return (moments[..., scatter] > least) & (moments[..., WEIGHT] > 0)
