"""Rules on how much there is of everything: rows, classes, groups."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.environment_validator import comparing
from components.environment_validator.checks import ERROR, WARN
from components.environment_validator.evidence import EVAL, OOD, TRAIN, Evidence
from components.environment_validator.findings import Asked, named, percent
from components.environment_validator.profiles import Profile

_MOST_NAMES = 5
_SHIFT = (
    "check that it means the same there: a penalty that matches outputs will fight over"
    " this difference unless it is conditional on the label"
)


def judge(evidence: Evidence, asked: Asked, label: str) -> None:
    """Examples, classes, the label's shares, and groups."""
    _examples(evidence, asked, label)
    _label_shift(evidence, asked)
    _groups(evidence.counts, asked)


def _examples(evidence: Evidence, asked: Asked, label: str) -> None:
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
            _label(evidence, profile, asked, label)


def _label(evidence: Evidence, profile: Profile, asked: Asked, label: str) -> None:
    """Whether there is something to learn of the label, and enough of it."""
    samples = evidence.sampled
    if samples.task == "regression":
        _varies(profile, label, asked)
    elif samples.task == "multiclass":
        _classes(profile, samples.classes, asked)
    else:
        negatives, positives = profile.sizes
        _none_of(["positive"] * (positives == 0), True, profile, asked)
        _none_of(["negative"] * (negatives == 0), True, profile, asked)
        _few_of("positive", positives, profile, asked)
        _few_of("negative", negatives, profile, asked)


def _classes(profile: Profile, names: Sequence[str], asked: Asked) -> None:
    """Of many classes not each need be everywhere, but two must."""
    sizes = dict(zip(names, profile.sizes, strict=True))
    gone = [f"{name!r}" for name, size in sizes.items() if not size]
    _none_of(gone, len(gone) > len(names) - 2, profile, asked)
    there = {name: size for name, size in sizes.items() if size}
    few = [name for name, size in there.items() if size < asked.bound("positives")]
    if not few:
        return
    rarest = min(few, key=lambda name: there[name])
    more = len(few) - 1
    also = f" (and of {more} more class{'es' * (more > 1)})" if more else ""
    _few_of(f"{rarest!r}{also}", there[rarest], profile, asked)


def _none_of(kinds: Sequence[str], alone: bool, profile: Profile, asked: Asked) -> None:
    if not kinds:
        return
    name, split, rows = profile.environment, profile.split, profile.rows
    what = "the label" if alone else "those" if len(kinds) > 1 else "that class"
    example = "example" if len(kinds) == 1 else "examples"
    asked.add(
        "label_support",
        [name],
        0,
        f"{name} has no {named(kinds, _MOST_NAMES)} {example} among {rows:,} in"
        f" {split}, so nothing of {what} can be learned or measured there; check how"
        " the label is made, or leave the environment out",
        split=split,
        at_most=ERROR if alone else WARN,
    )


def _few_of(kind: str, number: int, profile: Profile, asked: Asked) -> None:
    least = asked.bound("positives")
    if not 0 < number < least:
        return
    name, split = profile.environment, profile.split
    asked.add(
        "positives",
        [name],
        number,
        f"{name} has {number:,} {kind} examples in {split}, fewer than {least:,.0f},"
        f" too few for an interval; {_more(split)}",
        split=split,
    )


def _varies(profile: Profile, label: str, asked: Asked) -> None:
    values = profile.sample[label].to_numpy()
    if len(np.unique(values)) > 1:
        return
    name, split = profile.environment, profile.split
    asked.add(
        "label_support",
        [name],
        0,
        f"the label is {values[0]:g} in all of {name} in {split}, so nothing of it can"
        " be learned or measured there; check how it is made, or leave the environment"
        " out",
        split=split,
    )


def _more(split: str) -> str:
    if split == EVAL:
        return "add data, or raise data.split.eval"
    return "add data" if split == TRAIN else "add data, or hold another one out"


def _label_shift(evidence: Evidence, asked: Asked) -> None:
    profiles, samples = evidence.compared, evidence.sampled
    if len(profiles) < 2:
        return
    if samples.task == "regression":
        _number_shift(evidence, asked)
        return
    shares = np.array([p.sizes for p in profiles]) / [[p.rows] for p in profiles]
    if samples.task == "binary":
        shares = shares[:, 1:]
    apart = shares.max(axis=0) - shares.min(axis=0)
    k = int(np.argmax(apart))
    what = "positive" if samples.task == "binary" else samples.classes[k]
    high, low = int(np.argmax(shares[:, k])), int(np.argmin(shares[:, k]))
    most, least = profiles[high].environment, profiles[low].environment
    if apart[k] > asked.bound("label_shift"):
        asked.add(
            "label_shift",
            [most, least],
            float(apart[k]),
            f"the label is {what} in {percent(shares[high, k])} of {most} and"
            f" {percent(shares[low, k])} of {least}; {_SHIFT}",
        )


def _number_shift(evidence: Evidence, asked: Asked) -> None:
    labels, names = evidence.sampled.labels, evidence.sampled.environments
    apart, i, j = max(
        (comparing.wasserstein(labels[i], labels[j]), i, j)
        for i, j in itertools.combinations(range(len(names)), 2)
    )
    if apart > asked.bound("label_shift"):
        asked.add(
            "label_shift",
            [names[i], names[j]],
            apart,
            f"the label of {names[i]} (mean {labels[i].mean():.4g}) and {names[j]}"
            f" (mean {labels[j].mean():.4g}) is {apart:.2f} pooled deviations apart"
            f" (Wasserstein-1); {_SHIFT}",
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
