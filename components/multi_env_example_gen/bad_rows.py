"""Rows that cannot be what they should be: refused, or dropped and counted."""

from typing import Any

from components.errors import DataError

REFUSE, DROP = "refuse", "drop"
_SHOWN = 3


class BadRows:
    """Those of one range of a file.

    Attributes:
      count: how many were dropped.
      first: numbers of the first three.
    """

    def __init__(self, path: str, policy: str = REFUSE, unit: str = "line"):
        """Makes the record.

        Args:
          path: the file.
          policy: `refuse` or `drop`.
          unit: what is counted: `line` of text, `row` of all else; from 1.
        """
        self.path, self.policy, self.unit = path, policy, unit
        self.count = 0
        self.first: list[int] = []

    def add(self, number: int | None, found: str) -> None:
        """Takes a row out.

        Args:
          number: its first line, or which row it is; None where that is not known.
          found: what is wrong with it: "has 3 fields where 4 are expected".

        Raises:
          DataError: where bad rows are refused.
        """
        if self.policy == REFUSE:
            where = f"{self.path}, {self.unit} {number:,}" if number else self.path
            raise DataError(
                f"{where}: {found}; correct it, or leave such rows out with"
                " data.on_bad_row: drop"
            )
        self.count += 1
        if number is not None and len(self.first) < _SHOWN:
            self.first.append(number)

    def as_json(self) -> dict[str, Any]:
        """As the counts carry it: path -> rows, unit, first; {} where there is none."""
        if not self.count:
            return {}
        return {self.path: {"rows": self.count, "unit": self.unit, "first": self.first}}


def told(bad_rows: dict[str, Any]) -> list[str]:
    """A phrase a file: `4 of jfk.csv (lines 17, 90, 91, ...)`."""
    phrases = []
    for path, entry in bad_rows.items():
        numbers = [f"{number:,}" for number in entry["first"]]
        more = ["..."] * (entry["rows"] > len(numbers))
        unit = f"{entry['unit']}{'s' * (entry['rows'] > 1)} "
        where = f" ({unit}{', '.join([*numbers, *more])})" if numbers else ""
        phrases.append(f"{entry['rows']:,} of {path}{where}")
    return phrases


def merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Adds the bad rows of a later range of the files."""
    for path, entry in more.items():
        found = into.setdefault(path, {"rows": 0, "unit": entry["unit"], "first": []})
        found["rows"] += entry["rows"]
        found["first"] = [*found["first"], *entry["first"]][:_SHOWN]
