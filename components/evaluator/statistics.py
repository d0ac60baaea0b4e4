"""Sufficient statistics of binary predictions, per slice and jackknife block.

Everything that the metrics need fits into three sums over examples, and sums of
batches, bundles and machines add up:

- `blocks`: per block, counts and sums;
- `fine`: per bin of the prediction, the 10,002 bins of TFMA's calibration histogram
  (`int(p * 10000 + 1)`), so that AUC and the calibration curve come out as TFMA's;
- `coarse`: per block and bin of the log-odds, for calibration slopes and errors, for
  the distribution of the scores, and for what AUC loses without a block.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from components.evaluator import arithmetic
from components.evaluator.blocks import BLOCKS

# Columns of `blocks`.
EXAMPLES, POSITIVES, INVALID, WEIGHT, LABEL = range(5)
PREDICTION, LOSS, CORRECT, MOMENT, LOSS_SQUARE, GRADIENT = range(5, 11)
SUMS = 11
FINE_BINS = 10_002
COARSE_BINS = 1_024
# Log-odds beyond this cannot be told apart in a float32 probability near 1.
LOGIT_LIMIT = 16.6


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Sums of some columns over the occupied bins.

    Attributes:
      keys: int64 [M], sorted and distinct.
      sums: float64 [M, columns].
    """

    keys: np.ndarray
    sums: np.ndarray


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of one model on one slice.

    Attributes:
      blocks: float64 [BLOCKS, SUMS]: numbers of examples, of positives and of
        predictions that are no probability; sums of the weight, weight * label, weight
        * prediction, weight * log loss, weight * correct, weight * label * log-odds,
        weight * log loss^2 and weight * (prediction - label) * log-odds.
      fine: by TFMA's bin; weight, weight * label, weight * prediction.
      coarse: by block * COARSE_BINS + bin; weight, weight * label, weight * log-odds,
        weight * log-odds^2, weight * prediction.
    """

    blocks: np.ndarray
    fine: Histogram
    coarse: Histogram


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the statistics take from each example, for one model.

    Attributes:
      sums: float64 [N, SUMS], the summands of `Statistics.blocks`.
      fine: int64 [N], bins.
      coarse: int64 [N], bins.
      logits: float64 [N], log-odds, clipped to +-LOGIT_LIMIT.
    """

    sums: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    logits: np.ndarray


def rows_of(labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Rows:
    """The summands of each example.

    Log loss is -ln p where the label is 1, else -ln(1 - p), in the precision of the
    predictions, as TFMA computes it; at p = 0 or 1 it is 0 or inf (TFMA: NaN). Correct
    is (p > 0.5) == label. A prediction that is NaN or outside [0, 1] counts as invalid
    and makes NaN of every sum that it enters.

    Args:
      labels: [N], 0 or 1.
      predictions: [N], float32 or float64 probabilities.
      weights: [N], finite, >= 0.

    Returns:
      The rows.
    """
    positive = labels == 1
    with np.errstate(divide="ignore", invalid="ignore"):
        invalid = ~((predictions >= 0) & (predictions <= 1))
        loss = -np.log(np.where(positive, predictions, 1 - predictions))
        p = np.where(invalid, np.nan, predictions).astype(np.float64)
        logits = np.clip(np.log(p) - np.log1p(-p), -LOGIT_LIMIT, LOGIT_LIMIT)
    correct = np.where(invalid, np.nan, (p > 0.5) == positive)
    loss = np.where(invalid, np.nan, loss.astype(np.float64))
    sums = np.empty((len(labels), SUMS))
    sums[:, EXAMPLES] = 1.0
    sums[:, POSITIVES] = positive
    sums[:, WEIGHT] = weights
    sums[:, LABEL] = weights * positive
    sums[:, PREDICTION] = weights * p
    sums[:, LOSS] = np.where(weights == 0, 0.0 * p, weights * loss)
    sums[:, CORRECT] = weights * correct
    sums[:, MOMENT] = weights * positive * logits
    sums[:, LOSS_SQUARE] = np.where(weights == 0, 0.0 * p, weights * loss**2)
    sums[:, GRADIENT] = weights * (p - positive) * logits
    sums[:, INVALID] = invalid
    return Rows(sums, fine_bins(p), coarse_bins(logits), logits)


def fine_bins(p: np.ndarray) -> np.ndarray:
    """TFMA's bin of a prediction: int(10000 p + 1); NaN goes to bin 0."""
    bins = np.nan_to_num(p * 10_000 + 1, nan=0.0)
    return bins.clip(0, FINE_BINS - 1).astype(np.int64)


def coarse_bins(logits: np.ndarray) -> np.ndarray:
    """Bin of a log-odds, in increasing order.

    Half of the bins divide the probability evenly, half the log-odds: 0.007 wide in
    the middle, at most 0.065 in the tails. NaN goes to bin 0.
    """
    share = coarse_share(np.nan_to_num(logits, nan=-LOGIT_LIMIT))
    return (share * COARSE_BINS).astype(np.int64).clip(0, COARSE_BINS - 1)


def coarse_share(z: np.ndarray) -> np.ndarray:
    """Share of the coarse bins that lie below a log-odds, in [0, 1]."""
    return 0.5 / (1 + np.exp(-z)) + 0.25 * (z / LOGIT_LIMIT + 1)


def group(
    rows: Rows, blocks: np.ndarray, groups: np.ndarray, number: int
) -> list[Statistics]:
    """Statistics of each group of examples.

    Args:
      rows: of N examples.
      blocks: int64 [N] in [0, BLOCKS).
      groups: int64 [N] in [0, number), or -1 for an example of no group.
      number: how many groups.

    Returns:
      One `Statistics` a group.
    """
    chosen = np.flatnonzero(groups >= 0)
    groups, blocks = groups[chosen], blocks[chosen]
    sums, cell = rows.sums[chosen], groups * BLOCKS + blocks
    fine = _histograms(
        groups * FINE_BINS + rows.fine[chosen],
        sums[:, [WEIGHT, LABEL, PREDICTION]],
        FINE_BINS,
        number,
    )
    weight, logits = sums[:, WEIGHT], rows.logits[chosen]
    coarse = _histograms(
        cell * COARSE_BINS + rows.coarse[chosen],
        np.column_stack(
            [
                weight,
                sums[:, LABEL],
                weight * logits,
                weight * logits**2,
                sums[:, PREDICTION],
            ]
        ),
        BLOCKS * COARSE_BINS,
        number,
    )
    size = number * BLOCKS
    table = arithmetic.sums_by(cell, sums, size)
    table = table.reshape(number, BLOCKS, SUMS)
    return [Statistics(*parts) for parts in zip(table, fine, coarse, strict=True)]


def merge(parts: Iterable[Statistics]) -> Statistics:
    """The sum of statistics of the same slice; one at least."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    return Statistics(
        np.sum([part.blocks for part in parts], axis=0),
        _merge_histograms([part.fine for part in parts]),
        _merge_histograms([part.coarse for part in parts]),
    )


def _histograms(
    keys: np.ndarray, columns: np.ndarray, width: int, number: int
) -> list[Histogram]:
    """Histograms of `number` groups; key = group * width + bin."""
    total = _sum_by_key(keys, columns)
    edges = np.searchsorted(total.keys, np.arange(number + 1) * width)
    return [
        Histogram(total.keys[a:b] - i * width, total.sums[a:b])
        for i, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True))
    ]


def _merge_histograms(parts: Sequence[Histogram]) -> Histogram:
    return _sum_by_key(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.sums for part in parts]),
    )


def _sum_by_key(keys: np.ndarray, columns: np.ndarray) -> Histogram:
    distinct, index = np.unique(keys, return_inverse=True)
    sums = arithmetic.sums_by(index.reshape(-1), columns, len(distinct))
    return Histogram(distinct, sums)
