"""Rules on how much there is of everything: rows, classes, groups."""

import json
from collections.abc import Mapping
from typing import Any

from components.environment_validator.evidence import EVAL, OOD, TRAIN, Evidence
from components.environment_validator.findings import Asked, named, percent

_MOST_NAMES = 5


def judge(evidence: Evidence, asked: Asked) -> None:
    """Examples, classes, the label's share, and groups."""
    _examples(evidence, asked)
    _label_shift(evidence, asked)
    _groups(evidence.counts, asked)


def _examples(evidence: Evidence, asked: Asked) -> None:
    found = {(p.split, p.environment): p for p in evidence.profiles}
    for split, name in evidence.expected:
        profile = found.get((split, name))
        rows = profile.rows if profile else 0
        least = asked.bound("examples")
        if rows < least:
            asked.add(
                "examples",
                [name],
                rows,
                f"{name} has {rows:,} examples in {split}, fewer than {least:,.0f};"
                f" {_more(split)}",
                split=split,
            )
        if profile is not None:
            _classes(name, split, rows, profile.positives, asked)


def _classes(name: str, split: str, rows: int, positives: int, asked: Asked) -> None:
    least = asked.bound("positives")
    for kind, number in (("positive", positives), ("negative", rows - positives)):
        if number == 0:
            asked.add(
                "label_support",
                [name],
                0,
                f"{name} has no {kind} example among {rows:,} in {split}, so nothing of"
                " the label can be learned or measured there; check how the label is"
                " made, or leave the environment out",
                split=split,
            )
        elif number < least:
            asked.add(
                "positives",
                [name],
                number,
                f"{name} has {number:,} {kind} examples in {split}, fewer than"
                f" {least:,.0f}, too few for an interval; {_more(split)}",
                split=split,
            )


def _more(split: str) -> str:
    if split == EVAL:
        return "add data, or raise data.split.eval"
    return "add data" if split == TRAIN else "add data, or hold another one out"


def _label_shift(evidence: Evidence, asked: Asked) -> None:
    shares = [(p.positives / p.rows, p.environment) for p in evidence.compared]
    if len(shares) < 2:
        return
    (low, least), (high, most) = min(shares), max(shares)
    if high - low > asked.bound("label_shift"):
        asked.add(
            "label_shift",
            [most, least],
            high - low,
            f"the label is positive in {percent(high)} of {most} and {percent(low)} of"
            f" {least}; check that it means the same there: a penalty that matches"
            " outputs will fight over this difference unless it is conditional on the"
            " label",
        )


def _groups(counts: Mapping[str, Any], asked: Asked) -> None:
    least = asked.bound("groups")
    for split in (EVAL, OOD):
        for key, values in sorted(counts.get("slices", {}).get(split, {}).items()):
            small = [(n, v) for v, n in values if n < least]
            if not small:
                continue
            features = " x ".join(json.loads(key))
            shown = [
                f"{' x '.join(map(str, v))} ({n:,})" for n, v in sorted(small, key=str)
            ]
            asked.add(
                "groups",
                [],
                len(small),
                f"{len(small)} of {len(values)} values of {features} have fewer than"
                f" {least:,.0f} examples in {split} and are judged together as `other`:"
                f" {named(shown, _MOST_NAMES)}",
                feature=features,
                split=split,
            )
