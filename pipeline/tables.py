"""Plain results for who reads them: aligned tables, and JSON without NaN."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SENTENCE = 500  # characters of one on the terminal that may hold names from the data


def markdown(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells, the first of them titles, as a Markdown table, columns aligned."""
    widths = [max(1, *map(len, cells)) for cells in zip(*lines, strict=True)]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in ruled
    ]


def finite(value: Any) -> Any:
    """The same values, but null for each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def brief(name: str, most: int = 24) -> str:
    """A name from the data as the terminal shows it: one line, its middle left out."""
    head, tail = (most - 1) * 2 // 3, (most - 1) // 3
    text = name if len(name) <= most else f"{name[:head]}…{name[-tail:]}"
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
