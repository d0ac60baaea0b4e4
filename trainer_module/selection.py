"""Which of several models to take, by what the training environments alone say.

The rules are those of docs/decisions/0006. Risks are log losses, or squared errors of a
regression's standardised label; calibration slopes are a binary task's alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from trainer_module.calibration import Slope, calibration_slope

INVARIANCE = "invariance"
LEAVE_ONE_OUT = "leave_one_environment_out"
RULES = (
    "training_environments",
    "worst_training_environment",
    LEAVE_ONE_OUT,
    INVARIANCE,
)
NORMAL_95 = 1.645  # one-sided
NOT_COUNTED = 10.0  # what the oracle is told of a model that can't be chosen


@dataclasses.dataclass(frozen=True)
class Score:
    """A model in one training environment, on its eval rows.

    Attributes:
      risk: mean loss.
      slope: calibration slope; NaN where there is none, as in other tasks than binary.
      slope_variance: of the slope.
      gain: how much lower the risk is than that of a constant.
      gain_error: standard error of the gain.
      has_slope: whether the task has a slope at all.
    """

    risk: float
    slope: float
    slope_variance: float
    gain: float
    gain_error: float
    has_slope: bool = True

    @property
    def counts(self) -> bool:
        """Whether it is clearly better than a constant, and has a positive slope."""
        rises = self.slope > 0 or not self.has_slope
        return self.gain > NORMAL_95 * self.gain_error and rises


@dataclasses.dataclass(frozen=True)
class Trial:
    """A model that could be chosen.

    Attributes:
      scores: one for each training environment; empty where training failed.
      left_out: risk in each training environment of a model trained without it, or
        empty.
    """

    scores: Sequence[Score]
    left_out: Sequence[float] = ()

    @property
    def counts(self) -> bool:
        """Whether it is clearly better than a constant in every environment."""
        return bool(self.scores) and all(score.counts for score in self.scores)

    @property
    def mean_risk(self) -> float:
        """Mean over the environments."""
        return _mean([score.risk for score in self.scores])

    @property
    def worst_risk(self) -> float:
        """The largest of any environment."""
        return max((score.risk for score in self.scores), default=math.inf)

    @property
    def risk_gap(self) -> float:
        """The largest less the smallest risk."""
        return self.worst_risk - min(
            (score.risk for score in self.scores), default=math.inf
        )

    @property
    def slope_spread(self) -> float:
        """Ln of the largest slope less ln of the smallest; inf where one has no ln."""
        slopes = [score.slope for score in self.scores]
        if not slopes or not all(slope > 0 for slope in slopes):
            return math.inf
        return math.log(max(slopes)) - math.log(min(slopes))

    @property
    def slope_spread_error(self) -> float:
        """Standard error of the spread, by the delta method."""
        ends = sorted(self.scores, key=lambda score: score.slope)
        variances = [end.slope_variance / end.slope**2 for end in (ends[0], ends[-1])]
        return math.sqrt(sum(variances))


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    task: str = "binary",
) -> Score:
    """Scores a model in one environment.

    Args:
      logits: [N, K] float; [N] where K is 1.
      labels: [N]: 0 or 1, ids of classes, or standardised numbers.
      weights: [N] >= 0, or None for equal ones.
      task: "binary", "multiclass" or "regression".
    """
    weights = np.ones(len(labels)) if weights is None else weights
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    x = x if task == "multiclass" else x.reshape(-1)
    shares = weights / weights.sum()
    losses, constant = _LOSSES[task](x, y, shares)
    gains = constant - losses
    gain = float(shares @ gains)
    # Of a weighted mean: sum of (share (d - mean))^2.
    error = float(np.sqrt(np.sum((shares * (gains - gain)) ** 2)))
    slope, has_slope = Slope(math.nan, math.nan), task == "binary"
    if has_slope:
        slope = calibration_slope(x, y, weights)
    risk = float(shares @ losses)
    return Score(risk, slope.value, slope.variance, gain, error, has_slope)


Losses = tuple[np.ndarray, np.ndarray]  # of the model, and of the best constant; [N]


def _log_loss(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> Losses:
    base = float(shares @ y)
    with np.errstate(divide="ignore", invalid="ignore"):
        constant = -np.where(y > 0.5, np.log(base), np.log1p(-base))
    return np.logaddexp(0.0, x) - y * x, constant


def _cross_entropy(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> Losses:
    ids = y.astype(int)
    base = np.bincount(ids, shares, x.shape[1])
    own = np.take_along_axis(x, ids[:, None], axis=1)[:, 0]
    with np.errstate(divide="ignore"):
        constant = -np.log(base[ids])
    return special.logsumexp(x, axis=1) - own, constant


def _squared_error(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> Losses:
    return (x - y) ** 2, (y - float(shares @ y)) ** 2


_LOSSES = {
    "binary": _log_loss,
    "multiclass": _cross_entropy,
    "regression": _squared_error,
}


def figure(trial: Trial, rule: str) -> float:
    """What a rule makes small in a trial; finite, for an oracle to learn from.

    Raises:
      ValueError: unknown rule.
    """
    _check(rule)
    if rule == INVARIANCE:
        return trial.slope_spread if trial.counts else NOT_COUNTED
    value = {
        "training_environments": trial.mean_risk,
        "worst_training_environment": trial.worst_risk,
        LEAVE_ONE_OUT: _mean(trial.left_out),
    }[rule]
    return min(value, NOT_COUNTED) if not math.isnan(value) else NOT_COUNTED


def choose(trials: Sequence[Trial], rule: str) -> int | None:
    """The index of the trial that a rule names; None where none can be.

    Raises:
      ValueError: unknown rule.
    """
    _check(rule)
    if rule != INVARIANCE:
        figures = [figure(trial, rule) for trial in trials]
        able = [i for i, value in enumerate(figures) if value < NOT_COUNTED]
        return min(able, key=lambda i: (figures[i], trials[i].mean_risk), default=None)
    able = [i for i, trial in enumerate(trials) if trial.counts]
    if not able:
        return None
    best = trials[min(able, key=lambda i: trials[i].slope_spread)]
    limit = best.slope_spread + best.slope_spread_error
    able = [i for i in able if trials[i].slope_spread <= limit]
    return min(able, key=lambda i: (trials[i].risk_gap, trials[i].mean_risk))


def _check(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"Unknown rule {rule!r}: expected one of {', '.join(RULES)}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.inf
