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
    ("ones", "tenths", 10.0, 0.0),
    ("shares", "per cent (or metres, centimetres)", 100.0, 0.0),
    ("ones", "thousandths", 1_000.0, 0.0),
    ("ones", "millionths", 1e6, 0.0),
)
_QUANTILES = np.arange(0.5, 100) / 100
_MUCH_NEARER = 1 / 3
_NEAR = 0.35


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

    It must bring them much nearer: to a third of their distance, and below 0.35.

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
    return _near(min(found, key=lambda c: c.after))


def find_offset(a: np.ndarray, b: np.ndarray, apart: float) -> Conversion | None:
    """The constant that makes a of b, on the same terms as `find`."""
    before = distance(a, b)
    if not before >= apart:
        return None
    offset = float(np.median(b - a))
    return _near(Conversion("", 1.0, offset, before, distance(a + offset, b)))


def _near(conversion: Conversion) -> Conversion | None:
    near = min(_NEAR, conversion.before * _MUCH_NEARER)
    return conversion if conversion.after <= near else None


def odd_ones(
    pairs: Sequence[tuple[int, int]], size: int
) -> tuple[list[int], list[int]]:
    """Who differs from the rest, given the pairs that differ.

    Args:
      pairs: of environments that differ by a conversion.
      size: how many environments there are.

    Returns:
      (the odd ones, those that they differ from). With two environments either may be
      the odd one, and the first is named.
    """
    times = np.zeros(size, int)
    for i, j in pairs:
        times[i] += 1
        times[j] += 1
    most = times.max()
    odd = [i for i in range(size) if times[i] == most]
    if len(odd) * 2 > np.count_nonzero(times):
        odd = odd[:1]
    others = sorted({k for p in pairs for k in p if set(p) & set(odd)} - set(odd))
    return odd, others
