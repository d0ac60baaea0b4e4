"""How often the verdict releases what misses its bound, and what it does release.

    python benchmarks/verdict_error_rates.py [--json FILE] [--quick] [--processes N]
                                             [--models N]

Simulated models whose true metrics are known (`verdict_models`) go through the
Evaluator's statistics and the InvarianceValidator's rule. A cell is a check (kind,
metric and side of the bound) on data of one size, prevalence and dependence, over a
number of slices; it has 1,000 models. In each cell

- `false_bless` is the share of PASS where the worst slice (the pair, the change) is
  right on the bound and the other slices as far on the good side as the simulation has;
- `beyond`: the same where it misses the bound by the margin;
- `power`: the share of PASS where every slice keeps the bound by the margin;
- `stock_...`: the share that TFMA's value or change thresholds bless on the same
  models: the point estimate is on the good side of the bound in every slice. It has no
  threshold for gaps that can bless.

The truth is the same throughout a cell; what moves is the bound. Slices of a model are
drawn from 1,000 simulated ones, so models share the slices that are not their worst. A
gap is between one slice and each of the others, which are alike; the pair that decides
it is one of so many on the bound. Gaps over 50 slices are in one kind of data only.

The bar: false_bless and beyond pooled at most 1 - confidence, and no cell whose 99.9 %
lower limit (Clopper-Pearson) is above it; power at least 0.8 in the cells of POWER. The
exit status is 1 where it is missed.
"""

import argparse
import collections
import dataclasses
import json
import math
import multiprocessing
import os
import pathlib
import platform
import sys
import time
from collections.abc import Sequence
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # a process a core

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from benchmarks import verdict_models as vm  # noqa: E402
from benchmarks.verdict_trials import (  # noqa: E402
    CONFIDENCE,
    Judged,
    Source,
    Trial,
    compare_with_decide,
    legal,
    stock_passes,
    trials,
)
from components.evaluator.results import SliceResult  # noqa: E402

SLICES = (2, 10, 50)
SIZES = (30, 100, 300, 1_000, 3_000, 30_000)
PREVALENCES = (0.01, 0.1, 0.5)

# Days on which the model is worse, positives more and everything looks riskier: one in
# ten; or ups and downs.
BAD_DAYS = (
    vm.Day(0.9),
    vm.Day(0.1, separation=0.3, odds=2.0, offset=0.5),
)
UPS_AND_DOWNS = (
    vm.Day(0.5, separation=1.15, odds=1.25, offset=0.2),
    vm.Day(0.5, separation=0.85, odds=0.8, offset=-0.2),
)
KINDS_OF_DAYS = {"bad days": BAD_DAYS, "ups and downs": UPS_AND_DOWNS}


@dataclasses.dataclass(frozen=True)
class Data:
    """What the models of a cell are measured on.

    Attributes:
      size: rows of a slice.
      prevalence: of positives in the slices of the first population.
      days: how many share a slice's rows; None where every row is independent.
      kind: of days, a key of KINDS_OF_DAYS.
      strong: whether the models are nearly perfect (AUC 0.976 to 0.992).
    """

    size: int
    prevalence: float
    days: int | None = None
    kind: str = ""
    strong: bool = False

    @property
    def name(self) -> str:
        """For people."""
        rows = f"{self.days} days, {self.kind}" if self.days else "independent rows"
        return f"{rows}{', strong models' if self.strong else ''}"

    def populations(self) -> tuple[vm.Population, vm.Population]:
        """Slices of an over- and an under-confident model; and of a better one."""
        gaps = (2.8, 3.2, 3.4) if self.strong else (1.0, 1.25, 1.5)
        days = KINDS_OF_DAYS[self.kind] if self.days else (vm.Day(),)
        two = (vm.Predictor(gaps[0], 0.8, 0.15), vm.Predictor(gaps[1], 1.25, -0.15))
        return (
            vm.Population(self.prevalence, two, days),
            vm.Population(1.4 * self.prevalence, (vm.Predictor(gaps[2]),), days),
        )


MANY_PAIRS = Data(3_000, 0.1)


def all_data() -> list[Data]:
    """Every kind of data of the table, the slow ones first."""
    found = [Data(size, p) for size in SIZES[::-1] for p in PREVALENCES]
    for size, days in ((30_000, 365), (3_000, 73), (1_000, 73), (300, 73), (300, 30)):
        for p in PREVALENCES[1:]:
            found.append(Data(size, p, days, "bad days"))
    found += [Data(size, 0.1, 73, "ups and downs") for size in (3_000, 1_000)]
    found += [Data(3_000, 0.01, strong=True), Data(1_000, 0.1, strong=True)]
    found += [Data(300, 0.1, strong=True), Data(300, 0.5, strong=True)]
    return found + [Data(1_000, 0.1, 73, "bad days", strong=True)]


# Where a verdict has to be of use: prevalence -> the smallest size of a slice from
# which on, on independent rows, two slices that keep the bound by the margin pass.
POWER: dict[tuple[str, str], dict[float, int]] = {
    ("baseline", "accuracy"): {0.1: 1000, 0.5: 3000},
    ("baseline", "auc"): {0.01: 30000, 0.1: 3000, 0.5: 1000},
    ("baseline", "calibration"): {0.1: 3000, 0.5: 300},
    ("baseline", "calibration_slope"): {0.01: 30000, 0.1: 1000, 0.5: 1000},
    ("baseline", "log_loss"): {0.01: 3000, 0.1: 1000, 0.5: 3000},
    ("baseline", "mean_prediction"): {0.01: 3000, 0.1: 300, 0.5: 300},
    ("calibration_slope", "calibration_slope"): {0.01: 30000, 0.1: 3000, 0.5: 3000},
    ("gap", "accuracy"): {0.01: 3000, 0.1: 1000, 0.5: 3000},
    ("gap", "auc"): {0.01: 30000, 0.1: 3000, 0.5: 3000},
    ("gap", "calibration"): {0.01: 30000, 0.1: 1000, 0.5: 300},
    ("gap", "calibration_slope"): {0.01: 30000, 0.1: 3000, 0.5: 1000},
    ("gap", "log_loss"): {0.01: 3000, 0.1: 1000, 0.5: 1000},
    ("gap", "mean_label"): {0.01: 3000, 0.1: 1000, 0.5: 3000},
    ("gap", "mean_prediction"): {0.01: 3000, 0.1: 300, 0.5: 1000},
    ("worst", "accuracy"): {0.01: 300, 0.1: 1000, 0.5: 1000},
    ("worst", "auc"): {0.01: 30000, 0.1: 30000, 0.5: 3000},
    ("worst", "calibration"): {0.01: 30000, 0.1: 3000, 0.5: 300},
    ("worst", "log_loss"): {0.01: 30000, 0.1: 3000, 0.5: 1000},
    ("worst", "mean_label"): {0.01: 30000, 0.1: 3000, 0.5: 300},
    ("worst", "mean_prediction"): {0.01: 3000, 0.1: 1000, 0.5: 100},
}
LEAST_POWER = 0.8


def sources(data: Data, models: int) -> list[Source]:
    """Slices of the over-confident, the under-confident and the better model."""
    populations = data.populations()
    seed = [data.size, round(1000 * data.prevalence), data.days or 0]
    rng = np.random.default_rng([*seed, len(data.kind), data.strong])
    drawn = vm.simulate(rng, populations, models, data.size, data.days)
    found = []
    for population, measured in zip(populations, drawn, strict=True):
        for predictor, one in enumerate(measured):
            results = [
                SliceResult(
                    split="eval",
                    slice=(("environment", str(i)),),
                    model="candidate",
                    examples=data.size,
                    positives=int(one.positives[i]),
                    metrics=one.estimates(i),
                    calibration=(),
                    block_examples=tuple(one.block_examples[i]),
                )
                for i in range(models)
            ]
            found.append(Source(results, population.truth(predictor), one))
    return found


def cells_of(data: Data, models: int) -> list[dict[str, Any]]:
    """All cells on one kind of data."""
    found, cells = sources(data, models), []
    rng = np.random.default_rng([data.size, models])
    for trial in trials(found):
        judged = Judged(trial)
        for slices in SLICES:
            if trial.kind == "gap" and slices > 10 and data != MANY_PAIRS:
                continue  # 1,225 pairs a model
            # Never the model's own slice, whose rows the others might share.
            steps = rng.integers(1, models, (models, slices - 1))
            picks = (np.arange(models)[:, None] + steps) % models
            cells.append(_cell(data, trial, judged, picks))
    return cells


def _cell(
    data: Data, trial: Trial, judged: Judged, picks: np.ndarray
) -> dict[str, Any]:
    margin, models = trial.margin, len(picks)
    # A change is judged once a slice: the other slices keep the released model.
    sides = {"false_bless": (0.0, False), "beyond": (-margin, False)}
    sides["power"] = (margin, trial.kind != "baseline")
    cell: dict[str, Any] = {
        "size": data.size,
        "prevalence": data.prevalence,
        "rows": data.name,
        "kind": trial.kind,
        "metric": trial.metric,
        "bound": "min" if trial.below else "max",
        "slices": picks.shape[1] + 1,
        "models": models,
        "truth": round(trial.truth, 5),
        "margin": round(margin, 5),
    }
    for side, (easier, alike) in sides.items():
        passes = judged.passes(picks, easier, alike)
        stock = stock_passes(trial, picks, easier, alike)
        cell[side] = float(passes.mean())
        cell[f"stock_{side}"] = None if stock is None else float(stock.mean())
        if picks.shape[1] == 1 and legal(trial, easier):
            if trial.kind == "baseline":  # its slice alone
                passes = judged.passes(picks[:, :0], easier, alike)
            compare_with_decide(trial, picks, easier, alike, passes)
    limit = lower_limit(round(models * cell["false_bless"]), models)
    cell["lower_limit"] = round(limit, 5)
    return cell


def lower_limit(hits: int, models: int) -> float:
    """Of a share: Clopper and Pearson's, at 99.9 %."""
    return float(stats.beta.ppf(0.001, hits, models - hits + 1)) if hits else 0.0


def summarise(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pooled rates and what misses the bar.

    Args:
      cells: of `cells_of`.

    Returns:
      `pooled` (mean rates of all cells), `pooled_of_use` (of those with a power of at
      least 0.5), `over` (cells whose lower limit is above 1 - confidence), `weak`
      (cells of POWER below 0.8) and `holds`.
    """
    allowed = 1 - CONFIDENCE

    def pooled(part: Sequence[dict[str, Any]]) -> dict[str, float | None]:
        found: dict[str, float | None] = {"cells": len(part)}
        for key in ("false_bless", "beyond", "power"):
            for name in (key, f"stock_{key}"):
                rates = [cell[name] for cell in part if cell[name] is not None]
                found[name] = round(float(np.mean(rates)), 4) if rates else None
        return found

    everything = pooled(cells)
    over = [cell for cell in cells if cell["lower_limit"] > allowed]
    weak = [cell for cell in cells if _counts(cell) and cell["power"] < LEAST_POWER]
    rates = [everything[key] or 0.0 for key in ("false_bless", "beyond")]
    return {
        "pooled": everything,
        "pooled_of_use": pooled([cell for cell in cells if cell["power"] >= 0.5]),
        "over": over,
        "weak": weak,
        "holds": bool(cells) and max(rates) <= allowed and not over and not weak,
    }


def _counts(cell: dict[str, Any]) -> bool:
    """Whether POWER asks something of a cell."""
    sizes = POWER.get((cell["kind"], cell["metric"]), {})
    least = sizes.get(cell["prevalence"], math.inf)
    independent = cell["rows"] == "independent rows" and cell["slices"] == 2
    return independent and cell["size"] >= least


def table(cells: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each check and data: the worst rates over numbers of slices."""
    groups = collections.defaultdict(list)
    for cell in cells:
        key = ("rows", "kind", "metric", "bound", "prevalence", "size")
        groups[tuple(cell[k] for k in key)].append(cell)
    lines = [
        f"{'check':38s}{'prev.':>6s}{'size':>8s}{'false bless':>22s}{'stock':>7s}"
        f"{'beyond':>8s}{'power':>22s}{'stock':>7s}  margin"
    ]
    last = None
    for (rows, kind, metric, bound, prevalence, size), part in sorted(groups.items()):
        if rows != last:
            lines.append(f"-- {rows}")
            last = rows
        most = max(
            (
                c["stock_false_bless"]
                for c in part
                if c["stock_false_bless"] is not None
            ),
            default=None,
        )
        first = part[0]
        power = first["stock_power"]
        lines.append(
            f"{f'{kind}.{metric} {bound}':38s}{prevalence:6g}{size:8,d}"
            f"{_rates(part, 'false_bless'):>22s}{_percent(most):>7s}"
            f"{_percent(max(c['beyond'] for c in part)):>8s}"
            f"{_rates(part, 'power'):>22s}{_percent(power):>7s}  {first['margin']:.3g}"
        )
    return lines


def _rates(part: Sequence[dict[str, Any]], key: str) -> str:
    """`4.1 4.0 3.9`, in percent, by number of slices."""
    return " ".join(f"{100 * cell[key]:5.1f}" for cell in part)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the table; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="two small kinds of data")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--models", type=int, default=1_000)
    options = parser.parse_args(arguments)
    data = all_data()
    if options.quick:
        data = [Data(300, 0.5), Data(300, 0.5, 73, "bad days")]
    started, cells = time.time(), []
    jobs = [(one, options.models) for one in data]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for part in pool.imap_unordered(_cells_of, jobs):
            cells += part
            first = part[0]
            print(
                f"{time.time() - started:6.0f} s  {first['rows']}, prevalence"
                f" {first['prevalence']:g}, {first['size']:,} rows",
                file=sys.stderr,
                flush=True,
            )
    found = summarise(cells)
    print("\n".join(table(cells)))
    print(_told(found))
    if options.json:
        seconds = round(time.time() - started)
        text = to_json(record(cells, found, options.models, seconds))
        pathlib.Path(options.json).write_text(text)
    return 0 if found["holds"] else 1


def record(
    cells: Sequence[dict[str, Any]], found: dict[str, Any], models: int, seconds: int
) -> dict[str, Any]:
    """What is kept of a run: `found`, how it was made, and the cells as a table."""
    return {
        "confidence": CONFIDENCE,
        "models": models,
        "seconds": seconds,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "power_asked": {".".join(key): sizes for key, sizes in POWER.items()},
        **found,
        "columns": list(cells[0]),
        "cells": [list(cell.values()) for cell in cells],
    }


def to_json(kept: dict[str, Any]) -> str:
    """A line a cell."""
    head = json.dumps({k: v for k, v in kept.items() if k != "cells"}, indent=1)
    rows = ",\n  ".join(json.dumps(cell) for cell in kept["cells"])
    return f'{head[:-2]},\n "cells": [\n  {rows}\n ]\n}}\n'


def _cells_of(job: tuple[Data, int]) -> list[dict[str, Any]]:
    return cells_of(*job)


def _told(found: dict[str, Any]) -> str:
    lines = []
    for key in ("pooled", "pooled_of_use"):
        part = found[key]
        lines.append(
            f"{key}: {part['cells']} cells, false bless"
            f" {_percent(part['false_bless'])} % (stock"
            f" {_percent(part['stock_false_bless'])} %), beyond"
            f" {_percent(part['beyond'])} % (stock {_percent(part['stock_beyond'])} %),"
            f" power {_percent(part['power'])} %"
        )
    lines.append(f"over: {len(found['over'])} cells; weak: {len(found['weak'])} cells")
    return "\n".join([*lines, "holds" if found["holds"] else "DOES NOT HOLD"])


if __name__ == "__main__":
    sys.exit(main())
