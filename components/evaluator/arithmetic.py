"""Arithmetic that the measures of all tasks share, on sums by jackknife block."""

from collections.abc import Mapping, Sequence

import numpy as np


def totals(blocks: np.ndarray) -> np.ndarray:
    """Sums of all blocks, then without each; [1 + BLOCKS, ...] of [BLOCKS, ...]."""
    total = blocks.sum(axis=0)
    with np.errstate(invalid="ignore"):  # inf without inf
        return np.concatenate([total[None], total - blocks])


def sums_by(cell: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Sums of columns [N, C] over the rows of each cell, in [0, size); [size, C]."""
    return np.column_stack([np.bincount(cell, column, size) for column in columns.T])


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def variance(square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mean of the squares less the square of the mean, at least 0."""
    with np.errstate(invalid="ignore"):  # inf - inf, where a loss is infinite
        return np.maximum(square - mean**2, 0.0)


def between_blocks(gradient: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean product of the gradients of two examples from different blocks.

    (sum_k G_k)^2 - sum_k G_k^2 over the same of the weights, with sums over blocks k.

    Args:
      gradient: [BLOCKS], sums of weight * gradient.
      weight: [BLOCKS], sums of the weight.

    Returns:
      [1 + BLOCKS], of all and without each block; NaN where all weight is in one.
    """
    products = []
    for part in (gradient, weight):
        total = np.concatenate([[part.sum()], part.sum() - part])
        squares = np.concatenate([[(part**2).sum()], (part**2).sum() - part**2])
        products.append((total**2 - squares, total**2))
    (pairs, _), (weights, whole) = products
    return ratio(pairs, np.where(weights > 1e-9 * whole, weights, 0.0))


def estimates(
    found: Mapping[str, np.ndarray], names: Sequence[str], examples: np.ndarray
) -> dict[str, tuple[float, np.ndarray]]:
    """Values and replicates by name.

    Args:
      found: metric -> [1 + BLOCKS], of all and without each block.
      names: of the metrics to take.
      examples: [BLOCKS], examples of each block.

    Returns:
      name -> (value, [BLOCKS]); a block without examples leaves the value exactly as
      it is.
    """
    empty = examples == 0
    return {
        name: (
            float(found[name][0]),
            np.where(empty, found[name][0], found[name][1:]),
        )
        for name in names
    }
