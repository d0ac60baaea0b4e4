"""Several classes: sufficient statistics of a slice by block, and their metrics.

What is told of the confidence (calibration error, distribution of the scores) is that
of a binary problem: the top class's probability, and whether it is right.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from components.evaluator import arithmetic, distribution, scaling
from components.evaluator import statistics as st
from components.evaluator.arithmetic import ratio
from components.evaluator.blocks import BLOCKS

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "log_loss",
    "loss_variance",
    "calibration_slope",
    "calibration_error",
    "mean_confidence",
    "irm_gradient",
    "irm_penalty",
    "irm_penalty_unbiased",
)
# Columns of `Statistics.blocks`; those of `scaling` follow.
EXAMPLES, INVALID, WEIGHT, LOSS, LOSS_SQUARE, CORRECT, CONFIDENCE, GRADIENT = range(8)
_SCALING = 8
SUMS = _SCALING + 2 * len(scaling.SCALES)
# Columns of `Statistics.classes`.
OF_CLASS, CLASS_WEIGHT, CLASS_RIGHT = range(3)
SUM_TOLERANCE = 1e-3
# ln of float32's smallest normal number stands for ln 0.
LEAST_LOG = float(np.log(np.finfo(np.float32).tiny))
_MOST_NUMBERS = 1_000_000  # of predictions looked at together


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one model on one slice.

    Attributes:
      blocks: float64 [BLOCKS, SUMS]: numbers of examples and of predictions that are no
        distribution; sums of the weight, and of weight times log loss, its square,
        correct, confidence, change of the log loss in a scale of the logits, and
        `scaling.derivatives`.
      classes: float64 [BLOCKS, K, 3]: of each class of the label the examples, the
        weight and the weight of those predicted right.
      top: of the binary problem whether the top class is right.
    """

    blocks: np.ndarray
    classes: np.ndarray
    top: st.Statistics


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the statistics take from each example, for one model.

    Attributes:
      sums: float64 [N, SUMS], the summands of `Statistics.blocks`.
      labels: int64 [N] in [0, number).
      number: of classes.
      top: of the binary problem whether the top class is right.
    """

    sums: np.ndarray
    labels: np.ndarray
    number: int
    top: st.Rows


def rows_of(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Rows:
    """The summands of each example.

    Log loss is -ln p_y, correct is whether the first of the largest p is p_y,
    confidence the largest p. The gradient is sum_k (p_k - 1[k = y]) z_k with z = ln p,
    the derivative of the log loss when the logits are scaled: ln p are the logits less
    a constant, and a constant drops out because p and the label both sum to 1. A
    prediction with a number outside [0, 1] or NaN, or whose sum is further than 1e-3
    from 1, counts as invalid and makes NaN of every sum that it enters; others are
    divided by their sum.

    Args:
      labels: int64 [N] in [0, K).
      predictions: [N, K] probabilities.
      weights: [N], finite, >= 0.
    """
    rows, number = predictions.shape
    step = max(_MOST_NUMBERS // number, 1)
    sums = np.empty((rows, SUMS))
    for start in range(0, max(rows, 1), step):
        part = slice(start, start + step)
        _fill(sums[part], labels[part], predictions[part])
    confidence, correct = sums[:, CONFIDENCE].copy(), sums[:, CORRECT] == 1
    weighted = sums[:, LOSS:]
    with np.errstate(invalid="ignore"):  # an infinite loss of no weight is none
        weighted *= weights[:, None]
    none = weights == 0
    weighted[none] = np.where(np.isnan(confidence[none])[:, None], np.nan, 0.0)
    sums[:, EXAMPLES], sums[:, WEIGHT] = 1.0, weights
    top = st.rows_of(correct.astype(np.float64), confidence, weights)
    return Rows(sums, labels.astype(np.int64), number, top)


def group(
    rows: Rows, blocks: np.ndarray, groups: np.ndarray, number: int
) -> list[Statistics]:
    """Statistics of each group of examples; as `statistics.group`."""
    chosen = np.flatnonzero(groups >= 0)
    cell, size = groups[chosen] * BLOCKS + blocks[chosen], number * BLOCKS
    sums = rows.sums[chosen]
    table = arithmetic.sums_by(cell, sums, size)
    of_class = np.column_stack(
        [np.ones(len(chosen)), sums[:, WEIGHT], sums[:, CORRECT]]
    )
    joint = cell * rows.number + rows.labels[chosen]
    classes = arithmetic.sums_by(joint, of_class, size * rows.number)
    return [
        Statistics(*parts)
        for parts in zip(
            table.reshape(number, BLOCKS, SUMS),
            classes.reshape(number, BLOCKS, rows.number, 3),
            st.group(rows.top, blocks, groups, number),
            strict=True,
        )
    ]


def merge(parts: Iterable[Statistics]) -> Statistics:
    """The sum of statistics of the same slice; one at least."""
    parts = list(parts)
    return Statistics(
        np.sum([part.blocks for part in parts], axis=0),
        np.sum([part.classes for part in parts], axis=0),
        st.merge(part.top for part in parts),
    )


def measure(statistics: Statistics) -> dict[str, tuple[float, np.ndarray]]:
    """All metrics of a slice.

    accuracy, log_loss and mean_confidence are means weighted by w of what `rows_of`
    says, loss_variance is the variance of the log loss; balanced_accuracy the mean over
    the classes that are there of the share predicted right. calibration_slope b
    maximises the likelihood of softmax(b z), the inverse of the temperature, to about
    1e-4 near 1, see `scaling`; calibration_error is that of the top class's confidence,
    as `distribution.calibration_error`. irm_gradient is the mean change of the log loss
    in a scale of the logits, irm_penalty its square, irm_penalty_unbiased as for the
    binary task.

    Args:
      statistics: of the slice.

    Returns:
      name -> (value, [BLOCKS] its values without each block). NaN where undefined:
      balanced_accuracy without a block that has all of a class, calibration_slope of a
      model that is never wrong.

    References:
      Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2
      (temperature). Arjovsky et al. 2019, Invariant Risk Minimization, section 3.1.
    """
    blocks = statistics.blocks
    totals = arithmetic.totals(blocks)
    weight = totals[:, WEIGHT]
    loss, gradient = (ratio(totals[:, c], weight) for c in (LOSS, GRADIENT))
    error = distribution.calibration_error(statistics.top.coarse)
    derivatives = totals[:, _SCALING:].reshape(len(totals), 2, -1)
    found = {
        "accuracy": ratio(totals[:, CORRECT], weight),
        "balanced_accuracy": _balanced(statistics.classes),
        "log_loss": loss,
        "loss_variance": arithmetic.variance(
            ratio(totals[:, LOSS_SQUARE], weight), loss
        ),
        "calibration_slope": scaling.best(derivatives, weight),
        "calibration_error": np.concatenate([[error.value], error.replicates]),
        "mean_confidence": ratio(totals[:, CONFIDENCE], weight),
        "irm_gradient": gradient,
        "irm_penalty": gradient**2,
        "irm_penalty_unbiased": arithmetic.between_blocks(
            blocks[:, GRADIENT], blocks[:, WEIGHT]
        ),
    }
    return arithmetic.estimates(found, METRICS, blocks[:, EXAMPLES])


def _fill(sums: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> None:
    """Writes all but examples and weight, without weights."""
    p = predictions.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = p.sum(axis=1)
        valid = ((p >= 0) & (p <= 1)).all(axis=1) & (np.abs(total - 1) <= SUM_TOLERANCE)
        p = np.where(valid[:, None], p / total[:, None], np.nan)
        z = np.maximum(np.log(p), LEAST_LOG)  # NaN stays NaN
        row = np.arange(len(labels))
        chosen = z[row, labels]
        loss = -np.log(p[row, labels])
    sums[:, INVALID] = ~valid
    sums[:, LOSS], sums[:, LOSS_SQUARE] = loss, loss**2
    correct = np.argmax(np.where(valid[:, None], p, 0.0), axis=1) == labels
    sums[:, CORRECT] = np.where(valid, correct, np.nan)
    sums[:, CONFIDENCE] = p.max(axis=1)
    sums[:, GRADIENT] = np.einsum("nk,nk->n", p, z) - chosen
    sums[:, _SCALING:] = scaling.derivatives(z, chosen).reshape(len(labels), -1)


def _balanced(classes: np.ndarray) -> np.ndarray:
    """Mean recall over the classes there, of all and without each block; [1 + BLOCKS].

    NaN where a class that is there has no weight left.
    """
    totals = arithmetic.totals(classes)
    there = totals[0, :, OF_CLASS] > 0
    whole = totals[0, there, CLASS_WEIGHT]
    # What is left of a weight that all went is rounding.
    weight = totals[:, there, CLASS_WEIGHT]
    weight = np.where(weight > 1e-9 * whole, weight, 0.0)
    recall = ratio(totals[:, there, CLASS_RIGHT], weight)
    return recall.mean(axis=1) if there.any() else np.full(len(totals), np.nan)
