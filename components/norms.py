"""Norms of vectors of estimates: how far something is from nothing, told by samples.

A distance between two distributions, the spread of the risks of environments, a
calibration error summed over bins: each is a norm of estimated differences. Its value
is too large on average, for noise does not cancel in it. So it comes with

- replicates of the linear function that touches the norm at the estimate (the signs
  of the L1 norm, the direction of the L2 norm, held fixed). A norm is never below such
  a function, so an upper limit from them errs on the side of too large;
- the noise: a bound on what chance alone would give on average where the truth is 0.
  A lower limit has to give it up first.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# E|x| of a standard normal x.
_FOLDED = np.sqrt(2 / np.pi)


@dataclass(frozen=True)
class Norm:
    """Norms with what their errors need.

    Attributes:
      value: [...], >= 0; a scalar for a single vector.
      replicates: [..., K], the touching linear function without each block.
      noise: as value, the most that chance alone adds on average.
    """

    value: Any
    replicates: np.ndarray
    noise: Any


def l1(vector: np.ndarray, replicates: np.ndarray) -> Norm:
    """Sum of absolute values.

    noise = sqrt(2 / pi) sum_m se_m, the mean of the norm of independent or dependent
    normal errors around 0.

    Args:
      vector: [..., M] estimates.
      replicates: [..., K, M] the same without each of K jackknife blocks.

    Returns:
      Norms of shape [...].
    """
    touching = (np.sign(vector)[..., None, :] * replicates).sum(axis=-1)
    noise = _FOLDED * jackknife_error(replicates).sum(axis=-1)
    return Norm(np.abs(vector).sum(axis=-1), touching, noise)


def l2(vector: np.ndarray, replicates: np.ndarray) -> Norm:
    """Root of the sum of squares.

    noise = sqrt(sum_m se_m^2), above the mean of the norm of errors around 0 by
    Jensen's inequality.

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
    return Norm(value, touching, noise)


def jackknife_error(replicates: np.ndarray) -> np.ndarray:
    """Delete-one-block standard error of each estimate.

    Args:
      replicates: [..., K, M].

    Returns:
      [..., M].
    """
    blocks = replicates.shape[-2]
    deviations = replicates - replicates.mean(axis=-2, keepdims=True)
    return np.sqrt((blocks - 1) / blocks * (deviations**2).sum(axis=-2))
