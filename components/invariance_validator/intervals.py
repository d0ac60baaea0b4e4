"""Confidence limits of metrics, and of their differences, from block replicates.

A metric comes with K values, each computed without one block of days (or of whatever
belongs together): the delete-one-block jackknife. Its standard error is

    se = sqrt((K - 1) / K * sum_k (r_k - mean r)^2)

and limits are value +- t * se with (blocks that vary - 1) degrees of freedom, for the
number of independent blocks, not of examples, says how much is known. The blocks are
the same for every slice and model, so a difference is formed replicate by replicate
and its covariance is in it.

References:
  Shao and Tu 1995, The Jackknife and Bootstrap, section 2.3 (grouped jackknife).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

_SAME = 1e-9  # relative: a block without examples of the slice changes nothing


@dataclass(frozen=True)
class Spread:
    """Values with their errors; every field is a number or an array of one shape.

    Attributes:
      value: the estimate.
      error: its standard error; NaN where it has none.
      dof: degrees of freedom, below 1 where no interval can be formed.
    """

    value: np.ndarray
    error: np.ndarray
    dof: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Whether limits exist."""
        return np.isfinite(self.value) & np.isfinite(self.error) & (self.dof >= 1)

    def half_width(self, confidence: float) -> np.ndarray:
        """Distance of a one-sided limit, t * se; NaN where there is none.

        Args:
          confidence: one-sided, in [0.5, 1).
        """
        usable = self.usable
        quantile = special.stdtrit(np.where(usable, self.dof, 1), confidence)
        return np.where(usable, quantile * self.error, np.nan)

    def limits(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided limits, each at the confidence; NaN where there are none."""
        half = self.half_width(confidence)
        return self.value - half, self.value + half


def spread(value: float, replicates: np.ndarray) -> Spread:
    """Of one estimate.

    Args:
      value: with all blocks.
      replicates: [K], without a block each; NaN where undefined.

    Returns:
      Its spread, of shape []. Where all replicates agree, as for a model without a
      single error, there are no degrees of freedom: no spread is not certainty.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    found = _spread(value, replicates, _varies(value, replicates))
    if found.error <= _SAME * max(1.0, abs(value)):
        return Spread(found.value, found.error, np.zeros(()))
    return found


def stack(spreads: Sequence[Spread]) -> Spread:
    """Spreads of shape [] as one of shape [len(spreads)]."""
    return Spread(
        np.array([s.value for s in spreads]),
        np.array([s.error for s in spreads]),
        np.array([s.dof for s in spreads]),
    )


def difference(
    value: ArrayLike, replicates: ArrayLike, other: ArrayLike, others: ArrayLike
) -> Spread:
    """Of `value - other`, formed replicate by replicate.

    A block counts for the degrees of freedom where either of the two varies with it,
    so the difference of a model and its copy is exactly 0, not undecided.

    Args:
      value: [...], estimates with all blocks.
      replicates: [..., K].
      other: [...], what to subtract.
      others: [..., K].

    Returns:
      The spread, of shape [...].

    Raises:
      ValueError: the numbers of blocks differ.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    others = np.asarray(others, dtype=np.float64)
    rows([replicates], others.shape[-1])
    value, other = np.asarray(value, np.float64), np.asarray(other, np.float64)
    varies = _varies(value, replicates) | _varies(other, others)
    return _spread(value - other, replicates - others, varies)


def rows(replicates: Sequence[ArrayLike], blocks: int) -> np.ndarray:
    """Replicates of several estimates, as [..., blocks].

    Raises:
      ValueError: one has another number of blocks.
    """
    for row in replicates:
        found = np.shape(row)[-1]
        if found != blocks:
            raise ValueError(
                f"estimates of {found} and {blocks} blocks cannot be compared; evaluate"
                " both with the same blocks"
            )
    return np.asarray(replicates, dtype=np.float64)


def _varies(value: ArrayLike, replicates: np.ndarray) -> np.ndarray:
    centre = np.asarray(value)[..., None]
    return np.abs(replicates - centre) > _SAME * np.maximum(1.0, np.abs(centre))


def _spread(value: ArrayLike, replicates: np.ndarray, varies: np.ndarray) -> Spread:
    replicates = np.asarray(replicates, dtype=np.float64)
    blocks = replicates.shape[-1]
    if blocks < 2:
        nothing = np.full(np.shape(value), np.nan)
        return Spread(np.asarray(value, np.float64), nothing, np.zeros(np.shape(value)))
    with np.errstate(invalid="ignore", over="ignore"):
        deviations = replicates - replicates.mean(axis=-1, keepdims=True)
        error = np.sqrt((blocks - 1) / blocks * (deviations**2).sum(axis=-1))
    return Spread(np.asarray(value, np.float64), error, varies.sum(axis=-1) - 1)
