"""The checks of a config: what may be asked, parsed; and what nothing could meet.

Imports neither TFX nor NumPy, so that a config is answered in no time:

    worst: {auc: {min: 0.65}, log_loss: {max: 0.6}}
    floor: {auc: [{slice: {environment: LGA, carrier: UA}, min: 0.6}]}
    robustness: {log_loss: {max: 0.8, attack: fgsm, epsilon: 0.1, over: carrier}}
    gap: {auc: {max: 0.05, over: environment}}
    calibration_slope: {min: 0.8, max: 1.25, over: environment}
    calibration_error: {max: 0.05, over: environment}
    score_distance: {max: 0.1, over: environment}
    risk_variance: {max: 0.001, over: environment}
    ood_drop: {auc: {max: 0.03}}
    baseline: {auc: {max_drop: 0.01}, log_loss: {max_rise: 0.01}}
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from components.invariance_validator import problems
from components.invariance_validator.kinds import (
    ENVIRONMENT,
    KINDS,
    OVERALL,
    SPLITS,
    Check,
    Rule,
    leaves,
    parse,
)
from components.invariance_validator.metrics import BINARY

__all__ = [
    "ENVIRONMENT",
    "KINDS",
    "OVERALL",
    "SPLITS",
    "Check",
    "Rule",
    "check_satisfiable",
    "parse_checks",
    "parse_rule",
]

_RULE_KEYS = tuple(Rule.__dataclass_fields__)


def parse_checks(checks: Mapping[str, Any], task: str = BINARY) -> list[Check]:
    """The checks of a config's `checks` section.

    Args:
      checks: as in the module's docstring.
      task: binary, multiclass or regression; each has metrics of its own.

    Returns:
      One `Check` a leaf, in the order of the config.

    Raises:
      ValueError: a kind, metric, key or bound that no data could meet; every sentence
        of `check_satisfiable` that needs the checks alone.
    """
    found = list(problems.of_checks(checks, task))
    if found:
        raise ValueError(" ".join(found))
    return [parse(kind, metric, leaf, task) for kind, metric, leaf in leaves(checks)]


def parse_rule(verdict: Mapping[str, Any] | None) -> Rule:
    """The rule of a config's `verdict` section.

    Raises:
      ValueError: an unknown key, a confidence outside [0.5, 1), or no whole number of
        examples.
    """
    values = dict(verdict or {})
    for key in values:
        if key not in _RULE_KEYS:
            raise ValueError(
                f"verdict.{key} is unknown{problems.legal(key, _RULE_KEYS)}."
            )
    confidence = values.get("confidence", Rule.confidence)
    if not (problems.is_number(confidence) and 0.5 <= confidence < 1):
        raise ValueError(
            f"verdict.confidence is {confidence!r}; it must be from 0.5 to below 1."
        )
    least = values.get("min_examples", Rule.min_examples)
    if not (problems.is_number(least) and least >= 1 and least == int(least)):
        raise ValueError(
            f"verdict.min_examples is {least!r}; it must be a whole number from 1 on."
        )
    allowed = values.get("allow_insufficient") or ()
    if isinstance(allowed, str) or not all(isinstance(name, str) for name in allowed):
        raise ValueError(
            f"verdict.allow_insufficient is {allowed!r}; it must be a list of checks."
        )
    return Rule(float(confidence), int(least), tuple(allowed))


def check_satisfiable(
    checks: Mapping[str, Any],
    environments: Iterable[str],
    held_out: Iterable[str] = (),
    slices: Iterable[str | Sequence[str]] = (),
    allow_insufficient: Iterable[str] = (),
    named: bool = True,
    values: Mapping[str, Collection[str]] | None = None,
    task: str = BINARY,
) -> list[str]:
    """Sentences about checks that no data could meet, or that mean something else.

    Args:
      checks: the config's `checks`.
      environments: all names of environments, or those of the training ones.
      held_out: names of the held-out ones; only these are in split `ood`.
      slices: the config's `evaluate.slices`: a feature, or a list of features to cross.
      allow_insufficient: the config's `verdict.allow_insufficient`.
      named: whether `environments` are their names, not only as many.
      values: feature -> all that it can be, where that is known.
      task: binary, multiclass or regression.

    Returns:
      A sentence a problem, naming the key, what was found and the mend; empty when
      every check can pass.
    """
    held = set(held_out)
    names = {"eval": set(environments) - held, "ood": held}
    features: list[tuple[str, ...]] = [(ENVIRONMENT,)]
    features += [(s,) if isinstance(s, str) else tuple(s) for s in slices]
    found = list(problems.of_checks(checks, task))
    legal = []
    for kind, metric, leaf in leaves(checks):
        if any(True for _ in problems.of_leaf(kind, metric, leaf, task)):
            continue
        check = parse(kind, metric, leaf, task)
        legal.append(check.name)
        found += problems.of_scopes(check, features)
        found += problems.of_splits(check, names, named)
        found += problems.of_values(check, values or {})
    for name in allow_insufficient:
        if name not in legal:
            found.append(
                f"verdict.allow_insufficient names {name!r}, which is not a check of"
                f" this config{problems.legal(name, legal)}."
            )
    return found
