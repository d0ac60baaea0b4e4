"""The sentences of a verdict: what was found, how sure that is, and the bound."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from components.invariance_validator.checks import Check
from components.invariance_validator.slices import (
    FAIL,
    INSUFFICIENT_DATA,
    PASS,
    Cell,
    count,
    round_up,
)

_ROUNDING = 1e-12
_HOPELESS = 1000  # times as many examples: not worth a number


@dataclass(frozen=True)
class Finding:
    """One judged number, as `decision` found it.

    Attributes:
      verdict: PASS, FAIL or INSUFFICIENT_DATA.
      value: the metric, or the difference.
      lower: one-sided limit at the rule's confidence.
      upper: the other one.
      least: as `lower`, at the confidence corrected for the number of tests.
      most: as `upper`, at the corrected confidence.
      below: whether the lower bound is the one that decides, not the upper.
      bound: the deciding bound.
    """

    verdict: str
    value: float
    lower: float
    upper: float
    least: float
    most: float
    below: bool
    bound: float


def digits(values: Sequence[float], bound: float) -> list[str]:
    """Values with three decimals, or as many as tell them from the bound.

    Up to six, or for a bound below 0.01 two more than it has digits.

    >>> digits([0.6881, 0.64996], 0.65)
    ['0.68810', '0.64996']
    """
    places = 3
    if 0 < abs(bound) < 0.01:  # two digits of the bound
        places = 1 - math.floor(math.log10(abs(bound)))
    most = max(6, places + 2)
    while places < most and any(
        value != bound and round(value, places) == round(bound, places)
        for value in values
    ):
        places += 1
    return [f"{round(value, places) + 0.0:.{places}f}" for value in values]


def sentence(
    check: Check, cells: Sequence[Cell], found: Finding, confidence: float, tests: int
) -> str:
    """One sentence on a judged number.

    Args:
      check: what was asked.
      cells: the slice, or of a pair or group all of them.
      found: the numbers.
      confidence: of a one-sided limit.
      tests: slices, pairs or groups judged together; a FAIL is corrected for them.

    Returns:
      `auc of environment=LGA (ood, 20,731 examples) is 0.688, at least 0.671 with 95 %
      confidence; the bound is 0.65`, without the full stop.
    """
    say = _WORDS.get(check.kind, _Plain)(check)
    sure = f"with {100 * confidence:g} % confidence"
    together = f" for all {tests:,} {check.unit} together" if tests > 1 else ""
    value, *limits = digits(
        [found.value, found.lower, found.upper, found.least, found.most], found.bound
    )
    lower, upper, least, most = limits
    head = say.head(cells, found.value, value)
    if found.verdict == PASS:
        sides = []
        if check.minimum is not None:
            sides.append(say.at_least(found.lower, lower))
        if check.maximum is not None:
            sides.append(say.at_most(found.upper, upper))
        return f"{head}, {' and '.join(sides)} {sure}; {say.bounds(found)}"
    meets = say.at_least(found.lower, lower)
    misses = say.at_most(found.most, most)
    if not found.below:
        meets = say.at_most(found.upper, upper)
        misses = say.at_least(found.least, least)
    if found.verdict == FAIL:
        return f"{head}, {misses} {sure}{together}; {say.bounds(found)}"
    meet, miss = say.to_meet(found)
    return (
        f"{head}, which is neither shown {meet} ({meets}) nor {miss} ({misses}) {sure};"
        f" {_settle(cells, found)}"
    )


class _Plain:
    """Words for a metric, or for the gap or distance between two slices."""

    def __init__(self, check: Check):
        self._check = check

    def head(self, cells: Sequence[Cell], value: float, text: str) -> str:
        del value
        slices = " and ".join(where(cell) for cell in cells)
        verb = "differs by" if self._check.kind == "gap" else "is"
        return f"{self._check.metric} of {slices} {verb} {text}"

    def at_least(self, value: float, text: str) -> str:
        del value
        return f"at least {text}"

    def at_most(self, value: float, text: str) -> str:
        del value
        return f"at most {text}"

    def to_meet(self, found: Finding) -> tuple[str, str]:
        return f"to meet the bound of {found.bound:g}", "to miss it"

    def bounds(self, found: Finding) -> str:
        low, high = self._check.minimum, self._check.maximum
        if low is not None and high is not None:
            return f"the bounds are {low:g} and {high:g}"
        return f"the bound is {found.bound:g}"


class _Attacked(_Plain):
    """Words for a metric of the attacked model."""

    def head(self, cells: Sequence[Cell], value: float, text: str) -> str:
        del value
        assert self._check.attack is not None
        under = f"under {self._check.attack.name}"
        return f"{self._check.metric} of {where(cells[0])} {under} is {text}"


class _Signed(_Plain):
    """Words for a difference that has two sides."""

    above, below = "above", "below"

    def at_least(self, value: float, text: str) -> str:
        text = text.lstrip("-")
        if value > 0:
            return f"at least {text} {self.above}"
        return f"at most {text} {self.below}"

    def at_most(self, value: float, text: str) -> str:
        text = text.lstrip("-")
        if value < 0:
            return f"at least {text} {self.below}"
        return f"at most {text} {self.above}"


class _Baseline(_Signed):
    """Words for a difference from the released model."""

    def head(self, cells: Sequence[Cell], value: float, text: str) -> str:
        name = f"{self._check.metric} of {where(cells[0])}"
        if float(text) == 0:
            return f"{name} equals the released model's"
        side = "below" if value < 0 else "above"
        return f"{name} is {text.lstrip('-')} {side} the released model's"

    def to_meet(self, found: Finding) -> tuple[str, str]:
        return f"to stay within the allowed {_change(found)}", "to exceed it"

    def bounds(self, found: Finding) -> str:
        return f"a {_change(found)} is allowed"


class _Variance(_Plain):
    """Words for the variance of the risks of a group of slices."""

    def head(self, cells: Sequence[Cell], value: float, text: str) -> str:
        del value
        features = " x ".join(feature for feature, _ in cells[0].key)
        splits = " / ".join(dict.fromkeys(cell.split for cell in cells))
        examples = count(sum(cell.examples for cell in cells))
        return (
            f"variance of {self._check.of_task.risk} over {len(cells):,} slices by"
            f" {features} ({splits}, {examples}) is {text}"
        )


class _Drop(_Signed):
    """Words for a held-out environment beside those that were trained on."""

    above, below = "worse", "better"

    def head(self, cells: Sequence[Cell], value: float, text: str) -> str:
        side = "worse" if value >= 0 else "better"
        return (
            f"{self._check.metric} of {where(cells[0])} is {text.lstrip('-')} {side}"
            " than the mean of the environments trained on"
        )

    def to_meet(self, found: Finding) -> tuple[str, str]:
        return f"to stay within the allowed {found.bound:g}", "to exceed it"

    def bounds(self, found: Finding) -> str:
        return f"it may be {found.bound:g} worse"


_WORDS = {
    "baseline": _Baseline,
    "risk_variance": _Variance,
    "ood_drop": _Drop,
    "robustness": _Attacked,
}


def _change(found: Finding) -> str:
    return f"{'drop' if found.below else 'rise'} of {abs(found.bound):g}"


def where(cell: Cell) -> str:
    """`environment=LGA (ood, 20,731 examples)`."""
    return f"{cell.name} ({cell.split}, {count(cell.examples)})"


def settling(cells: Sequence[Cell], found: Finding) -> tuple[int | None, str | None]:
    """How many examples would settle it, if the value stays: errors go as 1/sqrt(n).

    Args:
      cells: the slice, or for a gap the two slices.
      found: the numbers.

    Returns:
      Examples (of a gap in both slices together) and the verdict that they would
      settle it as; (None, None) where it is settled or no number does.
    """
    if found.verdict != INSUFFICIENT_DATA:
        return None, None
    ahead, half = _distances(found)
    if ahead == 0 or half / abs(ahead) > math.sqrt(_HOPELESS):
        return None, None
    examples = sum(cell.examples for cell in cells)
    needed = round_up(examples * (half / ahead) ** 2)
    return needed, PASS if ahead > 0 else FAIL


def _distances(found: Finding) -> tuple[float, float]:
    """How far the value is on the good side, and how far its limit is from it.

    The limit is the one that settles it on that side.
    """
    if found.below:
        ahead = found.value - found.bound
        half = found.value - found.lower if ahead > 0 else found.most - found.value
    else:
        ahead = found.bound - found.value
        half = found.upper - found.value if ahead > 0 else found.value - found.least
    return (0.0 if abs(ahead) < _ROUNDING else ahead), half


def _settle(cells: Sequence[Cell], found: Finding) -> str:
    """The end of a sentence: what would settle it."""
    needed, would_be = settling(cells, found)
    if needed is None:
        ahead, _ = _distances(found)
        if ahead == 0:
            return "no number of examples settles it, for the value sits on the bound"
        often = f"more than {_HOPELESS:,} times as many examples"
    else:
        often = f"about {needed:,} examples"
        if len(cells) > 1:
            often += " in both together"
        if would_be == PASS:
            return f"{often} would settle it"
    if found.below == (found.value > found.bound):
        return f"{often} would settle it"
    return (
        "no number of examples makes it pass where it stands, on the wrong side of the"
        f" bound: with {often} it would fail"
    )
