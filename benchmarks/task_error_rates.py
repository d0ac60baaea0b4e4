"""How often a model right on a bound passes: regressions and several classes.

Rows are drawn, the Evaluator's own statistics and measures make replicates of them, and
the InvarianceValidator decides. The worst slice sits on the bound, so no more than 5 %
of the models may pass at a confidence of 95 %. `benchmarks/verdict_error_rates.py` does
the same, and more of it, for the binary task.

    python -m benchmarks.task_error_rates --trials 1000 --output FILE.json
"""

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from components.evaluator import tasks
from components.evaluator.blocks import BLOCKS
from components.evaluator.results import Estimate, SliceResult
from components.evaluator.settings import Options
from components.invariance_validator.decision import decide

DAYS = 73  # a fifth of a year
CLASSES = 4
_DAY = 0.5  # standard deviation of the log of a day's factor on errors
_SMALL = 0.6  # the other slice's risk, as a share of the worse one's
_RISE = 0.3  # of the candidate's errors beside the released model's
_TRUTH_ROWS = 400_000
_EVAL = {"split": "eval", "over": "environment"}


@dataclass(frozen=True)
class Errors:
    """A law of a regression's errors.

    Attributes:
      draw: (rng, size) -> errors.
      square: their mean square.
      absolute: their mean absolute value.
    """

    draw: Callable[[np.random.Generator, int], np.ndarray]
    square: float
    absolute: float


def _lognormal(sigma: float) -> Errors:
    """Of either sign, with a lognormal size."""
    return Errors(
        lambda rng, n: np.exp(rng.normal(0, sigma, n)) * rng.choice([-1, 1], n),
        math.exp(2 * sigma**2),
        math.exp(sigma**2 / 2),
    )


ERRORS = {
    "normal": Errors(lambda rng, n: rng.normal(0, 1, n), 1.0, math.sqrt(2 / math.pi)),
    "student 5": Errors(
        lambda rng, n: rng.standard_t(5, n),
        5 / 3,
        2 * math.sqrt(5) * math.gamma(3) / (4 * math.sqrt(math.pi) * math.gamma(2.5)),
    ),
    "lognormal 0.5": _lognormal(0.5),
    "lognormal 0.75": _lognormal(0.75),
    "lognormal 1": _lognormal(1.0),
}


@dataclass(frozen=True)
class Rows:
    """Rows of all trials of a slice: labels, predictions, blocks, trial; [N] each."""

    labels: np.ndarray
    predictions: np.ndarray
    blocks: np.ndarray
    trial: np.ndarray


def results_of(
    task: str, rows: Rows, trials: int, name: str, **place: str
) -> Iterator[SliceResult]:
    """The results of a slice, trial by trial, as the Evaluator would write them."""
    classes = tuple(map(str, range(CLASSES))) if task == "multiclass" else ()
    of = tasks.of(Options("y", task=task, classes=classes))
    made = of.rows_of(rows.labels, rows.predictions, np.ones(len(rows.labels)))
    for statistics in of.group(made, rows.blocks, rows.trial, trials):
        values = of.values(statistics)
        yield SliceResult(
            split=place.get("split", "eval"),
            slice=(("environment", name),),
            model=place.get("model", "candidate"),
            examples=round(values["example_count"]),
            positives=0,
            metrics={
                metric: Estimate(
                    values[metric],
                    values[metric + tasks.REPLICATES],
                    values.get(f"{metric}_noise", 0.0),
                    values.get(f"{metric}_reach", 0.0),
                )
                for metric in values
                if metric + tasks.REPLICATES in values
            },
            calibration=(),
            block_examples=tuple(values[tasks.BLOCK_EXAMPLES]),
            task=task,
            class_examples=tuple(values.get(tasks.CLASS_EXAMPLES, ())),
        )


def pass_rates(
    task: str, slices: Sequence[Sequence[SliceResult]], checks: dict[str, Any]
) -> dict[str, float]:
    """Share of the trials that pass each check.

    Args:
      task: multiclass or regression.
      slices: of each slice the results by trial.
      checks: whose bounds are the truth.
    """
    passed: dict[str, list[bool]] = {}
    for results in zip(*slices, strict=True):
        decision = decide(results, {}, checks, {"min_examples": 1}, task=task)
        for check in decision.checks:
            passed.setdefault(check.name, []).append(check.verdict == "PASS")
    return {name: float(np.mean(found)) for name, found in passed.items()}


def _blocks(
    rng: np.random.Generator, trials: int, rows: int, days: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trial and block of each row, and a factor that its day has (1 without days)."""
    trial = np.repeat(np.arange(trials), rows)
    if not days:
        size = len(trial)
        return trial, rng.integers(0, BLOCKS, size), np.ones(size)
    day = rng.integers(0, DAYS, len(trial))
    block = rng.integers(0, BLOCKS, (trials, DAYS))
    factor = np.exp(rng.normal(0, _DAY, (trials, DAYS)))
    return trial, block[trial, day], factor[trial, day]


def regression(
    errors: Errors, rows: int, trials: int, days: bool, rng: np.random.Generator
) -> dict[str, float]:
    """Pass rates of every check of a regression at its truth.

    The predictions are normal, the label is what is predicted plus an error, which on
    some days is larger. A second slice has smaller errors; the released model lacks a
    part of the candidate's.
    """
    square = errors.square * (math.exp(2 * _DAY**2) if days else 1.0)
    absolute = errors.absolute * (math.exp(_DAY**2 / 2) if days else 1.0)

    def draw(share: float) -> Rows:
        trial, blocks, factor = _blocks(rng, trials, rows, days)
        predictions = rng.normal(0, 1.5, len(trial))
        error = math.sqrt(share) * factor * errors.draw(rng, len(trial))
        return Rows(predictions + error, predictions, blocks, trial)

    worse, better = draw(1.0), draw(_SMALL)
    added = _RISE * errors.draw(rng, len(worse.labels))
    released = Rows(worse.labels, worse.predictions, worse.blocks, worse.trial)
    candidate = Rows(worse.labels, worse.predictions - added, worse.blocks, worse.trial)
    drop = (1 - _SMALL) * square
    checks = {
        "worst": {
            "mean_squared_error": {"max": square, **_EVAL},
            "root_mean_squared_error": {"max": math.sqrt(square), **_EVAL},
            "mean_absolute_error": {"max": absolute, **_EVAL},
            "r_squared": {"min": 1 - square / (1.5**2 + square), **_EVAL},
            "mean_label": {"max": 0.0, **_EVAL},
            "calibration_intercept": {"max": 0.0, **_EVAL},
            "irm_gradient": {"max": 0.0, **_EVAL},
        },
        "calibration_slope": {"min": 1.0, **_EVAL},
    }
    a = list(results_of("regression", worse, trials, "a"))
    b = list(results_of("regression", better, trials, "b"))
    found = pass_rates("regression", [a], checks)
    compared = {
        "gap": {"mean_squared_error": {"max": drop, **_EVAL}},
        "risk_variance": {"max": drop**2 / 4, **_EVAL},
    }
    found |= pass_rates("regression", [a, b], compared)
    held_out = list(results_of("regression", worse, trials, "a", split="ood"))
    checks = {"ood_drop": {"mean_squared_error": {"max": drop}}}
    found |= pass_rates("regression", [held_out, b], checks)
    rise = _RISE**2 * errors.square
    checks = {"baseline": {"mean_squared_error": {"max_rise": rise, **_EVAL}}}
    pair = [
        list(results_of("regression", candidate, trials, "a")),
        list(results_of("regression", released, trials, "a", model="baseline")),
    ]
    return found | pass_rates("regression", pair, checks)


def _logits(rng: np.random.Generator, number: int, rare: float) -> np.ndarray:
    shift = np.zeros(CLASSES)
    shift[-1] = -rare
    return rng.normal(0, 1.5, (number, CLASSES)) + shift


def _truth(rare: float, scale: float) -> dict[str, float]:
    """Expectations over the labels, of many rows."""
    logits = _logits(np.random.default_rng(99), _TRUTH_ROWS, rare)
    p, odds = special.softmax(logits, axis=1), special.softmax(scale * logits, axis=1)
    top = p.argmax(axis=1)
    right = np.take_along_axis(odds, top[:, None], axis=1)[:, 0]
    by_class = [odds[top == k, k].sum() / odds[:, k].sum() for k in range(CLASSES)]
    z = np.log(p)
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(by_class)),
        "log_loss": float(-(odds * z).sum(axis=1).mean()),
        "mean_confidence": float(p.max(axis=1).mean()),
        "irm_gradient": float(((p - odds) * z).sum(axis=1).mean()),
    }


def multiclass(
    rare: float, rows: int, trials: int, scale: float, rng: np.random.Generator
) -> dict[str, float]:
    """Pass rates of every check of several classes at its truth.

    Args:
      rare: by how much the last class's logit is lower.
      rows: a slice.
      trials: models.
      scale: of the logits by which the labels are drawn, in the worse slice; in the
        better one they are drawn as predicted.
      rng: source of chance.
    """

    def draw(by: float) -> Rows:
        trial, blocks, _ = _blocks(rng, trials, rows, False)
        logits = _logits(rng, len(trial), rare)
        odds = special.softmax(by * logits, axis=1)
        labels = (rng.random((len(trial), 1)) > odds.cumsum(axis=1)).sum(axis=1)
        p = special.softmax(logits, axis=1)
        return Rows(labels.clip(0, CLASSES - 1), p, blocks, trial)

    a = list(results_of("multiclass", draw(scale), trials, "a"))
    b = list(results_of("multiclass", draw(1.0), trials, "b"))
    truth, other = _truth(rare, scale), _truth(rare, 1.0)
    worst = {
        name: {"min" if "accuracy" in name else "max": value, **_EVAL}
        for name, value in truth.items()
    }
    checks = {"worst": worst, "calibration_slope": {"min": scale, **_EVAL}}
    found = pass_rates("multiclass", [a], checks)
    found["calibration_slope, max"] = pass_rates(
        "multiclass", [a], {"calibration_slope": {"max": scale, **_EVAL}}
    )["calibration_slope"]
    gap = {
        n: truth[n] - other[n] for n in ("accuracy", "balanced_accuracy", "log_loss")
    }
    compared = {"gap": {n: {"max": abs(g), **_EVAL} for n, g in gap.items()}}
    return found | pass_rates("multiclass", [a, b], compared)


def cells(trials: int) -> Iterator[dict[str, Any]]:
    """Every cell: what was drawn, and the pass rate of each check."""
    for law, errors in ERRORS.items():
        for days in (False, True):
            for rows in (200, 1_000):
                what = {"task": "regression", "errors": law, "days": days, "rows": rows}
                rng = np.random.default_rng(zlib.crc32(repr(what).encode()))
                yield {**what, "passed": regression(errors, rows, trials, days, rng)}
    for rare in (0.0, 2.5):
        for rows in (300, 1_000):
            what = {"task": "multiclass", "rare": rare, "rows": rows, "scale": 0.6}
            rng = np.random.default_rng(zlib.crc32(repr(what).encode()))
            yield {**what, "passed": multiclass(rare, rows, trials, 0.6, rng)}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line a cell, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--output")
    args = parser.parse_args(argv)
    found = []
    for cell in cells(args.trials):
        found.append(cell)
        rates = {name: round(100 * rate, 1) for name, rate in cell["passed"].items()}
        print({**cell, "passed": rates}, flush=True)
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump({"trials": args.trials, "cells": found}, file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
