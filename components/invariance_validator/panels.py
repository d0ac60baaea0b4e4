"""The report's dot plots: a metric by slice, its gaps, its change since the release."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.invariance_validator import slice_rows, svg
from components.invariance_validator.decision import Decision
from components.invariance_validator.dots import Dot, dot_plot, number
from components.invariance_validator.judging import SEVERITY, Outcome
from components.invariance_validator.kinds import (
    ENVIRONMENT,
    OVERALL,
    RISK_VARIANCE,
    ROBUSTNESS,
    SCORE_DISTANCE,
    Check,
    slice_name,
)
from components.invariance_validator.meanings import MEANINGS
from components.invariance_validator.metrics import TASKS
from components.invariance_validator.slice_rows import interval
from components.invariance_validator.slices import FAIL, PASS

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

MOST_DOTS = 24
_MOST_PANELS = 12  # of one metric
_MOST_PAIRS = 12


@dataclass(frozen=True)
class Panel:
    """A plot with its caption.

    Attributes:
      title: of the plot.
      note: below the title, or empty.
      plot: SVG markup.
      by: the features that its slices are sliced by, in words; empty of several.
      split: of all of its slices, or empty.
    """

    title: str
    note: str
    plot: str
    by: str
    split: str


@dataclass(frozen=True)
class Section:
    """All panels of one metric, and the table of all of its slices (or None)."""

    metric: str
    meaning: str
    panels: list[Panel]
    table: slice_rows.Table | None


def sections(
    decision: Decision,
    results: "Sequence[SliceResult]",
    most: int = slice_rows.MOST_ROWS,
    prefix: str = "dots",
) -> list[Section]:
    """A section for each metric that a check names, and for the task's main ones.

    Args:
      decision: what was decided.
      results: that it was decided from.
      most: rows of a table at most.
      prefix: of ids in the plots.

    Returns:
      Sections with at least one panel, in the order of the checks.
    """
    named = [check.metric for check in decision.parsed]
    metrics = list(dict.fromkeys([*named, *TASKS[decision.task].shown]))
    made = []
    for metric in metrics:
        found: list[Panel] = []
        for plan in _panels(metric, decision, results):
            label = f"{metric}, {plan.title}: " + "; ".join(map(_spoken, plan.dots))
            low, high, zero = plan.bounds
            name = f"{prefix}-{metric}-{len(found)}"
            plot = dot_plot(plan.dots, low, high, label, name, zero)
            by = "" if plan.scope is None else slice_rows.by_name(plan.scope)
            found.append(Panel(plan.title, plan.note, plot, by, plan.split))
            if len(found) == _MOST_PANELS:
                break
        if found:
            meaning = MEANINGS[decision.task][metric]
            table = slice_rows.table(metric, decision, results, most)
            made.append(Section(metric, meaning, found, table))
    return made


_Bounds = tuple[float | None, float | None, bool]


@dataclass(frozen=True)
class _Plan:
    """A panel before it is drawn.

    `scope` is None where it is of several, `split` empty where it has those of both.
    """

    title: str
    note: str
    dots: list[Dot]
    bounds: _Bounds
    scope: tuple[str, ...] | None
    split: str


def _panels(
    metric: str, decision: Decision, results: "Sequence[SliceResult]"
) -> Iterator[_Plan]:
    checks = [check for check in decision.parsed if check.metric == metric]
    judged, (low, high) = slice_rows.absolute(metric, decision)
    bounds: _Bounds = (low, high, False)
    yield from _by_slice(metric, decision, results, judged, bounds)
    for check in checks:
        draw = _PANELS.get(check.kind)
        if draw is not None:
            yield from draw(check, decision.outcomes[check.name])
        elif check.kind == ROBUSTNESS:
            clean = _values_of("candidate", metric, results)
            yield from _attacks(check, decision.outcomes[check.name], clean)


def _by_slice(
    metric: str,
    decision: Decision,
    results: "Sequence[SliceResult]",
    judged: Sequence[Outcome],
    bounds: _Bounds,
) -> Iterator[_Plan]:
    by_place = {(o.split, o.slice): o for o in judged}
    released = _values_of("baseline", metric, results)
    groups: dict[tuple[tuple[str, ...], str], list[Dot]] = {}
    evaluated = set()
    for result in results:
        place = (result.split, result.name)
        scope = tuple(feature for feature, _ in result.slice)
        key = _group(scope, result.split)
        wanted = place in by_place or len(scope) <= 1
        if result.model != "candidate" or metric not in result.metrics or not wanted:
            continue
        evaluated.add(place)
        dot = _estimated(result, metric, decision, by_place.get(place), released)
        groups.setdefault(key, []).append(dot)
    for place, outcome in by_place.items():
        if place not in evaluated:
            dot = Dot(
                _label(outcome.slice, outcome.split, outcome.scope),
                verdict=outcome.verdict,
                note=_note(outcome),
            )
            groups.setdefault(_group(outcome.scope, outcome.split), []).append(dot)
    for scope, split in sorted(groups, key=_rank):
        dots, note = _capped(
            groups[scope, split], TASKS[decision.task].info(metric).better, bounds
        )
        checked = any(dot.verdict for dot in dots)
        shown = bounds if checked else (None, None, False)
        yield _Plan(_title(scope, split), note, dots, shown, scope, split)


def _values_of(
    model: str, metric: str, results: "Sequence[SliceResult]"
) -> dict[tuple[str, str], float]:
    """(split, slice) -> value."""
    return {
        (r.split, r.name): r.metrics[metric].value
        for r in results
        if r.model == model and metric in r.metrics
    }


def _estimated(
    result: "SliceResult",
    metric: str,
    decision: Decision,
    outcome: Outcome | None,
    released: Mapping[tuple[str, str], float],
) -> Dot:
    estimate = result.metrics[metric]
    other = released.get((result.split, result.name))
    scope = tuple(feature for feature, _ in result.slice)
    known = math.isfinite(estimate.value)
    note = _note(outcome) if outcome else "undefined"
    return Dot(
        label=_label(result.name, result.split, scope),
        value=estimate.value if known else None,
        interval=interval(result, metric, decision.rule.confidence),
        limits=outcome.limits if outcome else None,
        verdict=outcome.verdict if outcome else None,
        released=other if other is not None and math.isfinite(other) else None,
        note=note,
        strong=not result.slice,
    )


def _gaps(check: Check, outcomes: Sequence[Outcome]) -> Iterator[_Plan]:
    groups: dict[tuple[tuple[str, ...], str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(_group(outcome.scope, outcome.split), []).append(outcome)
    for scope, split in sorted(groups, key=_rank):
        found = groups[scope, split]
        dots = [
            _judged(o, _label(o.slice, o.split, o.scope, pair=True))
            for o in found[:_MOST_PAIRS]
        ]
        what = "distance" if check.kind == SCORE_DISTANCE else "difference"
        note = f"each pair's {what}"
        if len(found) > _MOST_PAIRS:
            note += f"; the {_MOST_PAIRS} closest to the bound"
        title = f"{'gap' if check.kind == 'gap' else 'distance'} {_title(scope, split)}"
        yield _Plan(title, note, dots, (None, check.maximum, True), scope, split)


def _changes(check: Check, outcomes: Sequence[Outcome]) -> Iterator[_Plan]:
    groups: dict[tuple[tuple[str, ...], str], list[Dot]] = {}
    for o in outcomes:
        groups.setdefault(_group(o.scope, o.split), []).append(_judged(o))
    bounds = (check.minimum, check.maximum, True)
    better = check.info.better
    for scope, split in sorted(groups, key=_rank):
        dots, note = _capped(groups[scope, split], better, bounds)
        note = "; ".join(filter(None, ["candidate minus released model", note]))
        title = f"change {_title(scope, split)}"
        yield _Plan(title, note, dots, bounds, scope, split)


def _drops(check: Check, outcomes: Sequence[Outcome]) -> Iterator[_Plan]:
    bounds = (None, check.maximum, True)
    dots, note = _capped([_judged(o) for o in outcomes], None, bounds)
    words = "how much worse than the mean of the environments trained on"
    note = "; ".join(filter(None, [words, note]))
    yield _Plan("held out", note, dots, bounds, (ENVIRONMENT,), "ood")


def _floors(check: Check, outcomes: Sequence[Outcome]) -> Iterator[_Plan]:
    dots = [_judged(o, o.split) for o in outcomes]
    title = f"floor of {slice_name(check.slice or ())}"
    scope = tuple(feature for feature, _ in check.slice or ())
    yield _Plan(title, "", dots, (check.minimum, check.maximum, False), scope, "")


def _attacks(
    check: Check,
    outcomes: Sequence[Outcome],
    clean: Mapping[tuple[str, str], float],
) -> Iterator[_Plan]:
    """Attacked slices, each label with the value without attack."""
    assert check.attack is not None
    groups: dict[tuple[tuple[str, ...], str], list[Dot]] = {}
    for o in outcomes:
        dot, before = _judged(o), clean.get((o.split, o.slice), math.nan)
        if math.isfinite(before):
            label = f"{svg.shortened(dot.label, 14)}, clean {number(before)}"
            dot = dataclasses.replace(dot, label=label)
        groups.setdefault(_group(o.scope, o.split), []).append(dot)
    bounds = (check.minimum, check.maximum, False)
    for scope, split in sorted(groups, key=_rank):
        dots, note = _capped(groups[scope, split], check.info.better, bounds)
        title = f"under {check.attack.name}, {_title(scope, split)}"
        yield _Plan(title, note, dots, bounds, scope, split)


def _variances(check: Check, outcomes: Sequence[Outcome]) -> Iterator[_Plan]:
    dots = [
        _judged(
            o,
            f"{' × '.join(o.scope)} ({o.split})"
            if o.value is not None
            else _label(o.slice, o.split, o.scope),
        )
        for o in outcomes[:MOST_DOTS]
    ]
    bounds = (None, check.maximum, True)
    yield _Plan("over the slices by", "", dots, bounds, None, "")


_PANELS = {
    "gap": _gaps,
    SCORE_DISTANCE: _gaps,
    "baseline": _changes,
    "ood_drop": _drops,
    "floor": _floors,
    RISK_VARIANCE: _variances,
}


def _judged(outcome: Outcome, label: str | None = None) -> Dot:
    """The dot of an outcome, by default labelled with its slice."""
    if label is None:
        label = _label(outcome.slice, outcome.split, outcome.scope)
    return Dot(
        label,
        outcome.value,
        outcome.interval,
        outcome.limits,
        outcome.verdict,
        note=_note(outcome),
        strong=outcome.scope == OVERALL,
    )


def _capped(
    dots: list[Dot], better: str | None, bounds: _Bounds
) -> tuple[list[Dot], str]:
    """Overall first, then from the bad end; at most `MOST_DOTS`."""
    descending = better == "lower" or (better is None and bounds[0] is None)

    def order(dot: Dot) -> tuple[bool, float]:
        if dot.value is None:
            return not dot.strong, -math.inf
        return not dot.strong, -dot.value if descending else dot.value

    def weight(dot: Dot) -> tuple[bool, int, tuple[bool, float]]:
        return not dot.strong, SEVERITY.get(dot.verdict or PASS, 0), order(dot)

    if len(dots) <= MOST_DOTS:
        return sorted(dots, key=order), ""
    note = f"the {MOST_DOTS} worst of {len(dots)}; the others are in the table below"
    return sorted(sorted(dots, key=weight)[:MOST_DOTS], key=order), note


def _group(scope: tuple[str, ...], split: str) -> tuple[tuple[str, ...], str]:
    """Overall and environments of both splits share one panel."""
    if scope in (OVERALL, (ENVIRONMENT,)):
        return (ENVIRONMENT,), ""
    return scope, split


def _rank(group: tuple[tuple[str, ...], str]) -> tuple:
    scope, split = group
    return scope != (ENVIRONMENT,), len(scope), scope, split


def _title(scope: tuple[str, ...], split: str) -> str:
    where = {"eval": ", eval", "ood": ", ood (held out)"}.get(split, "")
    return f"by {' × '.join(scope)}{where}"


def _label(name: str, split: str, scope: tuple[str, ...], pair: bool = False) -> str:
    """Values alone: the panel's title has the features."""
    if pair:
        parts = (_values(part, scope) for part in name.split(" / "))
        return " – ".join(svg.shortened(part, 12) for part in parts)
    if not scope:
        return f"overall ({split})"
    label = svg.shortened(_values(name, scope), 20)
    return f"{label} ({split})" if scope == (ENVIRONMENT,) and split == "ood" else label


def _values(name: str, scope: tuple[str, ...]) -> str:
    if len(scope) == 1:
        return name.removeprefix(f"{scope[0]}=")
    for i, feature in enumerate(scope):
        name = name.replace(f"{',' if i else ''}{feature}=", " · " if i else "", 1)
    return name


def _note(outcome: Outcome) -> str:
    return "missing or undefined" if outcome.verdict == FAIL else "too little data"


def _spoken(dot: Dot) -> str:
    if dot.value is None:
        return f"{dot.label} {dot.note}"
    found = f"{dot.label} {number(dot.value)}"
    if dot.interval is not None:
        found += f" ({number(dot.interval[0])} to {number(dot.interval[1])})"
    return found
