"""Options of methods: defaults and what is legal, in words and in code. No TensorFlow.

Every check is made once, here: `tfx-irm validate`, `penalties.get` and the penalties
themselves refuse the same values with the same sentence.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a method.

    Attributes:
      default: the value where none is given.
      legal: the legal values in words, to follow "expected".
      accepts: whether a value is legal.
    """

    default: Any
    legal: str
    accepts: Callable[[Any], bool]


def choice(default: Any, *others: Any) -> Option:
    """One of the values that are listed; the first is the default."""
    values = (default, *others)

    def accepts(value: Any) -> bool:
        return any(type(value) is type(v) and value == v for v in values)

    return Option(default, f"one of {', '.join(map(str, values))}", accepts)


def flag(default: bool) -> Option:
    """True or False."""
    return Option(default, "true or false", lambda value: isinstance(value, bool))


def number(
    default: float | None,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    whole: bool = False,
) -> Option:
    """A finite number in a range; None too where that is the default."""
    accepts = _in_range(above, at_least, below, whole)
    words = _range_in_words("a whole number" if whole else "a number", above, at_least)
    words += f" and below {below:g}" if below < math.inf else ""
    if default is None:
        return Option(None, f"{words}, or null", lambda v: v is None or accepts(v))
    return Option(default, words, accepts)


def numbers(
    default: Sequence[float] | None,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    whole: bool = False,
    size: int | None = None,
) -> Option:
    """A list of finite numbers in a range; None too where that is the default."""
    fits = _in_range(above, at_least, math.inf, whole)

    def accepts(value: Any) -> bool:
        if default is None and value is None:
            return True
        if not isinstance(value, (list, tuple)) or not value:
            return False
        return size in (None, len(value)) and all(map(fits, value))

    each = "whole numbers" if whole else "numbers"
    count = f"{size} " if size else ""
    words = _range_in_words(f"a list of {count}{each}", above, at_least)
    return Option(default, words + (", or null" if default is None else ""), accepts)


def _in_range(
    above: float, at_least: float, below: float, whole: bool
) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return math.isfinite(value) and above < value < below and value >= at_least

    return accepts


def _range_in_words(noun: str, above: float, at_least: float) -> str:
    if above > -math.inf:
        return f"{noun} above {above:g}"
    return f"{noun}, at least {at_least:g}" if at_least > -math.inf else noun
