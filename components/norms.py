"""Norms of vectors of estimates: how far something is from nothing, told by samples.

A distance between two distributions, the spread of the risks of environments, a
calibration error summed over bins: each is a norm of estimated differences. Its value
is too large on average, for noise does not cancel in it, and near 0 it is not normal.
But a norm is the largest of the linear functions that touch it: it is never below
s . x, for signs s (the L1 norm) or a direction s of length 1 (the L2 norm), and equals
it for one of them. So what is known of linear functions gives limits of the norm:

- The truth is s . mu for some s, and the value is never below s . x. So value + t *
  `reach`, with the largest standard error of any such function, is an upper limit.
- `noise` bounds what chance alone gives on average where the truth is 0. A lower limit
  gives that up first; `replicates`, with s held fixed, tell the error of the rest.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# E|x| of a standard normal x.
_FOLDED = np.sqrt(2 / np.pi)


@dataclass(frozen=True)
class Norm:
    """Norms with what their limits need.

    Attributes:
      value: [...], >= 0; a scalar for a single vector, as are the others.
      replicates: [..., K], the touching linear function without each block.
      noise: [...], the most that chance alone gives on average.
      reach: [...], largest standard error of a linear function that touches the norm.
    """

    value: Any
    replicates: np.ndarray
    noise: Any
    reach: Any


def l1(vector: np.ndarray, replicates: np.ndarray) -> Norm:
    """Sum of absolute values.

    noise = sqrt(2 / pi) sum_m se_m, the mean of the norm of normal errors around 0,
    dependent or not. reach^2 = sum_mn |cov_mn|, no less than s' cov s for any signs s.

    Args:
      vector: [..., M] estimates.
      replicates: [..., K, M] the same without each of K jackknife blocks.

    Returns:
      Norms of shape [...].
    """
    touching = (np.sign(vector)[..., None, :] * replicates).sum(axis=-1)
    noise = _FOLDED * jackknife_error(replicates).sum(axis=-1)
    reach = np.sqrt(np.abs(_covariance(replicates)).sum(axis=(-2, -1)))
    return Norm(np.abs(vector).sum(axis=-1), touching, noise, reach)


def l2(vector: np.ndarray, replicates: np.ndarray) -> Norm:
    """Root of the sum of squares.

    noise^2 = sum_m se_m^2, no less than the squared mean of the norm of errors around 0
    by Jensen's inequality. reach^2 is the largest eigenvalue of the covariance.

    Args:
      vector: [..., M] estimates.
      replicates: [..., K, M] the same without each of K jackknife blocks.

    Returns:
      Norms of shape [...].
    """
    value = np.sqrt((vector**2).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        direction = np.where(value[..., None] > 0, vector / value[..., None], 0.0)
    touching = (direction[..., None, :] * replicates).sum(axis=-1)
    noise = np.sqrt((jackknife_error(replicates) ** 2).sum(axis=-1))
    # The deviations' largest singular value; M may be large, K is not.
    deviations = _deviations(replicates)
    reach = np.linalg.norm(deviations, ord=2, axis=(-2, -1))
    return Norm(value, touching, noise, reach)


def jackknife_error(replicates: np.ndarray) -> np.ndarray:
    """Delete-one-block standard error of each estimate.

    Args:
      replicates: [..., K, M].

    Returns:
      [..., M].
    """
    return np.sqrt((_deviations(replicates) ** 2).sum(axis=-2))


def _deviations(replicates: np.ndarray) -> np.ndarray:
    """Scaled so that their cross product is the jackknife's covariance."""
    blocks = replicates.shape[-2]
    centred = replicates - replicates.mean(axis=-2, keepdims=True)
    return np.sqrt((blocks - 1) / blocks) * centred


def _covariance(replicates: np.ndarray) -> np.ndarray:
    """[..., M, M]."""
    deviations = _deviations(replicates)
    return np.swapaxes(deviations, -2, -1) @ deviations
