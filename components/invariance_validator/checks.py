"""The checks of a config: what may be asked, parsed; and what nothing could meet.

Imports neither TFX nor NumPy, so that a config is answered in no time:

    worst: {auc: {min: 0.65}, log_loss: {max: 0.6}}
    gap: {auc: {max: 0.05, over: environment}}
    calibration_slope: {min: 0.8, max: 1.25, over: environment}
    baseline: {auc: {max_drop: 0.01}, log_loss: {max_rise: 0.01}}
"""

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ENVIRONMENT = "environment"
SPLITS = ("eval", "ood")
OVERALL: tuple[str, ...] = ()
CALIBRATION_SLOPE = "calibration_slope"
_BOUNDS = {
    "worst": ("min", "max"),
    "gap": ("max",),
    CALIBRATION_SLOPE: ("min", "max"),
    "baseline": ("max_drop", "max_rise"),
}
KINDS = tuple(_BOUNDS)


@dataclass(frozen=True)
class Metric:
    """What is known of a metric before it is measured.

    Attributes:
      lower: end of its range.
      upper: the other end.
      better: which end is the better one, higher or lower, or None.
      scale: on which its confidence limits are formed: identity, inverse (a ratio
        whose denominator is an estimate) or logit; see `intervals`.
      share_of: what it is a share of: examples, or pairs of a positive and a negative
        (then it is as certain as a share of the rarer class, at least); None if it is
        no share, and then says nothing with fewer than 20 examples of a class.
    """

    lower: float
    upper: float
    better: str | None = None
    scale: str = "identity"
    share_of: str | None = None


METRICS = {
    "auc": Metric(0.0, 1.0, "higher", "logit", "pairs"),
    "log_loss": Metric(0.0, math.inf, "lower"),
    "accuracy": Metric(0.0, 1.0, "higher", share_of="examples"),
    "calibration": Metric(0.0, math.inf, scale="inverse"),
    CALIBRATION_SLOPE: Metric(-math.inf, math.inf),
    "calibration_intercept": Metric(-math.inf, math.inf),
    "mean_label": Metric(0.0, 1.0, share_of="examples"),
    "mean_prediction": Metric(0.0, 1.0),
}


@dataclass(frozen=True)
class Check:
    """One check: a metric, or a difference of it, must lie between two bounds.

    Attributes:
      kind: worst (the metric of each slice), gap (absolute difference of two slices),
        calibration_slope (as worst) or baseline (candidate minus released model).
      metric: a key of `METRICS`.
      minimum: the compared number must be at least this, or None.
      maximum: the compared number must be at most this, or None.
      splits: of `SPLITS`.
      over: features to slice by, a tuple each (`()` is overall); None: overall,
        environment and every single feature.
      split_named: whether the config names the splits: then each must be there.
    """

    kind: str
    metric: str
    minimum: float | None
    maximum: float | None
    splits: tuple[str, ...] = SPLITS
    over: tuple[tuple[str, ...], ...] | None = None
    split_named: bool = False

    @property
    def name(self) -> str:
        """The path in the config: `worst.auc`, `calibration_slope`."""
        if self.kind == CALIBRATION_SLOPE:
            return self.kind
        return f"{self.kind}.{self.metric}"


@dataclass(frozen=True)
class Rule:
    """When a check passes.

    Attributes:
      confidence: of each one-sided bound, 0.5 <= confidence < 1.
      min_examples: a slice with fewer decides nothing.
      allow_insufficient: names of checks that may end without enough data.
    """

    confidence: float = 0.95
    min_examples: int = 200
    allow_insufficient: tuple[str, ...] = ()


def parse_checks(checks: Mapping[str, Any]) -> list[Check]:
    """The checks of a config's `checks` section.

    Args:
      checks: as in the module's docstring.

    Returns:
      One `Check` a leaf, in the order of the config.

    Raises:
      ValueError: a kind, metric, key or bound that no data could meet; every sentence
        of `check_satisfiable` that needs the checks alone.
    """
    problems = list(_problems(checks))
    if problems:
        raise ValueError(" ".join(problems))
    return [_parse(kind, metric, leaf) for kind, metric, leaf in _leaves(checks)]


def parse_rule(verdict: Mapping[str, Any] | None) -> Rule:
    """The rule of a config's `verdict` section.

    Raises:
      ValueError: an unknown key, a confidence outside [0.5, 1), or no whole number of
        examples.
    """
    values = dict(verdict or {})
    for key in values:
        if key not in Rule.__dataclass_fields__:
            raise ValueError(f"verdict.{key} is unknown{_legal(key, _RULE_KEYS)}.")
    confidence = values.get("confidence", Rule.confidence)
    if not (_is_number(confidence) and 0.5 <= confidence < 1):
        raise ValueError(
            f"verdict.confidence is {confidence!r}; it must be from 0.5 to below 1."
        )
    least = values.get("min_examples", Rule.min_examples)
    if not (_is_number(least) and least >= 1 and least == int(least)):
        raise ValueError(
            f"verdict.min_examples is {least!r}; it must be a whole number from 1 on."
        )
    allowed = values.get("allow_insufficient") or ()
    if isinstance(allowed, str) or not all(isinstance(name, str) for name in allowed):
        raise ValueError(
            f"verdict.allow_insufficient is {allowed!r}; it must be a list of checks."
        )
    return Rule(float(confidence), int(least), tuple(allowed))


_RULE_KEYS = tuple(Rule.__dataclass_fields__)


def check_satisfiable(
    checks: Mapping[str, Any],
    environments: Iterable[str],
    held_out: Iterable[str] = (),
    slices: Iterable[str | Sequence[str]] = (),
    allow_insufficient: Iterable[str] = (),
) -> list[str]:
    """Sentences about checks that no data could meet, or that mean something else.

    Args:
      checks: the config's `checks`.
      environments: all names of environments, or those of the training ones.
      held_out: names of the held-out ones; only these are in split `ood`.
      slices: the config's `evaluate.slices`: a feature, or a list of features to cross.
      allow_insufficient: the config's `verdict.allow_insufficient`.

    Returns:
      A sentence a problem, naming the key, what was found and the mend; empty when
      every check can pass.
    """
    held = set(held_out)
    names = {"eval": set(environments) - held, "ood": held}
    features: list[tuple[str, ...]] = [(ENVIRONMENT,)]
    features += [(s,) if isinstance(s, str) else tuple(s) for s in slices]
    found = list(_problems(checks))
    legal = []
    for kind, metric, leaf in _leaves(checks):
        if any(True for _ in _leaf_problems(kind, metric, leaf)):
            continue
        check = _parse(kind, metric, leaf)
        legal.append(check.name)
        found += _scope_problems(check, features)
        found += _split_problems(check, names)
    for name in allow_insufficient:
        if name not in legal:
            found.append(
                f"verdict.allow_insufficient names {name!r}, which is not a check of"
                f" this config{_legal(name, legal)}."
            )
    return found


def _leaves(checks: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(kind, metric, leaf) of every well-formed branch."""
    if not isinstance(checks, Mapping):
        return
    for kind, section in checks.items():
        if kind == CALIBRATION_SLOPE:
            if isinstance(section, Mapping) and section:
                yield kind, CALIBRATION_SLOPE, section
        elif kind in _BOUNDS and isinstance(section, Mapping):
            for metric, leaf in section.items():
                yield kind, metric, leaf


def _parse(kind: str, metric: str, leaf: Mapping[str, Any]) -> Check:
    low, high = leaf.get("min"), leaf.get("max")
    if kind == "baseline":
        drop, high = leaf.get("max_drop"), leaf.get("max_rise")
        low = None if drop is None else 0.0 - drop
    split = leaf.get("split")
    splits = (split,) if isinstance(split, str) else tuple(split or SPLITS)
    return Check(
        kind=kind,
        metric=metric,
        minimum=None if low is None else float(low),
        maximum=None if high is None else float(high),
        splits=splits,
        over=_parse_over(leaf.get("over")),
        split_named=split is not None,
    )


def _parse_over(over: Any) -> tuple[tuple[str, ...], ...] | None:
    if over is None:
        return None
    items = [over] if isinstance(over, str) else over
    scopes = ((item,) if isinstance(item, str) else tuple(item) for item in items)
    return tuple(OVERALL if scope == ("overall",) else scope for scope in scopes)


def _problems(checks: Any) -> Iterator[str]:
    if not isinstance(checks, Mapping) or not checks:
        yield (
            f"checks is {checks!r}; name at least one check, else nothing is shown and"
            " no model can be released."
        )
        return
    for kind, section in checks.items():
        if kind not in _BOUNDS:
            yield f"checks.{kind} is unknown{_legal(kind, KINDS)}."
        elif not isinstance(section, Mapping) or not section:
            yield (
                f"checks.{kind} is {section!r}; it must map"
                f" {'bounds' if kind == CALIBRATION_SLOPE else 'metrics'} to values."
            )
    for kind, metric, leaf in _leaves(checks):
        yield from _leaf_problems(kind, metric, leaf)


def _leaf_problems(kind: str, metric: str, leaf: Any) -> Iterator[str]:
    path = kind if kind == CALIBRATION_SLOPE else f"{kind}.{metric}"
    path = f"checks.{path}"
    if metric not in METRICS:
        yield f"{path}: the metric {metric!r} is unknown{_legal(metric, METRICS)}."
        return
    bounds = _BOUNDS[kind]
    if not isinstance(leaf, Mapping):
        yield f"{path} is {leaf!r}; it must be a map such as {{{bounds[0]}: 0.5}}."
        return
    for key in leaf:
        if key not in (*bounds, "split", "over"):
            yield f"{path}.{key} is unknown{_legal(key, (*bounds, 'split', 'over'))}."
    given = [key for key in bounds if leaf.get(key) is not None]
    if not given:
        yield f"{path} has no bound; give {' or '.join(bounds)}."
    wrong = [key for key in given if not _is_number(leaf[key])]
    for key in wrong:
        yield f"{path}.{key} is {leaf[key]!r}; it must be a finite number."
    if not wrong:
        yield from _bound_problems(kind, metric, path, {k: leaf[k] for k in given})
    yield from _place_problems(kind, path, leaf)


def _bound_problems(
    kind: str, metric: str, path: str, bounds: Mapping[str, float]
) -> Iterator[str]:
    info = METRICS[metric]
    if kind in ("worst", CALIBRATION_SLOPE):
        low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
        if low > high:
            yield f"{path}: min {low:g} is above max {high:g}; no value lies between."
        for key, bound in bounds.items():
            if not info.lower <= bound <= info.upper:
                yield (
                    f"{path}.{key} is {bound:g}, outside the range of {metric}, which"
                    f" is {info.lower:g} to {info.upper:g}."
                )
        if low == info.upper or high == info.lower:
            yield (
                f"{path}: the bound {low if low == info.upper else high:g} is the very"
                f" end of {metric}'s range, which no sample can show; leave it some"
                " room."
            )
        return
    width = info.upper - info.lower
    least = "above" if kind == "gap" else "at least"
    for key, bound in bounds.items():
        if bound < 0 or bound >= width or (kind == "gap" and bound == 0):
            limit = "" if math.isinf(width) else f" and below {width:g}"
            yield f"{path}.{key} is {bound:g}; it must be {least} 0{limit}."
        wrong = {"higher": "max_rise", "lower": "max_drop"}.get(info.better or "")
        if kind == "baseline" and key == wrong:
            mend = "max_drop" if key == "max_rise" else "max_rise"
            yield (
                f"{path}.{key} would refuse a model for being better, for {metric} is"
                f" the better the {info.better} it is; write {mend}."
            )


def _place_problems(kind: str, path: str, leaf: Mapping[str, Any]) -> Iterator[str]:
    split = leaf.get("split")
    given = split if isinstance(split, list | tuple) else [split]
    if split is not None and (not given or any(name not in SPLITS for name in given)):
        yield f"{path}.split is {split!r}; it must be {' or '.join(SPLITS)}."
    over = leaf.get("over")
    if over is None:
        return
    items = [over] if isinstance(over, str) else over
    well_formed = isinstance(items, list | tuple) and all(
        isinstance(item, str)
        or (isinstance(item, list | tuple) and all(isinstance(f, str) for f in item))
        for item in items
    )
    if not well_formed or not items or not all(items):
        yield (
            f"{path}.over is {over!r}; it must be a feature, or a list of features and"
            " of lists of features to cross."
        )
    elif kind == "gap" and OVERALL in (_parse_over(over) or ()):
        yield f"{path}.over is overall, which has no two slices to compare."


def _scope_problems(check: Check, features: Sequence[tuple[str, ...]]) -> Iterator[str]:
    legal = [" x ".join(scope) for scope in features]
    for scope in check.over or ():
        if scope == OVERALL or any(set(scope) == set(known) for known in features):
            continue
        name = " x ".join(scope)
        yield (
            f"checks.{check.name}.over names {name!r}, by which nothing is sliced"
            f"{_legal(name, legal)}; or add it to evaluate.slices."
        )


def _split_problems(check: Check, names: Mapping[str, set[str]]) -> Iterator[str]:
    if check.split_named:
        for split in check.splits:
            if not names[split]:
                what = "held-out" if split == "ood" else "training"
                yield (
                    f"checks.{check.name}.split is {split}, but there is no {what}"
                    " environment."
                )
    over = check.over if check.over is not None else ((ENVIRONMENT,),)
    if check.kind == "gap" and (ENVIRONMENT,) in over:
        there = sorted(set().union(*(names[split] for split in check.splits)))
        if len(there) < 2:
            found = f"only {there[0]}" if there else "none"
            yield (
                f"checks.{check.name} compares environments, but of split"
                f" {' and '.join(check.splits)} there is {found}; a gap needs two."
            )


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _legal(name: Any, names: Iterable[str]) -> str:
    """`; did you mean 'auc'? Legal are ...`."""
    known = list(names)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} {'Legal' if near else 'legal'} are {', '.join(known) or 'none'}"
