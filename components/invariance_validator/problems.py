"""Sentences about checks that no data could meet, or that mean something else.

Imports neither TFX nor NumPy.
"""

import difflib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from components import attack
from components.invariance_validator import metrics
from components.invariance_validator.kinds import (
    ENVIRONMENT,
    KINDS,
    OVERALL,
    ROBUSTNESS,
    SEVERAL,
    SPLITS,
    Check,
    Kind,
    kinds_of,
    leaves,
    parse_over,
)
from components.invariance_validator.metrics import BINARY


def of_checks(checks: Any, task: str = BINARY) -> Iterator[str]:
    """What is wrong with a section `checks` of a task, whatever the data."""
    if not isinstance(checks, Mapping) or not checks:
        yield (
            f"checks is {checks!r}; name at least one check, else nothing is shown and"
            " no model can be released."
        )
        return
    for name, section in checks.items():
        if name not in KINDS:
            yield f"checks.{name} is unknown{legal(name, KINDS)}."
        elif not isinstance(section, Mapping) or not section:
            yield (
                f"checks.{name} is {section!r}; it must map"
                f" {'bounds' if KINDS[name].metric else 'metrics'} to values."
            )
    for name in SEVERAL:
        section = checks.get(name)
        for metric, leaf in section.items() if isinstance(section, Mapping) else ():
            if isinstance(leaf, list | tuple) and not leaf:
                what = "a slice and its" if name == "floor" else "an attack and its"
                yield f"checks.{name}.{metric} is empty; give {what} bound."
    seen = set()
    for kind, metric, leaf in leaves(checks):
        found = list(of_leaf(kind, metric, leaf, task))
        yield from found
        if kind not in SEVERAL or found:
            continue
        if kind == "floor":
            what = f"slice {dict(leaf['slice'])}"
            key: Any = frozenset((f, str(v)) for f, v in leaf["slice"].items())
        else:
            key = attack.parse(leaf)
            what = f"attack {key.name}"
        if (kind, metric, key) in seen:
            yield (
                f"checks.{kind}.{metric} names {what} twice; give its bounds in one"
                " place."
            )
        seen.add((kind, metric, key))


def of_leaf(kind: str, metric: str, leaf: Any, task: str = BINARY) -> Iterator[str]:
    """What is wrong with the leaf of one check."""
    about, known = KINDS[kind], metrics.of(task)
    path = f"checks.{kind}" if about.metric else f"checks.{kind}.{metric}"
    if about.metric and kind not in kinds_of(known):
        yield (f"{path} is no check of task {task}{_listed(kinds_of(known))}.")
        return
    if not about.metric and metric not in known.metrics:
        yield f"{path}: the metric {metric!r} {unknown(metric, task)}."
        return
    if not isinstance(leaf, Mapping):
        form = f"{{{about.bounds[0]}: 0.5}}"
        yield f"{path} is {leaf!r}; it must be a map such as {form}."
        return
    keys = (*about.bounds, *about.places)
    for key in leaf:
        if key not in keys:
            yield f"{path}.{key} is unknown{legal(key, keys)}."
    given = [key for key in about.bounds if leaf.get(key) is not None]
    if not given:
        yield f"{path} has no bound; give {' or '.join(about.bounds)}."
    wrong = [key for key in given if not is_number(leaf[key])]
    for key in wrong:
        yield f"{path}.{key} is {leaf[key]!r}; it must be a finite number."
    if not wrong:
        yield from _of_bounds(
            kind, known.info(metric), metric, path, {k: leaf[k] for k in given}
        )
    if kind == "ood_drop" and known.info(metric).better is None:
        yield (
            f"{path}: {metric} has no better end, so it cannot drop; bound its gap"
            " over environment instead."
        )
    yield from _of_place(about, path, leaf)
    if kind == "floor":
        yield from _of_slice(path, leaf)
    if kind == ROBUSTNESS:
        for key, found in attack.problems(leaf):
            yield f"{path}.{key} {found}."


def _of_bounds(
    kind: str,
    about: metrics.Metric,
    metric: str,
    path: str,
    bounds: Mapping[str, float],
) -> Iterator[str]:
    least = KINDS[kind].least
    if least is None:
        low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
        if low > high:
            yield f"{path}: min {low:g} is above max {high:g}; no value lies between."
        for key, bound in bounds.items():
            if not about.lower <= bound <= about.upper:
                yield (
                    f"{path}.{key} is {bound:g}, outside the range of {metric}, which"
                    f" is {about.lower:g} to {about.upper:g}."
                )
        if low == about.upper or high == about.lower:
            yield (
                f"{path}: the bound {low if low == about.upper else high:g} is the very"
                f" end of {metric}'s range, which no sample can show; leave it some"
                " room."
            )
        return
    width = about.upper - about.lower
    for key, bound in bounds.items():
        if bound < 0 or bound >= width or (least == "above" and bound == 0):
            limit = "" if math.isinf(width) else f" and below {width:g}"
            yield f"{path}.{key} is {bound:g}; it must be {least} 0{limit}."
        wrong = {"higher": "max_rise", "lower": "max_drop"}.get(about.better or "")
        if kind == "baseline" and key == wrong:
            mend = "max_drop" if key == "max_rise" else "max_rise"
            yield (
                f"{path}.{key} would refuse a model for being better, for {metric} is"
                f" the better the {about.better} it is; write {mend}."
            )


def _of_place(about: Kind, path: str, leaf: Mapping[str, Any]) -> Iterator[str]:
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
    elif about.compares and OVERALL in (parse_over(over) or ()):
        yield f"{path}.over is overall, which has no two slices to compare."


def _of_slice(path: str, leaf: Mapping[str, Any]) -> Iterator[str]:
    found = leaf.get("slice")
    well_formed = isinstance(found, Mapping) and all(
        isinstance(feature, str)
        and (isinstance(value, str) or (is_number(value)))
        and value != ""
        for feature, value in found.items()
    )
    if not well_formed:
        yield (
            f"{path}.slice is {found!r}; it must map features to a value each, such as"
            " {environment: north}, or be {} for all examples."
        )


def of_scopes(check: Check, features: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """What nothing is sliced by.

    Args:
      check: well-formed.
      features: of each slice.
    """
    known = [" x ".join(scope) for scope in features]
    if check.slice:
        asked, key = [tuple(feature for feature, _ in check.slice)], "slice"
    else:
        asked, key = list(check.over or ()), "over"
    for scope in asked:
        if scope == OVERALL or any(set(scope) == set(other) for other in features):
            continue
        name = " x ".join(scope)
        path = f"checks.{check.kind}"
        path += "" if KINDS[check.kind].metric else f".{check.metric}"
        yield (
            f"{path}.{key} names {name!r}, by which nothing is sliced"
            f"{legal(name, known)}; or add it to evaluate.slices."
        )


def of_splits(
    check: Check, names: Mapping[str, set[str]], named: bool
) -> Iterator[str]:
    """What the environments of a split do not allow.

    Args:
      check: well-formed.
      names: split -> its environments.
      named: whether these are the names; else only their number is known.
    """
    path = f"checks.{check.kind}"
    path += "" if KINDS[check.kind].metric else f".{check.metric}"
    if check.split_named:
        for split in check.splits:
            if not names[split]:
                what = "held-out" if split == "ood" else "training"
                yield f"{path}.split is {split}, but there is no {what} environment."
    if check.kind == "ood_drop" and not (names["eval"] and names["ood"]):
        what = "held-out" if names["eval"] else "training"
        yield (
            f"{path} compares held-out environments with trained ones, but there is no"
            f" {what} environment; take the check out, or hold one out."
        )
    over = check.over if check.over is not None else ((ENVIRONMENT,),)
    if KINDS[check.kind].compares and (ENVIRONMENT,) in over:
        there = sorted(set().union(*(names[split] for split in check.splits)))
        if len(there) < 2:
            found = f"only {there[0]}" if there else "none"
            what = f"a {check.kind.replace('_', ' ')}"
            yield (
                f"{path} compares environments, but of split"
                f" {' and '.join(check.splits)} there is {found}; {what} needs two."
            )
    wanted = dict(check.slice or ()).get(ENVIRONMENT)
    if wanted is not None and named:
        there = sorted(set().union(*(names[split] for split in check.splits)))
        if wanted not in there:
            yield (
                f"{path}.slice names environment {wanted!r}, which split"
                f" {' and '.join(check.splits)} has not{legal(wanted, there)}."
            )


def of_values(check: Check, values: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Values of a floor's slice that a feature cannot have, such as no bucket."""
    for feature, value in check.slice or ():
        known = values.get(feature)
        if known is not None and value not in known:
            yield (
                f"checks.floor.{check.metric}.slice names {feature} {value!r}, which is"
                f" none of its buckets{legal(value, known)}."
            )


def unknown(metric: str, task: str = BINARY) -> str:
    """Why a check cannot name a metric, and what to write instead."""
    known = metrics.of(task)
    if metric in known.instead:
        return f"cannot be named here; {known.instead[metric]}"
    if metric in metrics.NAMES:
        return f"is none of task {task}{_listed(known.metrics)}"
    return f"is unknown{legal(metric, known.metrics)}"


def _listed(names: Iterable[str]) -> str:
    """As `legal`, without a guess: the name is right, but in another task."""
    return f"; legal are {', '.join(names)}"


def is_number(value: Any) -> bool:
    """Whether it is a finite number, and not a truth value."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def legal(name: Any, names: Iterable[str]) -> str:
    """`; did you mean 'auc'? Legal are ...`."""
    known = list(names)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} {'Legal' if near else 'legal'} are {', '.join(known) or 'none'}"
