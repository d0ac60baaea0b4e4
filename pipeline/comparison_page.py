"""A comparison to look at: the table for the terminal, the page with its plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from components.invariance_validator import svg
from pipeline import comparison, pages, tables

_PLOTTED = (
    *("auc_worst", "auc_gap", "auc_held_out"),
    *("accuracy_worst", "accuracy_gap", "accuracy_held_out"),
    *("r_squared_worst", "r_squared_gap", "r_squared_held_out"),
    *("log_loss_held_out", "mean_squared_error_held_out"),
    *("slope_training", "slope_held_out"),
)
_ROW = 24  # pixels


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as lines of a Markdown table, columns aligned."""
    columns = comparison.columns_of(rows)
    lines = [["method", *(column.title for column in columns), "seeds"]]
    for row in rows:
        cells = [comparison.figure_cell(row, column) for column in columns]
        lines.append([row["method"], *cells, str(row["seeds"])])
    return tables.markdown(lines)


def page(document: Mapping[str, Any]) -> str:
    """The HTML page of a comparison.

    Args:
      document: what `comparison.json` holds.
    """
    rows, runs = document["methods"], document["runs"]
    columns = comparison.columns_of(rows)
    best = {column.key: comparison.best_of(rows, column) for column in columns}
    held_out = document["held_out"]
    return pages.render(
        "comparison.html.j2",
        name=document["name"],
        facts=f"{document['date']}, {document['seconds']:.0f} s",
        columns=columns,
        rows=[
            {
                **row,
                "cells": [
                    {
                        "text": comparison.figure_cell(row, c),
                        "best": len(rows) > 1 and row["method"] in best[c.key],
                    }
                    for c in columns
                ],
            }
            for row in rows
        ],
        training=", ".join(document["training"]),
        held_out=", ".join(held_out),
        several=len(held_out) > 1,
        errors=[
            {"label": f"{run['method']}, seed {run['seed']}", "sentence": run["error"]}
            for run in runs
            if run["error"]
        ],
        plots=[
            {"title": c.title, "svg": _plot(c, document, f"plot-{i}")}
            for i, c in enumerate(c for c in columns if c.key in _PLOTTED)
        ],
        titles=comparison.titles_of(
            [e for run in runs for e in run["environments"].values()]
        ),
        lines=[
            {
                "method": run["method"],
                "seed": run["seed"],
                "environment": name,
                "split": entry["split"],
                "examples": f"{entry['examples']:,}",
                "numbers": comparison.numbers(entry),
            }
            for run in runs
            for name, entry in run["environments"].items()
        ],
        settings=document["settings"].items(),
    )


def _plot(column: comparison.Column, document: Mapping[str, Any], prefix: str) -> str:
    """Runs as dots, a line for each method, and the mean."""
    methods = [row["method"] for row in document["methods"]]
    rows = document["methods"]
    means = [row["figures"].get(column.key, [np.nan])[0] for row in rows]
    told = [f"{m} {v:.{column.digits}f}" for m, v in zip(methods, means, strict=True)]
    with svg.styled():
        top, bottom = 6, 28
        height = top + bottom + _ROW * len(methods)
        left = 24 + 6.4 * max(len(svg.shortened(method, 26)) for method in methods)
        made = svg.figure(svg.WIDTH, height)
        ax = made.add_axes(
            (
                left / svg.WIDTH,
                bottom / height,
                (svg.WIDTH - left - 14) / svg.WIDTH,
                _ROW * len(methods) / height,
            )
        )
        ax.set_facecolor("none")
        ax.set_ylim(len(methods) - 0.5, -0.5)
        for row, (method, mean) in enumerate(zip(methods, means, strict=True)):
            values = np.array(
                [
                    run["figures"][column.key]
                    for run in document["runs"]
                    if run["method"] == method and run["error"] is None
                ]
            )
            ax.plot(values, np.full(len(values), row), "o", color="#0072b2", ms=4.5)
            ax.plot(mean, row, "|", color="#1f2933", ms=15, mew=2)
        if column.best == "one":
            ax.axvline(1.0, color="#8a929c", linewidth=0.9, dashes=(4, 3), zorder=0)
        ax.set_yticks(range(len(methods)))
        ax.set_yticklabels([svg.shortened(method, 26) for method in methods])
        ax.tick_params(axis="y", length=0, pad=8)
        ax.margins(x=0.08)
        ax.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=2))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        ax.spines["left"].set_visible(False)
        ax.grid(axis="x", color=svg.GRID, linewidth=0.8)
        ax.set_axisbelow(True)
        return svg.to_svg(made, f"{column.title}: {'; '.join(told)}", prefix)
