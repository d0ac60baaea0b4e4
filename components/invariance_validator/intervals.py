"""Confidence limits of metrics, and of their differences, from block replicates.

A metric comes with K values, each computed without one block of days (or of whatever
belongs together): the delete-one-block jackknife. Its standard error is

    se = sqrt((K - 1) / K * sum_k (r_k - mean r)^2)

and its limits are

    value - (t + 3 max(0, -g) (2 t^2 + 1) / 6) se
    value + (t + 3 max(0, +g) (2 t^2 + 1) / 6) se

with t's quantile at (blocks that vary - 1) degrees of freedom, for the number of
independent blocks, not of examples, says how much is known, and g = skewness / sqrt K
of the blocks' contributions. The second term is the Cornish-Fisher correction of a
limit for skewness, three times and only ever outwards: a sample that missed the long
tail shows neither its mean nor its skewness. Besides,

- limits are formed on the scale that a metric declares: 1 / value for a ratio whose
  denominator is an estimate, ln(value / (1 - value)) for AUC;
- of a loss without an upper end (loss; root: its root; explained: 1 - value is one) the
  outer of the limits on value and on 1 / value count, for a sample that has missed the
  long tail has too small a mean and too small an error together;
- a share is at least as uncertain as a binomial share of so many independent examples
  as its standard error says, with Clopper and Pearson's exact limits.

The blocks are the same for every slice and model, so a difference is formed replicate
by replicate and its covariance is in it. docs/decisions/0008 has the measurements.

References:
  Shao and Tu 1995, The Jackknife and Bootstrap, section 2.3 (grouped jackknife). Hall
  1983, Inverting an Edgeworth Expansion (skewness). Clopper and Pearson 1934, The Use
  of Confidence or Fiducial Limits, and Korn and Graubard 1998, Confidence Intervals
  for Proportions with Small Expected Number of Positive Counts (their limits in
  clustered samples).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from components.invariance_validator.scales import (
    FALLING,
    IDENTITY,
    INVERSE,
    LOGIT,
    OUTERMOST,
    THERE_AND_BACK,
)

_SAME = 1e-9  # relative: a block without examples of the slice changes nothing
_CAUTION = 3.0  # times the skewness correction


@dataclass(frozen=True)
class Spread:
    """Values with their errors; every array has the shape of `value`.

    Attributes:
      value: the estimate.
      error: its standard error, on its scale; NaN where it has none.
      dof: degrees of freedom, below 1 where the error says nothing.
      skew: skewness of the blocks' contributions / sqrt K, on its scale; positive
        where the long tail is above.
      units: of a share, how many independent examples it is of at most; NaN where it
        is no share, or of so many that this does not matter.
      step: what a single example changes the value by, where the value may be 0 for
        want of examples that change it; else 0.
      scale: of `error` and `skew`, see `scales`.
      outer: limits of the same value that these must not lie within, or None.
    """

    value: np.ndarray
    error: np.ndarray
    dof: np.ndarray
    skew: ArrayLike = 0.0
    units: ArrayLike = np.nan
    step: ArrayLike = 0.0
    scale: str = IDENTITY
    outer: "Spread | None" = None

    @property
    def usable(self) -> np.ndarray:
        """Whether limits exist."""
        known = (self.dof >= 1) | np.isfinite(self.units)
        found = np.isfinite(self.value) & np.isfinite(self.error) & known
        return found if self.outer is None else found & self.outer.usable

    def limits(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided limits, each at `confidence`; NaN where there are none.

        Args:
          confidence: in [0.5, 1).

        Returns:
          Lower and upper limits, which get no closer as the confidence rises.
        """
        t = _quantile(self.dof, confidence)
        lower, upper = self._t_limits(confidence, t)
        share, usable = np.isfinite(self.units), self.usable
        if np.any(share):
            low, high = self._share_limits(confidence)
            lower = np.where(share, np.fmax(np.fmin(lower, low), 0.0), lower)
            upper = np.where(share, np.fmin(np.fmax(upper, high), 1.0), upper)
        if self.outer is not None:
            low, high = self.outer.limits(confidence)
            lower, upper = np.minimum(lower, low), np.maximum(upper, high)
        return np.where(usable, lower, np.nan), np.where(usable, upper, np.nan)

    def half_width(self, confidence: float) -> np.ndarray:
        """The larger distance of the two one-sided limits; NaN where there are none.

        Args:
          confidence: one-sided, in [0.5, 1).
        """
        lower, upper = self.limits(confidence)
        return np.maximum(self.value - lower, upper - self.value)

    def _t_limits(
        self, confidence: float, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """From error and skewness; NaN without degrees of freedom."""
        error = np.where(self.dof >= 1, self.error, np.nan)
        bend = _CAUTION * (2 * t**2 + 1) / 6
        # Rule of three: n examples without an event have at most -ln(0.05) / n of them.
        step = np.asarray(self.step) * -np.log(1 - confidence)
        below = (t + bend * np.maximum(0.0, np.negative(self.skew))) * error + step
        above = (t + bend * np.maximum(0.0, self.skew)) * error + step
        there, back = THERE_AND_BACK[self.scale]
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = there(self.value)
            ends = back(centre - below), back(centre + above)
        return ends[::-1] if self.scale in FALLING else ends

    def _share_limits(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Clopper and Pearson's, of the effective number of examples; NaN: no share."""
        share = np.clip(self.value, 0.0, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Korn and Graubard's factor; 0 / 0 at a confidence of 0.5.
            sure = max(confidence, 0.6)
            wider = special.ndtri(sure) / _quantile(self.dof, sure)
            error = self.error
            if self.scale == LOGIT:
                error = error * share * (1 - share)
            known = share * (1 - share) * (wider / error) ** 2
            size = np.where(known > 0, np.fmin(self.units, known), self.units)
            size = np.where(np.isfinite(self.units), size, np.nan)
            hits, misses = share * size, (1 - share) * size
            low = special.betaincinv(hits, misses + 1, 1 - confidence)
            high = special.betaincinv(hits + 1, misses, confidence)
        return np.where(hits == 0, 0.0, low), np.where(misses == 0, 1.0, high)


def _quantile(dof: np.ndarray, confidence: float) -> np.ndarray:
    """Student's t quantile; of 1 degree of freedom where there are fewer."""
    whole = np.maximum(dof, 1).astype(np.int64)
    return special.stdtrit(np.arange(1, whole.max(initial=1) + 1), confidence)[
        whole - 1
    ]


def spread(
    value: float,
    replicates: ArrayLike,
    *,
    scale: str = IDENTITY,
    units: float = np.nan,
    bare: float = np.nan,
) -> Spread:
    """Of one estimate.

    Args:
      value: with all blocks.
      replicates: [K], without a block each; NaN where undefined.
      scale: on which the limits are formed, see the module.
      units: of a share, see `Spread`.
      bare: the same where the replicates show no spread, or leave the scale.

    Returns:
      Its spread, of shape []. Where all replicates agree, as for a model without a
      single error, there are no degrees of freedom: no spread is not certainty.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    if scale in OUTERMOST:
        return _outermost(value, replicates, scale)
    there, _ = THERE_AND_BACK[scale]
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, moved = there(np.float64(value)), there(replicates)
    found = _spread(centre, moved, _varies(value, replicates))
    error, dof, skew = found.error, found.dof, np.asarray(found.skew)
    if len(replicates) > 1 and np.isfinite(replicates).all():
        most = _SAME * max(1.0, abs(value))
        if np.ptp(replicates) <= most or (np.isfinite(bare) and not np.isfinite(error)):
            units = bare
            error, dof, skew = np.zeros(()), np.zeros(()), np.zeros(())
    return Spread(np.asarray(value, np.float64), error, dof, skew, units, scale=scale)


def stack(spreads: Sequence[Spread]) -> Spread:
    """Spreads of shape [], all of one scale, as one of shape [len(spreads)]."""
    value, error, dof, skew, units, step = (
        np.array([getattr(s, name) for s in spreads], np.float64)
        for name in ("value", "error", "dof", "skew", "units", "step")
    )
    outers = [s.outer for s in spreads if s.outer is not None]
    outer = stack(outers) if outers else None
    return Spread(value, error, dof, skew, units, step, spreads[0].scale, outer)


def difference(
    value: ArrayLike,
    replicates: ArrayLike,
    other: ArrayLike,
    others: ArrayLike,
    *,
    scale: str = IDENTITY,
    step: float = 0.0,
    paired: bool = False,
) -> Spread:
    """Of `value - other`, formed replicate by replicate.

    A block counts for the degrees of freedom where either of the two varies with it,
    so the difference of a model and its copy is exactly 0, not undecided.

    Args:
      value: [...], estimates with all blocks.
      replicates: [..., K].
      other: [...], what to subtract.
      others: [..., K].
      scale: of the two estimates, see `spread`; the difference itself has none.
      step: see `Spread`.
      paired: whether both are of the same examples, so that what one has missed the
        other has missed as well.

    Returns:
      The spread, of shape [...]. Of two losses of different examples its limits are
      never within what the limits of each give together, see `_Apart`.

    Raises:
      ValueError: the numbers of blocks differ.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    others = np.asarray(others, dtype=np.float64)
    rows([replicates], others.shape[-1])
    value, other = np.asarray(value, np.float64), np.asarray(other, np.float64)
    varies = _varies(value, replicates) | _varies(other, others)
    found = _spread(value - other, replicates - others, varies)
    skew = np.asarray(found.skew)
    if scale == INVERSE:
        bent = _bent(value, replicates) - _bent(other, others)
        with np.errstate(divide="ignore", invalid="ignore"):
            bent = np.where(found.error > 0, bent / found.error, 0.0)
        skew = np.where(skew * bent < 0, bent, skew + bent)
    outer = None
    if scale in OUTERMOST and not paired:
        outer = _apart(value, replicates, other, others, scale)
    return Spread(found.value, found.error, found.dof, skew, step=step, outer=outer)


@dataclass(frozen=True)
class _Apart(Spread):
    """A difference whose limits come from those of the two numbers.

    With u and l their limits and r the correlation of their errors,

        upper = a - b + sqrt((u_a - a)^2 + (b - l_b)^2 - 2 r (u_a - a) (b - l_b))

    and the lower one likewise. So what is known of each one's long tail is kept, where
    an error of the difference would take both tails for one symmetric one.

    References:
      Zou and Donner 2008, Construction of Confidence Limits about Effect Measures, and
      Zou 2007, Toward Using Confidence Intervals to Compare Correlations, eq. 15.
    """

    one: Spread = field(kw_only=True)
    other: Spread = field(kw_only=True)
    correlation: np.ndarray = field(kw_only=True)

    def limits(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided limits, as `Spread.limits`."""
        (low, high), a = self.one.limits(confidence), self.one.value
        (other_low, other_high), b = self.other.limits(confidence), self.other.value
        below = self._together(a - low, other_high - b)
        above = self._together(high - a, b - other_low)
        return self.value - below, self.value + above

    def _together(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        # Of two infinite reaches the product with a correlation would be NaN.
        infinite = np.isinf(one) | np.isinf(other)
        one, other = np.where(infinite, 0.0, one), np.where(infinite, 0.0, other)
        square = one**2 + other**2 - 2 * self.correlation * one * other
        return np.where(infinite, np.inf, np.sqrt(np.maximum(square, 0.0)))


def _apart(
    value: np.ndarray,
    replicates: np.ndarray,
    other: np.ndarray,
    others: np.ndarray,
    scale: str,
) -> _Apart:
    found = _spread(value - other, replicates - others, replicates != others)
    both = np.broadcast_arrays(replicates, others)
    of_one, of_other = (r - r.mean(axis=-1, keepdims=True) for r in both)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.sqrt((of_one**2).sum(axis=-1) * (of_other**2).sum(axis=-1))
        correlation = np.where(size > 0, (of_one * of_other).sum(axis=-1) / size, 0.0)
    return _Apart(
        found.value,
        found.error,
        found.dof,
        one=_outermost(value, replicates, scale),
        other=_outermost(other, others, scale),
        correlation=correlation,
    )


def _outermost(value: ArrayLike, replicates: np.ndarray, scale: str) -> Spread:
    """Of estimates [...] with replicates [..., K], on both scales of `OUTERMOST`."""
    value, outer = np.asarray(value, np.float64), None
    for name in reversed(OUTERMOST[scale]):
        there, _ = THERE_AND_BACK[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            centre, moved = there(value), there(replicates)
        found = _spread(centre, moved, _varies(value, replicates))
        outer = Spread(
            value, found.error, found.dof, found.skew, scale=name, outer=outer
        )
    assert outer is not None
    return outer


def _bent(value: np.ndarray, replicates: np.ndarray) -> np.ndarray:
    """How far, on average, the error of its denominator lifts a ratio."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = _spread(1 / value, 1 / replicates, replicates > 0).error
    return value * (value * error) ** 2


def rows(replicates: Sequence[ArrayLike], blocks: int) -> np.ndarray:
    """Replicates of several estimates, as [..., blocks].

    Raises:
      ValueError: one has another number of blocks.
    """
    for row in replicates:
        found = np.shape(row)[-1]
        if found != blocks:
            raise ValueError(
                f"estimates of {found} and {blocks} blocks cannot be compared; evaluate"
                " both with the same blocks"
            )
    return np.asarray(replicates, dtype=np.float64)


def _varies(value: ArrayLike, replicates: np.ndarray) -> np.ndarray:
    centre = np.asarray(value)[..., None]
    return np.abs(replicates - centre) > _SAME * np.maximum(1.0, np.abs(centre))


def _spread(value: ArrayLike, replicates: np.ndarray, varies: np.ndarray) -> Spread:
    value = np.asarray(value, np.float64)
    blocks = replicates.shape[-1]
    if blocks < 2:
        nothing = np.full(np.shape(value), np.nan)
        return Spread(value, nothing, np.zeros(np.shape(value)))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        deviations = replicates - replicates.mean(axis=-1, keepdims=True)
        squares = (deviations**2).sum(axis=-1)
        # A block that raises the value lowers what is left without it.
        skew = -(deviations**3).sum(axis=-1) / squares**1.5
    error = np.sqrt((blocks - 1) / blocks * squares)
    skew = np.where(squares > 0, skew, 0.0)
    return Spread(value, error, varies.sum(axis=-1) - 1, skew)
