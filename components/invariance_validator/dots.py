"""Dot plots: values with their intervals, one below the other, and the bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from components.invariance_validator import svg
from components.invariance_validator.slices import FAIL, INSUFFICIENT_DATA, PASS
from components.pages import printable

ROW = 19  # pixels
LABEL = 28  # characters
# Colour, marker and word always go together; told apart without colour, too.
COLORS = {
    PASS: "#17694f",
    FAIL: "#b3261e",
    INSUFFICIENT_DATA: "#96610a",
    None: "#5b6673",
}
_MARKERS = {PASS: "o", FAIL: "D", INSUFFICIENT_DATA: "s", None: "o"}
_BAD_SIDE = "#fbe9e7"


@dataclass(frozen=True)
class Dot:
    """A row of a dot plot.

    Attributes:
      label: of the row.
      value: None where there is none; then `note` stands in its place.
      interval: two-sided.
      limits: one-sided, the ones that decide; drawn thick.
      verdict: decides colour and marker; None is neutral.
      released: the released model's value, a grey tick; or None.
      note: what to say without a value.
      strong: whether the label is bold.
    """

    label: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    verdict: str | None = None
    released: float | None = None
    note: str = ""
    strong: bool = False


def dot_plot(
    dots: Sequence[Dot],
    low: float | None,
    high: float | None,
    label: str,
    prefix: str,
    zero: bool = False,
) -> str:
    """Values with their intervals, one below the other, and the bounds.

    Args:
      dots: from top to bottom.
      low: bound that values must not be below, or None.
      high: bound that values must not be above, or None.
      label: text for who cannot see it.
      prefix: of ids, unique in the page.
      zero: whether to mark 0 (of differences).

    Returns:
      `<svg>` markup.
    """
    with svg.styled():
        top, bottom = 20, 26
        height = top + bottom + ROW * len(dots)
        made = svg.figure(svg.WIDTH, height)
        left = 24 + 6.4 * max(min(len(dot.label), LABEL) for dot in dots)
        right = 52
        ax = made.add_axes(
            (
                left / svg.WIDTH,
                bottom / height,
                (svg.WIDTH - left - right) / svg.WIDTH,
                ROW * len(dots) / height,
            )
        )
        ax.set_facecolor("none")
        ax.set_ylim(len(dots) - 0.5, -0.5)
        ax.set_xlim(*_range(dots, [b for b in (low, high) if b is not None], zero))
        _bounds(ax, low, high)
        if zero:
            ax.axvline(0, color="#8a929c", linewidth=0.8, zorder=1)
        for row, dot in enumerate(dots):
            _dot(ax, row, dot)
        ax.set_yticks(range(len(dots)))
        labels = ax.set_yticklabels([svg.shortened(d.label, LABEL) for d in dots])
        for text, dot in zip(labels, dots, strict=True):
            text.set_fontweight("bold" if dot.strong else "normal")
        ax.tick_params(axis="y", length=0, pad=8)
        ax.tick_params(axis="x", length=3, color="#8a929c")
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(5 if left < 110 else 4, min_n_ticks=2))
        ax.grid(axis="x", color=svg.GRID, linewidth=0.8, zorder=0)
        ax.set_axisbelow(True)
        return svg.to_svg(made, label, prefix)


def number(value: float, sign: str = "") -> str:
    """Three decimals, or two digits of what is too small for them."""
    form = ".3f" if value == 0 or abs(value) >= 0.001 else ".2g"
    return f"{value:{sign}{form}}".replace("-", "−")


def _range(
    dots: Sequence[Dot], bounds: Sequence[float], zero: bool
) -> tuple[float, float]:
    """Room for values and bounds, and for all but extreme intervals."""
    shown = [v for dot in dots for v in (dot.value, dot.released) if v is not None]
    points = [*shown, *bounds, *([0.0] if zero else [])] or [0.0, 1.0]
    intervals = [dot.interval for dot in dots if dot.interval is not None]
    low, high = min(points), max(points)
    if intervals:
        ends = np.array(intervals, dtype=float)
        reach = 3 * (high - low) or math.inf
        low = max(min(low, ends[:, 0].min()), low - reach)
        high = min(max(high, ends[:, 1].max()), high + reach)
    room = 0.06 * (high - low) or 0.05 * max(abs(high), 0.1)
    return low - room, high + room


def _bounds(ax: Axes, low: float | None, high: float | None) -> None:
    left, right = ax.get_xlim()
    for bound, edge in ((low, left), (high, right)):
        if bound is None:
            continue
        ax.axvspan(min(bound, edge), max(bound, edge), color=_BAD_SIDE, zorder=0, lw=0)
        ax.axvline(bound, color="#1f2933", linewidth=1.1, dashes=(4, 2.5), zorder=2)
        share = (bound - left) / (right - left)
        side = "left" if share < 0.12 else "right" if share > 0.88 else "center"
        ax.text(
            bound,
            1,
            f"{'min' if edge == left else 'max'} {svg.plain(bound)}",
            transform=ax.get_xaxis_transform(),
            ha=side,
            va="bottom",
            fontsize=10,
        )


def _dot(ax: Axes, row: int, dot: Dot) -> None:
    color = COLORS[dot.verdict]
    if dot.value is None:
        ax.text(
            0.02,
            row,
            printable(dot.note),
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize=10,
            color=color,
        )
        return
    left, right = ax.get_xlim()
    if dot.released is not None and left <= dot.released <= right:
        ax.plot(dot.released, row, "|", color="#8a929c", ms=11, mew=1.6, zorder=2)
    if dot.interval is not None:
        low, high = dot.interval
        ax.plot([low, high], [row, row], color=color, linewidth=1.1, zorder=3)
        for end, edge, marker in ((low, left, "<"), (high, right, ">")):
            if (end < edge) if marker == "<" else (end > edge):
                ax.plot(edge, row, marker, color=color, ms=5, clip_on=False, zorder=4)
    if dot.limits is not None:
        ax.plot(
            dot.limits,
            [row, row],
            color=color,
            linewidth=3.2,
            alpha=0.45,
            solid_capstyle="butt",
            zorder=3,
        )
    ax.plot(
        dot.value,
        row,
        _MARKERS[dot.verdict],
        color=color,
        markersize=6.5,
        markerfacecolor="#ffffff" if dot.verdict == INSUFFICIENT_DATA else color,
        markeredgewidth=1.4,
        zorder=5,
    )
    ax.text(
        1.03,
        row,
        number(dot.value),
        transform=ax.get_yaxis_transform(),
        va="center",
        ha="left",
        fontsize=10.5,
        color=color,
    )
