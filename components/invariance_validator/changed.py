"""What changed since the last blessed run.

A run whose model is blessed leaves what it was decided by beside that model,
`decision_reference.json`: config, code, data, versions, and what each check said. The
next run, whose baseline the model is, compares itself with that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.invariance_validator.slice_rows import cell

REFERENCE_FILE = "decision_reference.json"
_FORMAT = 1
_MOST_ROWS = 200
_MISSING = "–"
_CHECKED = ("name", "verdict", "value", "bound", "split", "slice")
_DIGESTS = ("model_digest", "examples_fingerprint", "checks_fingerprint")


@dataclass(frozen=True)
class CheckChange:
    """What a check said then and says now; a verdict is None where it was not there."""

    name: str
    before: str | None
    after: str | None
    value_before: str
    value_after: str


@dataclass(frozen=True)
class Changes:
    """What differs from the last blessed run.

    Attributes:
      rows: (what, then, now) of each setting, version and count that differs.
      more: how many more there are than shown.
      same: how many are the same.
      checks: every check of either run.
      same_model: whether that run's model is this one.
      verdict: of that run.
    """

    rows: list[tuple[str, str, str]]
    more: int
    same: int
    checks: list[CheckChange]
    same_model: bool
    verdict: str = field(default="")


def reference(kept: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is left beside a blessed model.

    Args:
      kept: of `record.decision_record`, with the digests.
      settings: the config's `checks` and `verdict`.
    """
    return {
        "format": _FORMAT,
        "verdict": kept["verdict"],
        "checks": [{k: check.get(k) for k in _CHECKED} for check in kept["checks"]],
        "settings": dict(settings),
        "context": kept["context"],
        "environments": kept["environments"],
        **{key: kept.get(key) for key in _DIGESTS},
    }


def compare(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Changes | None:
    """What differs.

    Args:
      then: a `reference`, or None.
      now: another, of the run that is reported.

    Returns:
      The differences; None where there is nothing to compare with, or where it was
      left by a version that wrote it in another form.
    """
    if not isinstance(then, Mapping) or then.get("format") != _FORMAT:
        return None
    before, after = dict(_facts(then)), dict(_facts(now))
    names = list(dict.fromkeys([*after, *before]))
    rows = [
        (name, before.get(name, _MISSING), after.get(name, _MISSING))
        for name in names
        if before.get(name) != after.get(name)
    ]
    digest = now.get("model_digest")
    return Changes(
        rows=rows[:_MOST_ROWS],
        more=max(0, len(rows) - _MOST_ROWS),
        same=len(names) - len(rows),
        checks=_checks(then, now),
        same_model=digest is not None and digest == then.get("model_digest"),
        verdict=str(then.get("verdict")),
    )


def _checks(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[CheckChange]:
    before, after = (
        {check["name"]: check for check in kept.get("checks", ())}
        for kept in (then, now)
    )
    return [
        CheckChange(
            name,
            before.get(name, {}).get("verdict"),
            after.get(name, {}).get("verdict"),
            _value(before.get(name)),
            _value(after.get(name)),
        )
        for name in dict.fromkeys([*after, *before])
    ]


def _value(check: Mapping[str, Any] | None) -> str:
    value = None if check is None else check.get("value")
    if check is None or value is None:
        return _MISSING
    where = f" ({check['slice']}, {check['split']})" if check.get("slice") else ""
    return f"{cell(float(value))[0]}{where}"


def _facts(kept: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings, versions, digests and counts: what -> text."""
    for key in _DIGESTS:
        yield key.replace("_", " "), str(kept.get(key) or _MISSING)
    yield from flattened("", kept.get("context") or {})
    yield from flattened("", kept.get("settings") or {})
    for name, splits in (kept.get("environments") or {}).items():
        for split, examples in splits.items():
            yield f"examples of {name}, {split}", f"{examples:,}"


def flattened(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Nested values by path: `versions.tfx` -> `1.16.0`; what is None is left out."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flattened(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list | tuple):
        if any(isinstance(inner, Mapping) for inner in value):
            for i, inner in enumerate(value, 1):
                yield from flattened(f"{key}.{i}", inner)
        elif value:
            yield key, ", ".join(map(_one, value))
    elif value is not None:
        yield key, str(value)


def _one(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value)) or "overall"  # sliced by nothing
    return str(value)
