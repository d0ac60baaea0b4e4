"""Limits of norms: calibration errors, distances between scores, variance of risks.

Such a number is never negative, and noise only makes it larger, so value +- t * se does
not hold near 0. Here the limits are those of `components.norms`:

    upper = value + t * reach, which holds whatever the truth: a PASS is safe;
    lower = value - noise - t * se, at least 0: it first gives up what chance alone may
    have added, so a small sample of a good model does not FAIL.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from components import norms
from components.invariance_validator import intervals, scales

if TYPE_CHECKING:
    from components.evaluator.results import Estimate, SliceResult


@dataclass(frozen=True)
class NormSpread(intervals.Spread):
    """Norms, or their squares, with what their limits need.

    Attributes:
      value: the estimate, >= 0.
      error: standard error of the norm, away from 0.
      dof: degrees of freedom.
      noise: what chance alone adds to the norm on average, at most.
      reach: standard error for the upper limit.
      squared: whether `value` is the square of the norm.
      parts: of a variance, the spreads of its numbers where they have long tails; else
        None.
    """

    noise: np.ndarray = field(kw_only=True)
    reach: np.ndarray = field(kw_only=True)
    squared: bool = field(default=False, kw_only=True)
    parts: intervals.Spread | None = field(default=None, kw_only=True)

    def limits(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided limits; the upper for a PASS, the lower for a FAIL."""
        norm = np.sqrt(self.value) if self.squared else self.value
        inner = intervals.Spread(norm, self.error, self.dof)
        outer = intervals.Spread(norm, self.reach, self.dof)
        lower = np.maximum(norm - self.noise - inner.half_width(confidence), 0.0)
        reach = outer.half_width(confidence)
        if self.parts is not None:
            reach = np.maximum(reach, _farthest(self.parts.half_width(confidence)))
        upper = norm + reach
        return (lower**2, upper**2) if self.squared else (lower, upper)


def _farthest(reaches: np.ndarray) -> float:
    """How far off a standard deviation of S numbers may be, each by at most so much.

    The square of it is the most of sum_s d_s^2 reach_s^2 / S over directions d of
    length 1 that sum to 0: the largest eigenvalue of the reaches' squares, centred on
    both sides. Errors of different numbers add up as independent ones do; where they
    rise and fall together, `norms.l2` knows.
    """
    if not np.isfinite(reaches).all():
        return np.inf if np.isinf(reaches).any() else np.nan
    number = len(reaches)
    centred = np.eye(number) - 1 / number
    square = centred @ (reaches[:, None] ** 2 * centred)
    return float(np.sqrt(np.linalg.eigvalsh(square).max() / number))


def of_estimates(estimates: Sequence["Estimate"]) -> NormSpread:
    """Spreads of a norm of several slices, shape [len(estimates)]."""
    found = intervals.stack(
        [intervals.spread(e.value, e.replicates) for e in estimates]
    )
    return NormSpread(
        found.value,
        found.error,
        found.dof,
        noise=np.array([estimate.noise for estimate in estimates]),
        reach=np.array([estimate.reach for estimate in estimates]),
    )


def of_scores(one: "SliceResult", others: Sequence["SliceResult"]) -> NormSpread:
    """Wasserstein-1 distance of a slice's scores from those of others.

    Args:
      one: a slice with `scores`.
      others: more of them.

    Returns:
      The spread, of shape [len(others)]; distances in the unit of the scores, [0, 1].
    """
    mine = _scores(one)
    theirs = np.stack([_scores(other) for other in others])
    found = norms.l1(mine[0] - theirs[:, 0], mine[1:] - theirs[:, 1:])
    blocks = _varying(mine) | _varying(theirs)
    return _norm_spread(found, blocks)


def of_variance(
    estimates: Sequence["Estimate"], scale: str = scales.IDENTITY
) -> NormSpread:
    """Variance of a metric over slices: mean of the squared distances from their mean.

    Args:
      estimates: of two slices or more.
      scale: of the metric; of a loss with a long tail its own limits count as well.

    Returns:
      The spread, of shape [1].
    """
    values = np.array([estimate.value for estimate in estimates])
    blocks = len(estimates[0].replicates)
    replicates = intervals.rows([e.replicates for e in estimates], blocks).T
    root = np.sqrt(len(values))
    found = norms.l2(
        (values - values.mean())[None] / root,
        (replicates - replicates.mean(axis=1, keepdims=True))[None] / root,
    )
    parts = None
    if scale == scales.LOSS:
        parts = intervals.stack(
            [intervals.spread(e.value, e.replicates, scale=scale) for e in estimates]
        )
    made = _norm_spread(found, _varies(values, replicates)[None], squared=True)
    return dataclasses.replace(made, parts=parts)


def of_drop(
    trained: Sequence["Estimate"],
    held_out: "Estimate",
    better: str | None,
    scale: str = scales.IDENTITY,
) -> intervals.Spread:
    """How much worse a held-out environment is than the mean of the trained ones.

    Args:
      trained: a metric in each environment that was trained on; each counts as one.
      held_out: the metric in the held-out environment.
      better: which end of it is the better one, higher or lower.
      scale: of the metric.

    Returns:
      The spread, of shape [1].
    """
    blocks = len(held_out.replicates)
    replicates = intervals.rows([e.replicates for e in trained], blocks).mean(axis=0)
    mean = np.array([np.mean([estimate.value for estimate in trained])])
    pair = [
        (mean, replicates[None]),
        (np.array([held_out.value]), held_out.replicates[None]),
    ]
    one, other = pair if better == "higher" else reversed(pair)
    return intervals.difference(*one, *other, scale=scale)


def _scores(result: "SliceResult") -> np.ndarray:
    assert result.scores is not None  # the Evaluator always writes them
    return result.scores


def _varying(scores: np.ndarray) -> np.ndarray:
    """[..., K], of [..., 1 + K, bins]."""
    return _varies(scores[..., 0, :], scores[..., 1:, :])


def _varies(vector: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """Whether anything changes without each block; [..., K], of [..., K, M]."""
    change = np.abs(replicates - vector[..., None, :])
    return (change > 1e-9 * np.maximum(1.0, np.abs(vector[..., None, :]))).any(axis=-1)


def _norm_spread(
    found: norms.Norm, varies: np.ndarray, squared: bool = False
) -> NormSpread:
    error = norms.jackknife_error(found.replicates[..., None])[..., 0]
    value = found.value**2 if squared else found.value
    dof = varies.sum(axis=-1) - 1
    return NormSpread(
        value, error, dof, noise=found.noise, reach=found.reach, squared=squared
    )
