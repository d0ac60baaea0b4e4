"""The report's curves: calibration, and what happened in training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from components.invariance_validator import svg

if TYPE_CHECKING:
    from components.evaluator.results import CalibrationBin

# Okabe and Ito's palette, the light ones darkened for lines on white.
LINES = ("#0072b2", "#c4500a", "#00795a", "#a8467f", "#8a6d00", "#3a8fc4", "#333333")
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MOST_LINES = len(LINES)
_POINTS = 240  # a line


@dataclass(frozen=True)
class Line:
    """A curve of a line plot: `name`, x and y; NaN leaves a gap."""

    name: str
    x: Sequence[float] = field(default_factory=tuple)
    y: Sequence[float] = field(default_factory=tuple)


def calibration_plot(
    curve: "Sequence[CalibrationBin]",
    released: "Sequence[CalibrationBin]",
    most: float,
    color: str,
    label: str,
    prefix: str,
    axes: tuple[str, str] = ("mean prediction", "observed share"),
) -> str:
    """Observed share against mean prediction, bin by bin.

    Args:
      curve: the candidate's bins.
      released: the released model's, or empty; drawn thin and grey.
      most: upper end of both axes, the same in all plots to be compared.
      color: of the curve.
      label: text for who cannot see it.
      prefix: of ids, unique in the page.
      axes: what they are called.

    Returns:
      `<svg>` markup.
    """
    with svg.styled():
        width, height = 280, 260
        made = svg.figure(width, height)
        ax = made.add_axes((46 / width, 42 / height, 222 / width, 206 / height))
        ax.set_facecolor("none")
        ax.plot([0, most], [0, most], color="#8a929c", linewidth=1, dashes=(4, 3))
        bins = visible(released)
        ax.plot(
            [b.mean_prediction for b in bins],
            [b.mean_label for b in bins],
            color="#a3abb5",
            linewidth=1.2,
        )
        bins = visible(curve)
        x, y = [b.mean_prediction for b in bins], [b.mean_label for b in bins]
        total = sum(b.weight for b in bins) or 1.0
        ax.plot(x, y, color=color, linewidth=1.5)
        sizes = [8 + 500 * b.weight / total / max(len(bins) / 4, 1) for b in bins]
        ax.scatter(x, y, s=sizes, color=color, linewidths=0, zorder=3)
        ax.set_xlim(0, most)
        ax.set_ylim(0, most)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.grid(color=svg.GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.set_xlabel(axes[0], fontsize=10.5)
        ax.set_ylabel(axes[1], fontsize=10.5)
        return svg.to_svg(made, label, prefix)


def visible(bins: "Sequence[CalibrationBin]") -> "list[CalibrationBin]":
    """Bins with at least a thousandth of the weight; the others are noise."""
    least = sum(b.weight for b in bins) / 1000
    return [b for b in bins if b.weight > 0 and b.weight >= least]


def line_plot(
    lines: Sequence[Line],
    label: str,
    prefix: str,
    step: Line | None = None,
) -> str:
    """Curves over training steps.

    Up to seven lines are told apart by colour and dashes. Of more, the three that end
    highest are, and the others are grey.

    Args:
      lines: at least one.
      label: text for who cannot see it.
      prefix: of ids, unique in the page.
      step: drawn as a filled step on an axis of its own, or None.

    Returns:
      `<svg>` markup.
    """
    with svg.styled():
        height = 250
        made = svg.figure(svg.WIDTH, height)
        right = 44 if step else 12
        ax = made.add_axes(
            (
                52 / svg.WIDTH,
                42 / height,
                (svg.WIDTH - 52 - right) / svg.WIDTH,
                188 / height,
            )
        )
        ax.set_facecolor("none")
        if step is not None:
            _weight(ax, step)
        marked = _marked(lines)
        for line in lines:
            x, y = _thinned(line)
            if line.name in marked:
                i = marked.index(line.name)
                (drawn,) = ax.plot(x, y, color=LINES[i], linewidth=1.6, zorder=3)
                drawn.set_linestyle(_DASHES[i % len(_DASHES)])
                drawn.set_label(_legible(line.name))
            else:
                ax.plot(x, y, color="#c3c9d0", linewidth=0.8, zorder=2)
        if len(lines) > len(marked):
            others = f"{len(lines) - len(marked)} others"
            ax.plot([], [], color="#c3c9d0", linewidth=0.8, label=others)
        if _spans_decades(lines):
            ax.set_yscale("log")
            ax.minorticks_off()
        else:
            ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_formatter(svg.plain)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.grid(color=svg.GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.set_xlabel("step", fontsize=10.5)
        if len(lines) > 1:
            ax.legend(loc="best", fontsize=10, handlelength=2.2, borderpad=0.1)
        return svg.to_svg(made, label, prefix)


def _legible(name: str) -> str:
    """A name for the legend, which would leave out one that begins with `_`."""
    name = svg.shortened(name, 24)
    return f"\u200b{name}" if name.startswith("_") else name


def _marked(lines: Sequence[Line]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return [line.name for line in lines]

    def last(line: Line) -> float:
        finite = [v for v in line.y if math.isfinite(v)]
        return finite[-1] if finite else -math.inf

    return [line.name for line in sorted(lines, key=last, reverse=True)[:3]]


def _weight(ax: Axes, step: Line) -> None:
    twin = ax.twinx()
    x, y = _thinned(step)
    twin.fill_between(x, y, step="post", color="#e6ebf1", linewidth=0)
    twin.set_ylim(0, 1.6 * max([v for v in y if math.isfinite(v)] + [1e-12]))
    twin.yaxis.set_major_locator(MaxNLocator(3))
    twin.yaxis.set_major_formatter(svg.plain)
    twin.tick_params(axis="y", colors="#6b7684", length=2)
    twin.set_ylabel(step.name, fontsize=10, color="#6b7684", labelpad=1)
    ax.set_zorder(twin.get_zorder() + 1)


def _thinned(line: Line) -> tuple[list[float], list[float]]:
    every = max(1, math.ceil(len(line.x) / _POINTS))
    x, y = list(line.x[::every]), list(line.y[::every])
    if len(line.x) and x[-1] != line.x[-1]:
        x.append(line.x[-1])
        y.append(line.y[-1])
    return x, y


def _spans_decades(lines: Sequence[Line]) -> bool:
    values = np.array([v for line in lines for v in line.y], dtype=float)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() <= 0:
        return False
    return values.max() / values.min() > 100


def series(history: Mapping[str, Any], steps: str, name: str) -> list[Line]:
    """Curves of a training history.

    Args:
      history: `history.json` of a ModelRun.
      steps: key of the steps.
      name: key of a list, or of lists by environment.

    Returns:
      Lines cut to the shorter of steps and values; none where the key is missing.
    """
    x, found = history.get(steps) or [], history.get(name)
    by_name = found if isinstance(found, Mapping) else {name: found}
    lines = []
    for label, values in by_name.items():
        y = [math.nan if v is None else float(v) for v in values or []]
        length = min(len(x), len(y))
        if length:
            lines.append(Line(str(label), list(x[:length]), y[:length]))
    return lines
