"""Metrics and their delete-one-block replicates, from sufficient statistics.

Every function takes sums and does arithmetic. What is undefined is NaN, never 0: an
AUC of one class, a slope of separable classes, anything over an invalid prediction.
"""

import dataclasses

import numpy as np

from components.evaluator import arithmetic, distribution, logistic
from components.evaluator import statistics as st
from components.evaluator.arithmetic import ratio
from components.evaluator.blocks import BLOCKS

METRICS = (
    "auc",
    "log_loss",
    "accuracy",
    "calibration",
    "calibration_slope",
    "calibration_intercept",
    "mean_label",
    "mean_prediction",
    "loss_variance",
    "irm_gradient",
    "irm_penalty",
    "irm_penalty_unbiased",
    "calibration_error",
)
CURVE_BINS = 20
_EPSILON = 1e-7
_THRESHOLDS = 10_000


@dataclasses.dataclass(frozen=True)
class Curve:
    """Calibration curve.

    Attributes:
      edges: float64 [B + 1], from -inf to inf.
      sums: float64 [B, 3]: weight, weight * label, weight * prediction.
    """

    edges: np.ndarray
    sums: np.ndarray


def measure(statistics: st.Statistics) -> dict[str, tuple[float, np.ndarray]]:
    """All metrics of a slice.

    With w, y, p an example's weight, label and prediction, z = ln(p / (1 - p)):
    log_loss, accuracy, mean_label and mean_prediction are means weighted by w;
    calibration = sum w p / sum w y; auc as in `auc`; calibration_slope b and
    calibration_intercept a are the maximum-likelihood fit of P(y) = 1 / (1 + e^-(a +
    b z)), as in `logistic.fit`. With l the log loss of an example, loss_variance =
    mean l^2 - (mean l)^2. With g = (p - y) z, the derivative of l when the log-odds are
    scaled, irm_gradient is the mean g and irm_penalty its square, which is IRMv1's
    penalty; irm_penalty_unbiased is the mean of the product of two g from different
    blocks, 0 on average where the truth is 0, and so at times below it.
    calibration_error as in `distribution.calibration_error`.

    Args:
      statistics: of the slice.

    Returns:
      name -> (value, [BLOCKS] its values without each block). A block without examples
      leaves the value exactly as it is. NaN where undefined.

    References:
      Cox 1958, Two further applications of a model for binary regression (slope and
      intercept); Shao and Wu 1989, A General Theory for Jackknife Variance Estimation;
      Arjovsky et al. 2019, Invariant Risk Minimization, section 3.1 (IRMv1).
    """
    blocks = statistics.blocks
    totals = arithmetic.totals(blocks)
    found = _means(totals)
    found["auc"] = _auc(statistics, totals)
    slope, intercept = _calibration_fit(statistics, totals)
    found["calibration_slope"], found["calibration_intercept"] = slope, intercept
    found["irm_penalty_unbiased"] = arithmetic.between_blocks(
        blocks[:, st.GRADIENT], blocks[:, st.WEIGHT]
    )
    error = distribution.calibration_error(statistics.coarse)
    found["calibration_error"] = np.concatenate([[error.value], error.replicates])
    return arithmetic.estimates(found, METRICS, blocks[:, st.EXAMPLES])


def calibration_limits(statistics: st.Statistics) -> dict[str, float]:
    """`noise` and `reach` of calibration_error, what its limits need: `norms.Norm`."""
    error = distribution.calibration_error(statistics.coarse)
    return {"noise": float(error.noise), "reach": float(error.reach)}


def auc(fine: st.Histogram) -> float:
    """Area under the ROC curve, as TFMA's AUC computes it.

    The histogram is rebinned at 10,000 thresholds i / 9,999 (the ends moved out by
    1e-7) and the curve interpolated linearly between them.

    Args:
      fine: of the slice; both classes must be there.

    Returns:
      In [0, 1].
    """
    positives = np.bincount(_THRESHOLD_OF[fine.keys], fine.sums[:, 1], _THRESHOLDS)
    weights = np.bincount(_THRESHOLD_OF[fine.keys], fine.sums[:, 0], _THRESHOLDS)
    y = _above(positives)
    x = _above(weights - positives)
    return float(np.sum((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2.0))


def binned_auc(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """P(score of a positive > of a negative) + P(equal) / 2, by bins.

    Args:
      positives: [..., M] weights of the positives in bins of rising score.
      negatives: [..., M] of the negatives.

    Returns:
      [...], NaN where a class has no weight.
    """
    total = positives.sum(axis=-1, keepdims=True)
    above = total - np.cumsum(positives, axis=-1)
    wins = (negatives * (above + positives / 2)).sum(axis=-1)
    return ratio(wins, total[..., 0] * negatives.sum(axis=-1))


def curve(fine: st.Histogram) -> Curve:
    """Calibration curve in CURVE_BINS bins of equal width, as TFMA's CalibrationPlot.

    Its first bin is [-inf, 0), its last [1, inf).
    """
    width = (st.FINE_BINS - 2) // CURVE_BINS
    bins = np.where(fine.keys == 0, 0, (fine.keys - 1) // width + 1)
    sums = [np.bincount(bins, column, CURVE_BINS + 2) for column in fine.sums.T]
    inner = np.arange(CURVE_BINS + 1) / CURVE_BINS
    return Curve(np.concatenate([[-np.inf], inner, [np.inf]]), np.column_stack(sums))


def _means(totals: np.ndarray) -> dict[str, np.ndarray]:
    weight = totals[:, st.WEIGHT]
    has_positives = totals[:, st.POSITIVES] > 0
    loss = ratio(totals[:, st.LOSS], weight)
    gradient = ratio(totals[:, st.GRADIENT], weight)
    square = ratio(totals[:, st.LOSS_SQUARE], weight)
    return {
        "log_loss": loss,
        "loss_variance": arithmetic.variance(square, loss),
        "irm_gradient": gradient,
        "irm_penalty": gradient**2,
        "accuracy": ratio(totals[:, st.CORRECT], weight),
        "mean_label": ratio(totals[:, st.LABEL], weight),
        "mean_prediction": ratio(totals[:, st.PREDICTION], weight),
        "calibration": ratio(
            totals[:, st.PREDICTION], np.where(has_positives, totals[:, st.LABEL], 0.0)
        ),
    }


def _auc(statistics: st.Statistics, totals: np.ndarray) -> np.ndarray:
    """AUC of all and without each block, [1 + BLOCKS].

    Without a block it is TFMA's value, moved by what leaving out the block changes in
    the coarse histogram.
    """
    defined = _defined(totals)
    if not defined[0]:
        return np.full(len(totals), np.nan)
    _, _, weights, positives = _coarse(statistics)
    coarse = binned_auc(positives, weights - positives)
    values = auc(statistics.fine) + (coarse - coarse[0])
    return np.where(defined, values, np.nan)


def _calibration_fit(
    statistics: st.Statistics, totals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    defined = _defined(totals)
    if not defined[0]:
        return np.full(len(totals), np.nan), np.full(len(totals), np.nan)
    x, deviation, weights, positives = _coarse(statistics)
    points = np.concatenate([x - deviation, x + deviation], axis=1)
    slope, intercept = logistic.fit(
        points,
        np.tile(weights / 2, (1, 2)),
        np.tile(positives / 2, (1, 2)),
        totals[:, st.MOMENT],
    )
    return np.where(defined, slope, np.nan), np.where(defined, intercept, np.nan)


def _coarse(
    statistics: st.Statistics,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The coarse histogram, dense, of all and without each block.

    Returns:
      Of each occupied bin, in rising order, mean log-odds [1 + BLOCKS, M], their
      standard deviation [M], weights and positives [1 + BLOCKS, M].
    """
    block, bins = np.divmod(statistics.coarse.keys, st.COARSE_BINS)
    occupied, column = np.unique(bins, return_inverse=True)
    table = np.zeros((BLOCKS, len(occupied), 4))
    table[block, column.reshape(-1)] = statistics.coarse.sums[:, :4]
    table = table[:, table[:, :, 0].sum(axis=0) > 0]
    total = table.sum(axis=0)
    sums = np.concatenate([total[None], total - table])
    weights = np.maximum(sums[:, :, 0], 0.0)
    positives = np.clip(sums[:, :, 1], 0.0, weights)
    mean, square = total[:, 2] / total[:, 0], total[:, 3] / total[:, 0]
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    # Where all the weight of a bin went, what is left is rounding.
    left = weights > 1e-9 * total[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.where(left, sums[:, :, 2] / weights, mean)
    return x, deviation, weights, positives


def _defined(totals: np.ndarray) -> np.ndarray:
    """Where both classes are there and every prediction is a probability; [1 + K]."""
    positives, label = totals[:, st.POSITIVES], totals[:, st.LABEL]
    negatives = totals[:, st.EXAMPLES] - positives
    both = (positives > 0) & (negatives > 0) & (label > 0)
    both &= totals[:, st.WEIGHT] > label
    return both & (totals[0, st.INVALID] == 0)


def _above(sums: np.ndarray) -> np.ndarray:
    """Share of the mass at or above each threshold; above the last there is none."""
    result = np.cumsum(sums[::-1])[::-1]
    result = result / result[0]
    result[-1] = 0.0
    return result


def _threshold_of_bins() -> np.ndarray:
    """The threshold bin that each fine bin falls into; int64 [FINE_BINS]."""
    inner = (np.arange(_THRESHOLDS - 2) + 1) / (_THRESHOLDS - 1)
    thresholds = np.concatenate([[-_EPSILON], inner, [1 + _EPSILON]]) + _EPSILON
    lower = (np.arange(st.FINE_BINS) - 1) / 10_000
    lower[0], lower[-1] = -np.inf, np.inf
    found = np.searchsorted(thresholds, lower, side="right") - 1
    return found.clip(0, _THRESHOLDS - 1)


_THRESHOLD_OF = _threshold_of_bins()
