"""The environments drawn: a section of the report, and a page of its own."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe

from components import pages
from components.environment_validator import figures
from components.environment_validator.checks import ERROR, NOTE, WARN
from components.environment_validator.findings import named

PAGE_FILE = "environments.html"
_MOST_PAIRS = 15
_MOST_FEATURES = 300
_MOST_MATRIX = 50
_WORDS = {ERROR: "Error", WARN: "Warning", NOTE: "Note"}
_FOLDER = os.path.dirname(os.path.abspath(__file__))


def page(kept: Mapping[str, Any], name: str) -> str:
    """The page of an inspection: needs nothing but a browser.

    Args:
      kept: of `record.record`.
      name: of the pipeline.
    """
    return _render("environments.html.j2", name=name, section=section(kept))


def section(kept: Mapping[str, Any]) -> markupsafe.Markup:
    """The part of a page that shows an inspection; every text escaped."""
    names = kept["environments"]
    pairs = _pairs(kept)
    text = _render(
        "section.html.j2",
        findings=kept["findings"],
        words=_WORDS,
        summary=summary(kept),
        names=names,
        training=kept["training"],
        counts=_counts(kept),
        features=_features(kept),
        pairs=[(names[i], names[j]) for i, j in pairs],
        all_pairs=len(names) * (len(names) - 1) // 2,
        rows=_heat_rows(kept, pairs),
        more=max(0, len(kept["features"]) - _MOST_FEATURES),
        transfer=_transfer(kept),
        event=_event(kept),
        sampled=max(kept["sampled"], default=0),
        exact=kept["duplicates_are_exact"],
        checks=kept["checks"],
    )
    return markupsafe.Markup(text)


def summary(kept: Mapping[str, Any]) -> str:
    """`1 error, 3 warnings and 2 notes`."""
    parts = []
    for level, word in _WORDS.items():
        number = sum(f["level"] == level for f in kept["findings"])
        if number:
            parts.append(f"{number} {word.lower()}{'s' * (number != 1)}")
    return named(parts) or "nothing found"


def _render(template: str, **values: Any) -> str:
    return pages.environment(_FOLDER).get_template(template).render(**values)


def _counts(kept: Mapping[str, Any]) -> dict[str, Any]:
    splits = list(dict.fromkeys(c["split"] for c in kept["counts"]))
    by_name: dict[str, dict[str, Any]] = {}
    for c in kept["counts"]:
        by_name.setdefault(c["environment"], {})[c["split"]] = c
    training = set(kept["environments"][: kept["training"]])
    rows = []
    for name, found in by_name.items():
        cells = []
        for split in splits:
            c = found.get(split)
            share = _label(c, kept) if c else ""
            cells.append((f"{c['examples']:,}" if c else "–", share))
        role = "training" if name in training else "held out"
        rows.append({"name": name, "role": role, "cells": cells})
    return {"splits": splits, "rows": rows}


def _label(counts: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    """The share of positives, or from how many to how many a class has."""
    task = kept.get("task", "binary")
    if task == "binary":
        return f"{100 * counts['positives'] / counts['examples']:.1f} % positive"
    if task == "multiclass":
        return f"{min(counts['sizes']):,}–{max(counts['sizes']):,} a class"
    return ""


def _event(kept: Mapping[str, Any]) -> str:
    """What of the label is told, in words."""
    if kept.get("task") == "multiclass":
        return "each class against the rest (the mean of all)"
    if kept.get("task") == "regression" and kept["features"]:
        return str(kept["features"][0]["event"])
    return "the label"


def _features(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a feature: its figures over all environments."""
    rows = []
    for feature in kept["features"][:_MOST_FEATURES]:
        found = figures.of(feature)
        least, most = found.missing or (None, None)
        low, high = found.label or (None, None)
        cells = [
            *(_cell(value, 2) for value in (found.apart, least, most)),
            *(_cell(v, 3) for v in (low, high, found.elsewhere, found.environment)),
        ]
        rows.append({"name": feature["name"], "kind": feature["kind"], "cells": cells})
    return rows


def _cell(value: float | None, digits: int) -> tuple[str, str]:
    """Text and the number to sort by."""
    if value is None:
        return "–", "-1"
    return f"{value:.{digits}f}", f"{value:.6f}"


def _pairs(kept: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The pairs of environments that are drawn: those that are farthest apart."""
    size = len(kept["environments"])
    pairs = list(itertools.combinations(range(size), 2))
    if len(pairs) <= _MOST_PAIRS:
        return pairs
    far = {
        (i, j): max((f["distances"][i][j] or 0 for f in kept["features"]), default=0)
        for i, j in pairs
    }
    return sorted(sorted(pairs, key=lambda p: -far[p])[:_MOST_PAIRS])


def _heat_rows(
    kept: Mapping[str, Any], pairs: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    rows = []
    for feature in kept["features"][:_MOST_FEATURES]:
        check = kept["checks"].get(f"{feature['kind']}_distance")
        bound = check["value"] if check else 1.0
        cells = []
        for i, j in pairs:
            value = feature["distances"][i][j]
            cells.append((*_cell(value, 2), pages.shade((value or 0) / bound)))
        rows.append({"name": feature["name"], "kind": feature["kind"], "cells": cells})
    return rows


def _transfer(kept: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = kept["environments"][:_MOST_MATRIX]
    rows = []
    for name, values in zip(names, kept["transfer"], strict=False):
        cells = []
        for value in values[: len(names)]:
            apart = 0.0 if value is None else abs(value - 0.5) * 2
            warm = value is not None and value < 0.5
            cells.append((_cell(value, 3)[0], pages.shade(apart, warm)))
        rows.append({"name": name, "cells": cells})
    return rows
