"""How a column tells the environment, in plain types."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a column tells the environment.

    Attributes:
      column: its name. Where nothing else is given, its values are the environments.
      groups: value -> environment; rows of other values are left out.
      bins: rising edges; `[18, 65]` makes "below 18", "18 to 65" (18 included, 65 not)
        and "65 and above".
      by: year, quarter, month or day of a date or time.
    """

    column: str
    groups: dict[str, str] = dataclasses.field(default_factory=dict)
    bins: tuple[float, ...] = ()
    by: str | None = None


def bin_names(edges: tuple[float, ...]) -> tuple[str, ...]:
    """The environments that edges make, in their order."""
    texts = [f"{edge:g}" for edge in edges]
    between = [f"{a} to {b}" for a, b in zip(texts[:-1], texts[1:], strict=True)]
    return (f"below {texts[0]}", *between, f"{texts[-1]} and above")
