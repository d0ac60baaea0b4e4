"""Is one environment's number another's in a different unit, or moved by a constant?"""

import dataclasses
from collections.abc import Sequence

import numpy as np

# One unit, another, and y = factor x + offset.
_CONVERSIONS: tuple[tuple[str, str, float, float], ...] = (
    ("degrees Celsius", "degrees Fahrenheit", 1.8, 32.0),
    ("degrees Celsius", "Kelvin", 1.0, 273.15),
    ("miles", "kilometres", 1.609344, 0.0),
    ("nautical miles", "kilometres", 1.852, 0.0),
    ("metres", "feet", 3.28084, 0.0),
    ("inches", "centimetres", 2.54, 0.0),
    ("inches", "millimetres", 25.4, 0.0),
    ("kilograms", "pounds", 2.20462, 0.0),
    ("ounces", "grams", 28.3495, 0.0),
    ("metres a second", "miles an hour", 2.23694, 0.0),
    ("metres a second", "kilometres an hour", 3.6, 0.0),
    ("inches of mercury", "hectopascals", 33.8639, 0.0),
    ("millimetres of mercury", "hectopascals", 1.33322, 0.0),
    ("kilopascals", "millimetres of mercury", 7.50062, 0.0),
    ("mmol/l of glucose", "mg/dl", 18.0156, 0.0),
    ("mg/dl of creatinine", "umol/l", 88.42, 0.0),
    ("mmol/l of cholesterol", "mg/dl", 38.67, 0.0),
    ("hours", "minutes (or minutes, seconds)", 60.0, 0.0),
    ("hours", "seconds", 3_600.0, 0.0),
    ("days", "hours", 24.0, 0.0),
    ("weeks", "days", 7.0, 0.0),
    ("years", "months", 12.0, 0.0),
    ("years", "days", 365.25, 0.0),
    ("radians", "degrees", 57.29578, 0.0),
    ("ones", "tenths", 10.0, 0.0),
    ("shares", "per cent (or metres, centimetres)", 100.0, 0.0),
    ("ones", "thousandths", 1_000.0, 0.0),
    ("ones", "millionths", 1e6, 0.0),
)
_QUANTILES = np.arange(0.5, 100) / 100
# Hours, minutes, HHMM and seconds of a day; days of a week; months; degrees.
_PERIODS = (24.0, 1_440.0, 2_400.0, 86_400.0, 7.0, 12.0, 360.0)
_STEPS = 48
_MUCH_NEARER, _NEARER = 1 / 3, 1 / 2
_NEAR = 0.35
_CLEAR = 1.8  # pooled deviations


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A map of the first environment's numbers to the second's.

    Attributes:
      name: of the units; "" for a constant.
      factor: of y = factor x + offset.
      offset: of it.
      before: distance of the two environments, see `distance`.
      after: distance once the first is converted.
    """

    name: str
    factor: float
    offset: float
    before: float
    after: float

    @property
    def is_clear(self) -> bool:
        """Whether it explains a difference that hardly anything else does."""
        return self.before >= _CLEAR and self.after <= self.before / 5


def quantiles(values: np.ndarray) -> np.ndarray:
    """The 0.5th to 99.5th percentiles of the values that are not NaN; float64 [100]."""
    there = values[~np.isnan(values)]
    return np.quantile(there, _QUANTILES) if len(there) else np.full(100, np.nan)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 of the middle 99 %, in pooled deviations; from `quantiles`."""
    moved = float(np.mean(np.abs(a - b)))
    deviation = float(np.sqrt((np.var(a) + np.var(b)) / 2))
    return moved / deviation if deviation > 0 else (0.0 if moved == 0 else np.inf)


def find(a: np.ndarray, b: np.ndarray, apart: float) -> Conversion | None:
    """The conversion of units that makes a of b.

    It must bring them much nearer: to a third of their distance, and below 0.35, and
    nearer than any constant does.

    Args:
      a: quantiles of one environment.
      b: of the other.
      apart: environments that are nearer than this are left alone.

    Returns:
      The best, or None.
    """
    before = distance(a, b)
    if not before >= apart:
        return None
    found = []
    for one, other, factor, offset in _CONVERSIONS:
        for name, f, o in (
            (f"{one} to {other}", factor, offset),
            (f"{other} to {one}", 1 / factor, -offset / factor),
        ):
            found.append(Conversion(name, f, o, before, distance(f * a + o, b)))
    best = _near(min(found, key=lambda c: c.after))
    moved = find_offset(a, b, apart)
    simpler = best and moved and best.factor != 1 and moved.after <= best.after
    return None if simpler else best


def find_offset(a: np.ndarray, b: np.ndarray, apart: float) -> Conversion | None:
    """The constant that makes a of b: it must halve their distance, to below 0.35.

    Numbers that lie within a day, a week, a year or a circle may also turn around its
    end.
    """
    before = distance(a, b)
    if not before >= apart:
        return None
    offset = float(np.median(b - a))
    found = [Conversion("", 1.0, offset, before, distance(a + offset, b))]
    for period in _PERIODS:
        low, high = min(a[0], b[0]), max(a[-1], b[-1])
        if low < 0 or high > period or high - low < period / 2:
            continue
        for step in range(1, _STEPS):
            offset = period * step / _STEPS
            turned = np.sort((a + offset) % period)
            offset -= period * (offset > period / 2)
            found.append(Conversion("", 1.0, offset, before, distance(turned, b)))
    return _near(min(found, key=lambda c: c.after), _NEARER)


def _near(conversion: Conversion, share: float = _MUCH_NEARER) -> Conversion | None:
    near = min(_NEAR, conversion.before * share)
    return conversion if conversion.after <= near else None


def odd_ones(
    pairs: Sequence[tuple[int, int]], grid: Sequence[np.ndarray]
) -> tuple[list[int], list[int]]:
    """Who differs from the rest, given the pairs that differ by a conversion.

    Those in the most pairs; of two that are in as many, the one that is farther from
    all environments.

    Args:
      pairs: indices of environments.
      grid: quantiles of each environment.

    Returns:
      (the odd ones, those that they differ from).
    """
    size = len(grid)
    times = np.zeros(size, int)
    for pair in pairs:
        times[list(pair)] += 1
    far = [np.nanmean([_capped(grid[i], g) for g in grid]) for i in range(size)]
    odd: list[int] = []
    left = list(pairs)
    while left:
        worst = max(
            {i for pair in left for i in pair}, key=lambda i: (times[i], far[i], -i)
        )
        odd.append(worst)
        left = [pair for pair in left if worst not in pair]
    others = {i for pair in pairs for i in pair} - set(odd)
    return sorted(odd), sorted(others)


def _capped(a: np.ndarray, b: np.ndarray) -> float:
    return min(distance(a, b), 1e6)
