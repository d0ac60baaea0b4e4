"""What the coarse histogram tells beyond slopes: calibration error, scores' spread."""

import numpy as np

from components import norms
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS

CALIBRATION_BINS = 10  # deciles of risk, as Hosmer and Lemeshow's test takes
SCORE_BINS = 128
_PER_SCORE_BIN = st.COARSE_BINS // SCORE_BINS


def calibration_error(coarse: st.Histogram) -> norms.Norm:
    """Expected calibration error over bins of about equal weight.

    ECE = sum_b |sum_{i in b} w_i (p_i - y_i)| / sum_i w_i, over at most
    `CALIBRATION_BINS` groups of coarse bins cut at the quantiles of the predictions. A
    coarse bin is never cut, so equal predictions stay together. Binning hides what
    cancels within a bin (Kumar et al., proposition 3.3); noise adds to what is left,
    the less the more equal the bins are (Roelofs et al.), and `Norm.noise` says how
    much at most.

    Args:
      coarse: of the slice, see `statistics.Statistics`.

    Returns:
      The error in [0, 1], its replicates [BLOCKS] with bins and signs held fixed, and
      what its limits need; NaN where there is no weight.

    References:
      Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
      Hosmer and Lemeshow 1980, Goodness of Fit Tests for the Multiple Logistic
      Regression Model (deciles of risk).
      Kumar, Liang and Ma 2019, Verified Uncertainty Calibration.
      Roelofs et al. 2022, Mitigating Bias in Calibration Error Estimation.
    """
    block, bins = np.divmod(coarse.keys, st.COARSE_BINS)
    weights = np.bincount(bins, coarse.sums[:, 0], st.COARSE_BINS)
    total = weights.sum()
    if not total > 0:
        nothing = np.full(BLOCKS, np.nan)
        return norms.Norm(nothing[0], nothing, nothing[0], nothing[0])
    middle = (np.cumsum(weights) - weights / 2) / total
    part = (middle * CALIBRATION_BINS).astype(np.int64).clip(0, CALIBRATION_BINS - 1)
    size = BLOCKS * CALIBRATION_BINS
    excess = coarse.sums[:, 4] - coarse.sums[:, 1]
    cell = block * CALIBRATION_BINS + part[bins]
    by_block = np.bincount(cell, excess, size).reshape(BLOCKS, CALIBRATION_BINS)
    whole = by_block.sum(axis=0)
    rest = total - np.bincount(block, coarse.sums[:, 0], BLOCKS)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.where(
            rest[:, None] > 0, (whole - by_block) / rest[:, None], np.nan
        )
    return norms.l1(whole / total, without)


def score_sketch(coarse: st.Histogram) -> np.ndarray:
    """The distribution of the predictions, so that distances can be told from it.

    For each bin of `SCORE_EDGES` the integral over it of the distribution function,
    F(x) = share of the weight at or below x. Between two slices the sum of the absolute
    differences is Wasserstein-1 (the area between two distribution functions), exact
    but where the two cross within a bin, and never too large.

    Args:
      coarse: of the slice, see `statistics.Statistics`.

    Returns:
      float64 [1 + BLOCKS, SCORE_BINS], of all and without each block; NaN where there
      is no weight or an invalid prediction.

    References:
      Vallender 1974, Calculation of the Wasserstein Distance Between Probability
      Distributions on the Line.
    """
    block, bins = np.divmod(coarse.keys, st.COARSE_BINS)
    cell, size = block * SCORE_BINS + bins // _PER_SCORE_BIN, BLOCKS * SCORE_BINS
    by_block = np.stack(
        [
            np.bincount(cell, coarse.sums[:, column], size).reshape(BLOCKS, SCORE_BINS)
            for column in (0, 4)
        ]
    )
    whole = by_block.sum(axis=1, keepdims=True)
    weight, prediction = np.concatenate([whole, whole - by_block], axis=1)
    before = np.cumsum(weight, axis=1) - weight
    right, width = SCORE_EDGES[1:], np.diff(SCORE_EDGES)
    area = before * width + weight * right - prediction
    total = weight.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, area / total, np.nan)


def _score_edges() -> np.ndarray:
    """Predictions where one group of coarse bins ends and the next begins."""
    wanted = np.arange(1, SCORE_BINS) / SCORE_BINS
    low = np.full(SCORE_BINS - 1, -st.LOGIT_LIMIT)
    high = -low
    for _ in range(60):  # bisection; the share rises strictly
        middle = (low + high) / 2
        above = st.coarse_share(middle) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.concatenate([[0.0], 1 / (1 + np.exp(-low)), [1.0]])


SCORE_EDGES = _score_edges()
