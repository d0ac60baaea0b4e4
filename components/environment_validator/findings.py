"""What is wrong with the environments: a sentence each, by the checks' bounds."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.environment_validator import checks as c
from components.environment_validator.checks import Settings


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
      check: a key of `checks.CHECKS`.
      level: error, warn or note.
      environments: the names that it is about; () for all.
      value: the figure that is over the bound.
      sentence: names feature, environments, figure and mend.
      feature: the column, or "".
      split: the split, or "".
    """

    check: str
    level: str
    environments: tuple[str, ...]
    value: float
    sentence: str
    feature: str = ""
    split: str = ""


class Asked:
    """The bounds, and a place for what breaks them."""

    def __init__(self, settings: Settings):
        self._checks = settings.checks
        self.found: list[Finding] = []

    def on(self, check: str) -> bool:
        """Whether a check is not off."""
        return self._checks[check].level != c.OFF

    def bound(self, check: str) -> float:
        """The bound of a check that has one."""
        value = self._checks[check].value
        assert value is not None
        return value

    def add(
        self,
        check: str,
        environments: Iterable[str],
        value: float,
        sentence: str,
        *,
        feature: str = "",
        split: str = "",
        at_most: c.Level = c.ERROR,
    ) -> None:
        """Keeps a finding, unless its check is off; `at_most` lowers its level."""
        if not self.on(check):
            return
        level = max(self._checks[check].level, at_most, key=c.LEVELS.index)
        self.found.append(
            Finding(
                check,
                level,
                tuple(environments),
                float(value),
                sentence,
                feature,
                split,
            )
        )

    def sorted(self) -> list[Finding]:
        """Errors first, then by the order of the checks, the largest figures first."""
        order = list(c.CHECKS)
        return sorted(
            self.found,
            key=lambda f: (c.LEVELS.index(f.level), order.index(f.check), -f.value),
        )


def named(names: Sequence[str], most: int = 5) -> str:
    """`EWR`, `EWR and JFK`, `EWR, JFK, LGA and 4 more`."""
    shown = list(names[:most])
    if len(names) > most:
        shown = [*shown[: most - 1], f"{len(names) - most + 1} more"]
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def percent(share: float) -> str:
    """`12.3 %`; small ones with the digits that they need."""
    number = 100 * share
    return f"{number:.1f} %" if number >= 1 or number == 0 else f"{number:.2g} %"


def from_json(found: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """The findings that `as_json` wrote."""
    return [Finding(**{**f, "environments": tuple(f["environments"])}) for f in found]


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as plain JSON."""
    return [
        {**dataclasses.asdict(f), "environments": list(f.environments)}
        for f in findings
    ]
