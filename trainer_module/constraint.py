"""Training towards a bound: the penalty's weight follows what is still too large.

Minimise the risk such that c <= bound, where c says how far apart the training
environments are. The Lagrangian is risk + weight * (penalty), and its multiplier rises
while the bound is not kept and falls while it is, here by the exponentiated form of
dual ascent: weights of penalties differ by powers of ten, and steps are then in
proportion.

References:
  Cotter et al. 2019, Two-Player Games for Efficient Non-Convex Constrained
  Optimization.
  Kivinen and Warmuth 1997, Exponentiated Gradient versus Gradient Descent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from trainer_module.calibration import calibration_slope
from trainer_module.settings import ConstraintSettings


def risk_gap(risks: np.ndarray) -> float:
    """The largest risk of an environment less the smallest; NaN below two of them."""
    known = risks[np.isfinite(risks)]
    return float(known.max() - known.min()) if len(known) > 1 else math.nan


def slope_spread(
    logits: np.ndarray, labels: np.ndarray, ids: np.ndarray, weights: np.ndarray
) -> float:
    """The largest calibration slope of an environment less the smallest.

    Args:
      logits: [N] float.
      labels: [N], 0 or 1.
      ids: [N], the environment of each row; negative for none.
      weights: [N] >= 0.

    Returns:
      NaN where an environment that is there has no slope, or there are fewer than two.
    """
    rows = [ids == e for e in np.unique(ids[ids >= 0])]
    slopes = np.array(
        [calibration_slope(logits[m], labels[m], weights[m]).value for m in rows]
    )
    if len(slopes) < 2 or not np.isfinite(slopes).all():
        return math.nan
    return float(slopes.max() - slopes.min())


def updated(
    multiplier: float, values: Mapping[str, float], settings: ConstraintSettings
) -> float:
    """The multiplier after a look at how far apart environments are.

    multiplier * exp(rate * clip(max_i c_i / bound_i - 1, -1, 1)), kept within
    [1 / most, most].

    Args:
      multiplier: > 0, what the penalties' weights are multiplied by.
      values: c_i by name. One that is NaN says nothing.
      settings: bounds, rate and limits.
    """
    ratios = [values[name] / bound for name, bound in settings.bounds.items()]
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    if not known:
        return multiplier
    course = min(max(max(known) - 1.0, -1.0), 1.0)
    grown = multiplier * math.exp(settings.rate * course)
    return min(max(grown, 1.0 / settings.most), settings.most)
