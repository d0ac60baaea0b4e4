"""Dot plots of a row each, for tables: they go where the row goes when it is sorted."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import markupsafe

from components.invariance_validator.slices import FAIL, INSUFFICIENT_DATA

WIDTH, HEIGHT = 180, 14
_EDGE = 7  # pixels that the marker of the outermost value needs
_MARKS = {
    FAIL: "M{x} 2L{r} 7L{x} 12L{l} 7Z",
    INSUFFICIENT_DATA: "M{l} 3H{r}V11H{l}Z",
    None: "M{l} 7a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
}


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high`, from the left edge to the right; low < high."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Pixels from the left, at most a half outside of the edges."""
        share = (value - self.low) / (self.high - self.low)
        place = _EDGE + share * (WIDTH - 2 * _EDGE)
        return round(min(max(place, 0.5), WIDTH - 0.5), 1)


def scale(
    values: Iterable[float],
    intervals: Iterable[tuple[float, float] | None],
    fixed: Sequence[float] = (),
) -> Scale:
    """One on which all values fit, and all but extreme intervals.

    Args:
      values: to be drawn; what is not finite is left out.
      intervals: of them; an end farther than twice the values' range is cut off.
      fixed: bounds and whatever else must be on it.
    """
    points = [float(v) for v in (*values, *fixed) if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(points), max(points)
    ends = [e for pair in intervals if pair for e in pair if math.isfinite(e)]
    reach = 2 * (high - low) or math.inf
    low = max(min([low, *ends]), low - reach)
    high = min(max([high, *ends]), high + reach)
    if not high > low:
        room = abs(high) * 0.05 or 0.05
        low, high = low - room, high + room
    return Scale(low, high)


def strip(
    value: float | None,
    interval: tuple[float, float] | None,
    verdict: str | None,
    on: Scale,
    marks: Sequence[float] = (),
) -> markupsafe.Markup:
    """A value with its interval; nobody needs to hear it, the row has the numbers.

    Args:
      value: None or NaN where there is none; then only `marks` are drawn.
      interval: two-sided, or None.
      verdict: decides colour and marker; None is neutral.
      on: the scale of the column.
      marks: bounds, or 0.

    Returns:
      `<svg>` markup of numbers alone.
    """
    parts = [f'<path class="m" d="M{on.x(mark):g} 0V{HEIGHT}"/>' for mark in marks]
    if value is not None and math.isfinite(value):
        x = on.x(value)
        if interval is not None:
            low, high = (on.x(end) for end in _within(interval, on))
            parts.append(f'<path class="i" d="M{low:g} 7H{high:g}"/>')
        mark = _MARKS.get(verdict, _MARKS[None])
        shape = mark.format(x=f"{x:g}", l=f"{x - 4:g}", r=f"{x + 4:g}")
        parts.append(f'<path class="v" d="{shape}"/>')
    inside = "".join(parts)
    return markupsafe.Markup(  # numbers and our own words
        f'<svg class="strip {verdict or ""}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' aria-hidden="true">{inside}</svg>'
    )


def _within(interval: tuple[float, float], on: Scale) -> tuple[float, float]:
    """An end that is not finite is the edge of the scale."""
    low, high = interval
    far = 10 * (on.high - on.low)
    return (
        low if math.isfinite(low) else on.low - far,
        high if math.isfinite(high) else on.high + far,
    )
