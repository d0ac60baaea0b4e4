"""Which checks groups of this size can never pass, whatever the model.

The counts on the Examples are known before anything is trained. A slice with fewer
than `min_examples`, or with fewer than 20 examples of a class where a metric needs
them, ends in INSUFFICIENT_DATA; so does a share of so few examples that not even a
perfect model is shown to keep the bound: all n of n right show at least alpha^(1 / n),
with alpha = 1 - confidence (Clopper and Pearson).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.invariance_validator import judging
from components.invariance_validator.checks import parse_checks, parse_rule
from components.invariance_validator.kinds import (
    ENVIRONMENT,
    OVERALL,
    ROBUSTNESS,
    Check,
    Rule,
)
from components.invariance_validator.metrics import BINARY, MULTICLASS
from components.invariance_validator.slices import (
    MIN_PER_CLASS,
    Cell,
    SliceTable,
    count,
)

_OF_SLICES = ("worst", "floor", ROBUSTNESS)


@dataclass(frozen=True)
class Shortfall:
    """A check that cannot pass.

    Attributes:
      check: its name, `worst.auc`.
      split: eval or ood.
      slice: that is too small, or the features of which there are none.
      reason: a sentence without its full stop.
      allowed: whether `verdict.allow_insufficient` names the check.
    """

    check: str
    split: str
    slice: str
    reason: str
    allowed: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find(
    checks: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    counts: Mapping,
    task: str = BINARY,
) -> list[Shortfall]:
    """Every slice that keeps a check from passing, by its size alone.

    Args:
      checks: the config's `checks`.
      verdict: the config's `verdict`.
      counts: of the Examples artifact.
      task: binary, multiclass or regression.

    Returns:
      Shortfalls in the order of the checks.

    Raises:
      ValueError: checks or verdict are not legal.
    """
    rule = parse_rule(verdict)
    table = SliceTable([], counts, rule.min_examples)
    found = []
    for check in parse_checks(checks, task):
        allowed = check.name in rule.allow_insufficient
        for split, name, reason in _of_check(check, table, rule, counts):
            found.append(Shortfall(check.name, split, name, reason, allowed))
    return found


def sentence(found: list[Shortfall]) -> str | None:
    """What is said of those that are not allowed; None where there are none."""
    bad = [one for one in found if not one.allowed]
    if not bad:
        return None
    first, names = bad[0], sorted({one.check for one in bad})
    more = f" ({len(bad) - 1} more after this one)" if len(bad) > 1 else ""
    return (
        f"checks.{first.check} cannot pass, whatever the model: {first.reason}{more};"
        " bring more data, check over larger groups, ask for less, or name"
        f" {', '.join(names)} in verdict.allow_insufficient"
    )


def _of_check(
    check: Check, table: SliceTable, rule: Rule, counts: Mapping
) -> Iterator[tuple[str, str, str]]:
    """(split, slice, reason) of each slice that is too small, or of none at all."""
    cells, missing = judging.looked_at(check, table, rule)
    for outcome in missing:
        yield outcome.split, outcome.slice, outcome.reason
    for cell in cells:
        reason = _reason(check, cell, rule, _classes(check.task, cell, counts))
        if reason is not None:
            yield cell.split, cell.name, f"{cell.name} ({cell.split}) {reason}"


def _reason(
    check: Check, cell: Cell, rule: Rule, classes: list[int] | None
) -> str | None:
    """Why a slice is too small for a check; None where it may be large enough."""
    if cell.examples < rule.min_examples:
        return (
            f"has only {cell.examples:,} of the {count(rule.min_examples)} that"
            " verdict.min_examples asks for"
        )
    share_of = check.info.share_of
    rarer, which = _rarer(check, classes)
    exact = share_of is not None and check.kind in _OF_SLICES
    needs = not exact or rarer == 0 or share_of == "classes"
    if rarer is not None and rarer < MIN_PER_CLASS and needs:
        return (
            f"has only {rarer} of the {MIN_PER_CLASS} {which} that {check.metric} needs"
        )
    if not exact:
        return None
    units: int | None = cell.examples
    if share_of == "pairs":
        units = None if rarer is None or rarer >= MIN_PER_CLASS else rarer
    elif share_of == "classes":
        there = [number for number in classes or () if number]
        units = len(there) * min(there) if there else None
    return None if units is None else _unshown(check, units, rule.confidence)


def _rarer(check: Check, classes: list[int] | None) -> tuple[int | None, str]:
    """Examples that the metric hangs on, as `spreads.rarer`, and what they are.

    None where nothing is known of the classes, or there are none.
    """
    there = [number for number in classes or () if number]
    if classes is None or not there:
        return None, ""
    if check.task == BINARY:
        rarer = min(classes)
        which = "positive" if classes[1] <= classes[0] else "negative"
        return rarer, f"{which} examples"
    if check.info.share_of == "classes":
        rarer = min(there)
        return rarer, f"examples of class {classes.index(rarer)}"
    most = max(classes)
    which = f"examples outside of class {classes.index(most)}"
    # A share of all examples needs none outside of the largest class.
    if check.info.share_of == "examples" and check.kind in _OF_SLICES:
        return None, which
    return sum(classes) - most, which


def _unshown(check: Check, units: int, confidence: float) -> str | None:
    """Why not even a perfect share of so few keeps the bound; None where it may."""
    alpha = 1 - confidence
    sides = []
    if check.minimum is not None:
        sides.append((check.minimum, check.minimum, "at least", alpha ** (1 / units)))
    if check.maximum is not None:
        most = 1 - alpha ** (1 / units)
        sides.append((1 - check.maximum, check.maximum, "at most", most))
    for keep, bound, side, shown in sides:
        needed = math.ceil(math.log(alpha) / math.log(keep) - 1e-9) if keep > 0 else 0
        if units < needed:
            return (
                f"has {units:,} examples that count, of which even a perfect"
                f" {check.metric} is only shown to be {side} {shown:.3f} with"
                f" {100 * confidence:g} % confidence; the bound of {bound:g} takes"
                f" {needed:,}"
            )
    return None


def _classes(task: str, cell: Cell, counts: Mapping) -> list[int] | None:
    """Examples of each class of a slice, where the counts tell them."""
    environments = counts.get("environments", {})
    scope = tuple(feature for feature, _ in cell.key)
    if scope not in (OVERALL, (ENVIRONMENT,)):
        return None
    names = [value for _, value in cell.key] or list(environments)
    sizes = [
        environments.get(name, {}).get("splits", {}).get(cell.split) for name in names
    ]
    known = [_sizes(task, size) for size in sizes if size is not None]
    found = [classes for classes in known if classes is not None]
    if not found or len(found) < len(known):
        return None
    return [sum(numbers) for numbers in zip(*found, strict=True)]


def _sizes(task: str, size: Mapping[str, Any]) -> list[int] | None:
    """Negatives and positives, or of each class; None where they are not told."""
    if task == MULTICLASS:
        return size.get("classes")
    if task != BINARY or "positives" not in size:
        return None
    return [size["examples"] - size["positives"], size["positives"]]
