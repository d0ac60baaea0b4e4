"""Logistic regression on one regressor, many weightings of the same points at once."""

import dataclasses

import numpy as np

_MAX_STEPS = 100
_CLOSE = 1e-6  # of a step; the error left is of the order of its square


def fit(
    x: np.ndarray, weights: np.ndarray, positives: np.ndarray, moments: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood logistic regression on one binned regressor, R times.

    Maximises a sum_m positives_m + b moment - sum_m weights_m ln(1 + e^(a + b x_m)) by
    Newton's method with step halving. With exact moments and two points a bin, binning
    leaves an error of fourth order in the width of the bins.

    Args:
      x: [R, M] the regressor's points.
      weights: [R, M] weight at each point.
      positives: [R, M] of it, that of the positives.
      moments: [R] sum of weight * regressor over the positives.

    Returns:
      slopes b [R] and intercepts a [R]; NaN where the likelihood has no maximum: one
      class only, classes separable, or x constant.
    """
    slope, intercept = np.full((2, len(weights)), np.nan)
    ok = _overlap(x, positives, weights - positives)
    if not ok.any():
        return slope, intercept
    x, weights, total = x[ok], weights[ok], positives[ok].sum(axis=1)
    mass = weights[0] / weights[0].sum()
    centre = mass @ x[0]
    spread = np.sqrt(mass @ (x[0] - centre) ** 2)
    problem = _Problem(
        (x - centre) / spread, weights, total, (moments[ok] - centre * total) / spread
    )
    share = total[0] / weights[0].sum()
    start = np.array([[np.log(share / (1 - share)), 0.0]])
    start = np.nan_to_num(_newton(problem.first, start))
    a, b = _newton(problem, np.repeat(start, len(weights), axis=0)).T
    slope[ok], intercept[ok] = b / spread, a - b * centre / spread
    return slope, intercept


@dataclasses.dataclass(frozen=True)
class _Problem:
    """R logistic regressions on a standardised regressor.

    Attributes:
      u: [R, M] regressor.
      weights: [R, M].
      total: [R] weight of the positives.
      moment: [R] sum of weight * regressor over the positives.
    """

    u: np.ndarray
    weights: np.ndarray
    total: np.ndarray
    moment: np.ndarray

    @property
    def first(self) -> "_Problem":
        """The first of them alone."""
        return _Problem(self.u[:1], self.weights[:1], self.total[:1], self.moment[:1])

    def at(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log likelihoods [R] and Newton directions [R, 2] at [R, 2] (a, b)."""
        a, b = point.T
        eta = a[:, None] + b[:, None] * self.u
        softplus = np.logaddexp(0.0, eta)
        value = a * self.total + b * self.moment - (self.weights * softplus).sum(axis=1)
        expected = self.weights * np.exp(eta - softplus)
        curvature = expected * np.exp(-softplus)
        g0 = self.total - expected.sum(axis=1)
        g1 = self.moment - (expected * self.u).sum(axis=1)
        h0 = curvature.sum(axis=1)
        h1 = (curvature * self.u).sum(axis=1)
        h2 = (curvature * self.u**2).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.stack([h2 * g0 - h1 * g1, h0 * g1 - h1 * g0], axis=1)
            return value, step / (h0 * h2 - h1**2)[:, None]


def _newton(problem: _Problem, start: np.ndarray) -> np.ndarray:
    """Maximises the likelihoods from `start`; [R, 2], NaN where not converged."""
    point, size = start, np.ones((len(start), 1))
    value, direction = problem.at(point)
    for _ in range(_MAX_STEPS):
        trial = point + size * direction
        trial_value, trial_direction = problem.at(trial)
        better = trial_value >= value - 1e-13 * np.abs(value)
        moved = np.abs(size * direction).max(axis=1)  # NaN: there was no direction
        point = np.where(better[:, None], trial, point)
        direction = np.where(better[:, None], trial_direction, direction)
        value = np.where(better, trial_value, value)
        size = np.where(better[:, None], 1.0, size / 2)
        if np.all(moved < _CLOSE):
            break
    return np.where(moved[:, None] < _CLOSE, point, np.nan)


def _overlap(x: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Whether some positive lies below some negative and the other way round; [R]."""
    low, high = [], []
    for sums in (positives, negatives):
        there = sums > 1e-12 * sums.sum(axis=1, keepdims=True)
        low.append(np.where(there, x, np.inf).min(axis=1))
        high.append(np.where(there, x, -np.inf).max(axis=1))
    return (low[0] < high[1]) & (low[1] < high[0])
