"""What a load check found wrong: plain Python and NumPy on a probe's answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.model_validator.bounds import Bounds

SIGNATURES = ("raw", "serving_default", "transformed")
_ONE = "1"


def problems(
    answer: Mapping[str, Any], evaluated: Mapping[str, Any], bounds: Bounds
) -> list[str]:
    """What keeps a model from being served.

    Args:
      answer: of `probe.probe`.
      evaluated: output -> [N, K], the scores that Evaluator gave to the same examples.
      bounds: to keep.

    Returns:
      A sentence each, without its full stop; none for a model that is fit.
    """
    found = [
        f"has no signature {name!r}, only {', '.join(answer['signatures']) or 'none'}"
        for name in SIGNATURES
        if name not in answer["signatures"]
    ]
    if "scores" not in answer:
        return found
    scores = answer["scores"]
    first = {name: rows[: len(answer["alone"][name])] for name, rows in scores.items()}
    pairs = [
        (evaluated, scores, "loaded in a clean process", "evaluated"),
        (first, answer["alone"], "asked one example at a time", "asked together"),
    ]
    if answer["raw"] is not None:
        pairs.append((scores, answer["raw"], "asked by 'raw'", "by 'serving_default'"))
    if answer["transformed"] is not None:
        pairs.append(
            (
                scores,
                answer["transformed"],
                "asked by 'transformed'",
                "by 'serving_default'",
            )
        )
    for expected, given, how, than in pairs:
        problem = _differ(expected, given, bounds.tolerance)
        if problem is not None:
            found.append(f"gives other scores {how} than {than}: {problem}")
    if answer["warmup_not_finite"]:
        found.append(
            f"gives scores that are not finite to {answer['warmup_not_finite']} of its"
            f" {answer['warmup']} warm-up requests"
        )
    measured = [
        (answer["load_seconds"], bounds.load_seconds, "load_seconds", "takes", "s"),
        (answer["latency_ms"][_ONE][1], bounds.latency_ms, "latency_ms", "takes", "ms"),
        (answer["peak_mb"], bounds.memory_mb, "memory_mb", "takes", "MiB"),
    ]
    what = {
        "load_seconds": "to load",
        "latency_ms": "to answer a request of one example (99 of 100)",
        "memory_mb": "of memory",
    }
    for value, bound, key, verb, unit in measured:
        if not value <= bound:
            found.append(
                f"{verb} {_shown(value)} {unit} {what[key]}; load_check.{key} is"
                f" {_shown(bound)}"
            )
    return found


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _differ(
    expected: Mapping[str, Any], given: Mapping[str, Any], tolerance: float
) -> str | None:
    """How scores differ; None where they do not."""
    if sorted(expected) != sorted(given):
        return f"{', '.join(sorted(given))} instead of {', '.join(sorted(expected))}"
    for name in sorted(expected):
        sizes = [[len(row) for row in part[name]] for part in (expected, given)]
        if sizes[0] != sizes[1] or len(set(sizes[0])) > 1:
            return f"{name} has not as many values for each example"
        wanted, got = (np.asarray(part[name], float) for part in (expected, given))
        if not wanted.size:
            return "there was no example to ask"
        with np.errstate(invalid="ignore"):
            apart = np.abs(wanted - got) / (1 + np.abs(wanted))
        # A NaN is never near.
        worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
        if not apart.reshape(-1)[worst] <= tolerance:
            row, column = np.unravel_index(worst, apart.shape)
            return (
                f"{name} of example {row + 1} is {got[row, column]:.6g}, not"
                f" {wanted[row, column]:.6g}; load_check.tolerance is {tolerance:g}"
            )
    return None
