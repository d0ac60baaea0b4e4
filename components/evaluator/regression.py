"""Regression: sufficient statistics of a slice by block, and the metrics from them."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from components.evaluator import arithmetic, moments
from components.evaluator.arithmetic import ratio
from components.evaluator.blocks import BLOCKS

METRICS = (
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_absolute_error",
    "r_squared",
    "mean_label",
    "mean_prediction",
    "calibration_slope",
    "calibration_intercept",
    "loss_variance",
    "irm_gradient",
    "irm_penalty",
    "irm_penalty_unbiased",
)
# Columns of `Statistics.blocks`.
EXAMPLES, INVALID, WEIGHT, LOSS, LOSS_SQUARE, ABSOLUTE, GRADIENT = range(7)
SUMS = 7


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one model on one slice.

    Attributes:
      blocks: float64 [BLOCKS, SUMS]: numbers of examples and of predictions that are
        not finite; sums of the weight, and of weight times squared error, its square,
        absolute error and 2 (prediction - label) prediction.
      moments: float64 [BLOCKS, moments.COLUMNS] of label (y) and prediction (x).
    """

    blocks: np.ndarray
    moments: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the statistics take from each example, for one model.

    Attributes:
      sums: float64 [N, SUMS], the summands of `Statistics.blocks`.
      labels: float64 [N].
      predictions: float64 [N], NaN where invalid.
    """

    sums: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray


def rows_of(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Rows:
    """The summands of each example.

    A prediction that is not finite counts as invalid and makes NaN of every sum that it
    enters.

    Args:
      labels: float64 [N], finite.
      predictions: [N], in the label's unit.
      weights: [N], finite, >= 0.
    """
    invalid = ~np.isfinite(predictions)
    forecast = np.where(invalid, np.nan, predictions).astype(np.float64)
    error = forecast - labels
    sums = np.empty((len(labels), SUMS))
    sums[:, EXAMPLES], sums[:, INVALID], sums[:, WEIGHT] = 1.0, invalid, weights
    with np.errstate(over="ignore", invalid="ignore"):
        sums[:, LOSS] = weights * error**2
        sums[:, LOSS_SQUARE] = weights * error**4
        sums[:, ABSOLUTE] = weights * np.abs(error)
        sums[:, GRADIENT] = weights * 2 * error * forecast
    return Rows(sums, labels.astype(np.float64), forecast)


def group(
    rows: Rows, blocks: np.ndarray, groups: np.ndarray, number: int
) -> list[Statistics]:
    """Statistics of each group of examples; as `statistics.group`."""
    chosen = np.flatnonzero(groups >= 0)
    cell, size = groups[chosen] * BLOCKS + blocks[chosen], number * BLOCKS
    sums = rows.sums[chosen]
    table = arithmetic.sums_by(cell, sums, size)
    found = moments.of_rows(
        rows.labels[chosen], rows.predictions[chosen], sums[:, WEIGHT], cell, size
    )
    shaped = found.reshape(number, BLOCKS, moments.COLUMNS)
    return [
        Statistics(*parts)
        for parts in zip(table.reshape(number, BLOCKS, SUMS), shaped, strict=True)
    ]


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Statistics of several parts of the same slice together; one at least."""
    parts = list(parts)
    return Statistics(
        np.sum([part.blocks for part in parts], axis=0),
        moments.merge(np.stack([part.moments for part in parts])),
    )


def measure(statistics: Statistics) -> dict[str, tuple[float, np.ndarray]]:
    """All metrics of a slice.

    With w, y, f an example's weight, label and prediction, and l = (f - y)^2 its loss:
    mean_squared_error is the weighted mean of l, root_mean_squared_error its root,
    loss_variance the variance of l; r_squared = 1 - sum w (f - y)^2 / sum w (y - mean
    y)^2, below 0 where the mean would be the better prediction. calibration_slope b and
    calibration_intercept a are the least squares fit of y = a + b f: 1 and 0 where the
    label is on average what is predicted. irm_gradient is the mean of 2 (f - y) f, the
    derivative of the loss when the prediction is scaled, irm_penalty its square
    (IRMv1), irm_penalty_unbiased as for the binary task.

    Args:
      statistics: of the slice.

    Returns:
      name -> (value, [BLOCKS] its values without each block). NaN where undefined: over
      an invalid prediction; r_squared of labels, and slope and intercept of predictions
      that are all the same.

    References:
      Mincer and Zarnowitz 1969, The Evaluation of Economic Forecasts (slope and
      intercept). Arjovsky et al. 2019, Invariant Risk Minimization, section 3.1.
    """
    blocks = statistics.blocks
    totals = arithmetic.totals(blocks)
    weight = totals[:, WEIGHT]
    loss, gradient = (ratio(totals[:, c], weight) for c in (LOSS, GRADIENT))
    of = moments.without_each(statistics.moments)
    known = weight > 0
    label, prediction = (
        np.where(known, of[:, c], np.nan) for c in (moments.MEAN_Y, moments.MEAN_X)
    )
    spread = moments.varies(of, moments.XX, moments.MEAN_X)
    slope = ratio(of[:, moments.XY], np.where(spread, of[:, moments.XX], 0.0))
    differs = moments.varies(of, moments.YY, moments.MEAN_Y)
    unexplained = ratio(totals[:, LOSS], np.where(differs, of[:, moments.YY], 0.0))
    found = {
        "mean_squared_error": loss,
        "root_mean_squared_error": np.sqrt(np.maximum(loss, 0.0)),
        "mean_absolute_error": ratio(totals[:, ABSOLUTE], weight),
        "r_squared": 1 - unexplained,
        "mean_label": label,
        "mean_prediction": prediction,
        "calibration_slope": slope,
        "calibration_intercept": label - slope * prediction,
        "loss_variance": arithmetic.variance(
            ratio(totals[:, LOSS_SQUARE], weight), loss
        ),
        "irm_gradient": gradient,
        "irm_penalty": gradient**2,
        "irm_penalty_unbiased": arithmetic.between_blocks(
            blocks[:, GRADIENT], blocks[:, WEIGHT]
        ),
    }
    return arithmetic.estimates(found, METRICS, blocks[:, EXAMPLES])
