"""The load check as the report shows it: from `load_check.json` of ModelValidator."""

from collections.abc import Mapping
from typing import Any

RECORD_FILE = "load_check.json"
_WAYS = {
    "scores": "loaded in a clean process",
    "alone": "one example at a time",
    "raw": "signature raw",
    "transformed": "signature transformed",
}


def shown(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the page says of a load check.

    Args:
      record: `load_check.json`, or None where no load check was wired.

    Returns:
      `fit`, `problems` (sentences), `rows` (what, measured, bound) and `compared`.
    """
    if record is None:
        return None
    bounds = record.get("bounds") or {}
    rows = [
        ("time to load", _with(record.get("load_seconds"), "s"), "load_seconds", "s"),
        *(
            (
                f"latency of {size} example{'s' * (size != '1')}, median and 99 of 100",
                " and ".join(_with(value, "ms") for value in values),
                "latency_ms" if size == "1" else "",
                "ms",
            )
            for size, values in (record.get("latency_ms") or {}).items()
        ),
        ("memory at most", _with(record.get("peak_mb"), "MiB"), "memory_mb", "MiB"),
    ]
    return {
        "fit": bool(record.get("blessed")),
        "problems": [f"The model {problem}." for problem in record.get("problems", ())],
        "rows": [
            (what, measured, f"≤ {_with(bounds[key], unit)}" if key in bounds else "")
            for what, measured, key, unit in rows
        ],
        "compared": [_WAYS.get(way, way) for way in record.get("compared", ())],
        "examples": f"{record.get('examples', 0):,}",
        "tolerance": f"{bounds.get('tolerance', 0):g}",
        "signatures": list(record.get("signatures") or ()),
        "tensorflow": record.get("tensorflow"),
        "warmup": record.get("warmup"),
    }


def _with(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
