"""What is kept of a decision as JSON: `decision.json`."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.invariance_validator.decision import CheckResult, Decision
from components.invariance_validator.metrics import BINARY
from components.invariance_validator.slices import MIN_PER_CLASS
from components.monitor import reference

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult


def decision_record(
    decision: Decision,
    results: "Sequence[SliceResult]",
    counts: Mapping[str, Any],
    context: Mapping[str, Any],
) -> dict[str, Any]:
    """The decision with its numbers, ready for JSON.

    Args:
      decision: of `decision.decide`.
      results: that it was made from.
      counts: of the Examples.
      context: of the component.

    Returns:
      `verdict`, `blessed`, `confidence`, `min_examples`, `checks` (fields of
      `CheckResult`), `metrics` (split -> slice -> metric -> value, null where
      undefined), `attacked` (attack -> the same, of the metrics that checks.robustness
      names), `scored` (how the candidate scored, see `components.monitor.reference`),
      `undefined` (split, slice, metric, reason of each null),
      `environments` (name -> split -> examples), `dropped` (name -> why -> examples),
      `pooled` (split -> feature -> [value, examples]), `method`, `context`.
    """
    metrics: dict[str, dict[str, dict[str, float | None]]] = {}
    undefined = []
    for result in results:
        if result.model != "candidate":
            continue
        values = metrics.setdefault(result.split, {}).setdefault(result.name, {})
        for name, estimate in result.metrics.items():
            values[name] = finite(estimate.value)
            if values[name] is None:
                undefined.append(
                    {
                        "split": result.split,
                        "slice": result.name,
                        "metric": name,
                        "reason": _why_undefined(result, estimate.value),
                    }
                )
    environments = counts.get("environments", {})
    return {
        "verdict": decision.verdict,
        "blessed": decision.blessed,
        "confidence": decision.rule.confidence,
        "min_examples": decision.rule.min_examples,
        "checks": [_checked(check) for check in decision.checks],
        "metrics": metrics,
        "attacked": _attacked(decision, results),
        "scored": reference.of(results),
        "undefined": undefined,
        "environments": {
            name: {s: n.get("examples", 0) for s, n in entry.get("splits", {}).items()}
            for name, entry in environments.items()
        },
        "dropped": {name: e.get("dropped", {}) for name, e in environments.items()},
        "pooled": decision.table.pooled(),
        "method": context.get("method"),
        "context": dict(context),
    }


def _attacked(
    decision: Decision, results: "Sequence[SliceResult]"
) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
    """Attack -> split -> slice -> metric -> value, what was asked for alone."""
    found: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
    for check in decision.parsed:
        attack, metric = check.attack, check.metric
        for result in results:
            if attack and result.model == attack.model and metric in result.metrics:
                splits = found.setdefault(attack.name, {})
                values = splits.setdefault(result.split, {}).setdefault(result.name, {})
                values[metric] = finite(result.metrics[metric].value)
    return found


def _checked(check: CheckResult) -> dict[str, Any]:
    """A check; an end of its interval that is infinite is null."""
    ends = None if check.interval is None else [finite(end) for end in check.interval]
    return {**check.to_dict(), "interval": ends}


def to_json(record: Mapping[str, Any]) -> str:
    """Strict JSON, which has no NaN.

    Raises:
      ValueError: NaN or infinity is left somewhere.
    """
    return json.dumps(record, allow_nan=False, indent=1, ensure_ascii=False)


def finite(value: float | None) -> float | None:
    """The value, or None where it is NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def _why_undefined(result: "SliceResult", value: float) -> str:
    if result.task != BINARY:
        return f"it came out as {value}"
    if result.positives == 0 or result.positives == result.examples:
        only = "positive" if result.positives else "negative"
        return f"all {result.examples:,} examples are {only}"
    rare = min(result.positives, result.examples - result.positives)
    if rare < MIN_PER_CLASS:
        return f"only {rare} examples of one class"
    return f"it came out as {value}"
