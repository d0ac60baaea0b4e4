"""A year of daily looks at a served model: false alarms, and how soon drift is found.

Streams of three environments are drawn whose true means are known in closed form, with
days that have weather of their own: all examples of a day share it. Each environment is
held to a risk (log loss like, skewed, without an upper end), a share of errors, and to
how far mean label and mean prediction may be apart (both sides): twelve watches, which
share 1 - confidence as `components.monitor.looks` shares it out.

- No drift: every mean on its bound, or a tenth within. A run with any alarm in 365
  looks is a false one; the limit beside it is Clopper and Pearson's, at 95 %.
- Drift: one mean of one environment moves by a known amount, on the first day or after
  100 good ones; how many days and examples until the alarm.

    python -m benchmarks.monitoring --runs 1000 --json FILE.json
"""

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from components.monitor import sequences

DAYS = 365
EXAMPLES = 200  # of an environment and day
ENVIRONMENTS = 3
CONFIDENCE = 0.95
RISK, ERRORS, GAP = 0.5, 0.2, 0.05  # bounds
WATCHES = 4 * ENVIRONMENTS
LEVEL = (1 - CONFIDENCE) * 0.8 / WATCHES
_WEATHER = 8.0  # shape of a day's gamma: risks of days differ by 1 / sqrt(8) = 35 %
_DAY_ERRORS = 30.0  # of a day's beta: its shares of errors differ by 0.07
_DAY_GAP = 0.06  # standard deviation of a day's calibration gap

Draw = Callable[[np.random.Generator, int, float], np.ndarray]


def risks(rng: np.random.Generator, runs: int, mean: float) -> np.ndarray:
    """Losses of a day, [runs, EXAMPLES]: a gamma day of exponential examples."""
    day = rng.gamma(_WEATHER, mean / _WEATHER, (runs, 1))
    return day * rng.exponential(1.0, (runs, EXAMPLES))


def errors(rng: np.random.Generator, runs: int, mean: float) -> np.ndarray:
    """Errors of a day, 0 or 1: a beta day of Bernoulli examples."""
    share = rng.beta(_DAY_ERRORS * mean, _DAY_ERRORS * (1 - mean), (runs, 1))
    return (rng.random((runs, EXAMPLES)) < share).astype(np.float64)


def gaps(rng: np.random.Generator, runs: int, mean: float) -> np.ndarray:
    """Labels and predictions of a day, [2, runs, EXAMPLES]."""
    day = mean + _DAY_GAP * rng.uniform(-math.sqrt(3), math.sqrt(3), (runs, 1))
    predicted = 0.16 + 0.4 * rng.beta(2.0, 2.0, (runs, EXAMPLES))
    labels = rng.random((runs, EXAMPLES)) < predicted + day
    return np.stack([labels.astype(np.float64), predicted])


KINDS: dict[str, tuple[Draw, float]] = {
    "risk": (risks, RISK),
    "errors": (errors, ERRORS),
    "gap": (gaps, GAP),
}


def day_of(
    kind: str, rng: np.random.Generator, runs: int, mean: float
) -> list[np.ndarray]:
    """Log stakes of one day of one environment, [runs, F] each; of a gap both sides.

    Args:
      kind: of `KINDS`.
      rng: source of chance.
      runs: streams side by side.
      mean: the true one.
    """
    draw, bound = KINDS[kind]
    values = draw(rng, runs, mean)
    values = values.mean(axis=-1, keepdims=True)
    if kind != "gap":
        return [sequences.stakes(values, bound)]
    labels, predicted = values  # the labels are held to what was predicted, see `looks`
    return [
        sequences.stakes(labels, predicted + bound),
        sequences.stakes(1 - labels, 1 - predicted + bound),
    ]


def false_alarms(runs: int, factor: float, seed: int, days: int = DAYS) -> int:
    """How many of the runs had any alarm, with every mean at `factor` of its bound."""
    rng = np.random.default_rng(seed)
    watched = [sequences.start((runs,)) for _ in range(WATCHES)]
    for _ in range(days):
        found: list[np.ndarray] = []
        for _ in range(ENVIRONMENTS):
            for kind, (_, bound) in KINDS.items():
                found += day_of(kind, rng, runs, bound * factor)
        watched = [
            sequences.add(one, stake) for one, stake in zip(watched, found, strict=True)
        ]
    peak = np.max([one.peak for one in watched], axis=0)
    return int((peak >= -math.log(LEVEL)).sum())


def days_to_alarm(
    kind: str,
    runs: int,
    size: float,
    good_days: int,
    seed: int,
    days: int = DAYS,
) -> np.ndarray:
    """Days from the drift on until it is found; inf where it is not within `days`.

    Args:
      kind: of `KINDS`.
      runs: how many streams.
      size: the mean is (1 + size) times its bound then; of a gap, bound + size.
      good_days: days before, at four fifths of the bound; alarms there count as found
        after no day, and are the false ones.
      seed: of the draws.
      days: most days after it.
    """
    rng = np.random.default_rng(seed)
    bound = KINDS[kind][1]
    beyond = bound + size if kind == "gap" else bound * (1 + size)
    evidence, found = sequences.start((runs,)), np.full(runs, np.inf)
    for day in range(good_days + days):
        mean = 0.8 * bound if day < good_days else beyond
        evidence = sequences.add(evidence, day_of(kind, rng, runs, mean)[0])
        hit = np.isinf(found) & (evidence.peak >= -math.log(LEVEL))
        found[hit] = max(day + 1 - good_days, 0)
        if not np.isinf(found).any():
            break
    return found


def cells(runs: int) -> Iterator[dict[str, Any]]:
    """Every cell: what was drawn, and what came of it."""
    for where, factor in (("on the bound", 1.0), ("a tenth within", 0.9)):
        seed = zlib.crc32(where.encode())
        alarms = false_alarms(runs, factor, seed)
        upper = stats.beta.ppf(0.95, alarms + 1, runs - alarms)
        yield {
            "no drift": where,
            "runs": runs,
            "false alarms": alarms / runs,
            "at most": float(upper),
        }
    sizes = {
        "risk": (0.1, 0.25, 0.5, 1.0),
        "errors": (0.1, 0.25, 0.5, 1.0),
        "gap": (0.05, 0.1, 0.2),
    }
    for kind, several in sizes.items():
        for size in several:
            for good in (0, 100):
                seed = zlib.crc32(repr((kind, size, good)).encode())
                found = days_to_alarm(kind, runs, size, good, seed)
                median, late = np.quantile(found, [0.5, 0.95], method="higher")
                yield {
                    "drift": kind,
                    "size": size,
                    "good days": good,
                    "found in a year": float(np.isfinite(found).mean()),
                    "days": _plain(median),
                    "days, 95 %": _plain(late),
                    "examples": _plain(median * EXAMPLES),
                    "examples, 95 %": _plain(late * EXAMPLES),
                }


def _plain(number: float) -> int | None:
    return int(number) if math.isfinite(number) else None


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line a cell, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--json")
    args = parser.parse_args(argv)
    found = []
    for cell in cells(args.runs):
        found.append(cell)
        print(cell, flush=True)
    if args.json:
        told = {
            "runs": args.runs,
            "days": DAYS,
            "examples a day": EXAMPLES,
            "watches": WATCHES,
            "confidence": CONFIDENCE,
            "bounds": {kind: bound for kind, (_, bound) in KINDS.items()},
        }
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({**told, "cells": found}, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
