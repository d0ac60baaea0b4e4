"""Which files the patterns of a source stand for.

A pattern that matches folders alone stands for all files in them and in their folders,
but those whose name begins with `_` or `.`. One with spans stands for the files of the
spans that are wanted.
"""

import urllib.parse
from collections.abc import Iterator
from typing import Any

from components import files
from components.errors import DataError
from components.source_manifest import spans
from components.source_manifest.spans import Span

_MISSING = "__HIVE_DEFAULT_PARTITION__"
# Path, its partitions as text (None is a missing value), its span.
Matches = Iterator[tuple[str, tuple[dict[str, str | None], Span | None]]]


class NoMatch(DataError):
    """A pattern that matches nothing."""

    def __init__(self, pattern: str, environment: str | None):
        super().__init__(
            f"{where(environment)}: no file matches {pattern!r}; check the path, which"
            " is relative to the config file"
        )
        self.pattern = pattern


class NoSpan(DataError):
    """A pattern of which no span is wanted.

    Attributes:
      sentence: goes on after the name of the key `spans`.
    """

    def __init__(self, sentence: str, environment: str | None):
        super().__init__(f"{where(environment)}: its key `spans` {sentence}")
        self.sentence = sentence


def where(environment: str | None) -> str:
    """An environment, or the source, as errors name it."""
    return f"environment {environment!r}" if environment else "the source"


def match(source: dict[str, Any]) -> Matches:
    """Path, partitions and span of each file, one pattern after the other.

    Args:
      source: see `listing`.

    Raises:
      NoMatch: a pattern matches nothing.
      NoSpan: no span of a pattern is wanted.
      DataError: a URL that cannot be listed, a span that is written in two ways.
    """
    return _of_spans(source) if "spans" in source else _of_patterns(source)


def _of_patterns(source: dict[str, Any]) -> Matches:
    for pattern in source["patterns"]:
        found = files.find(pattern) if not pattern.endswith("/") else []
        matched: dict[str, dict[str, str | None]] = {path: {} for path in found}
        for folder in [] if matched else _folders(pattern):
            for path in files.find_below(folder):
                below = _below(path, folder)
                if _is_visible(below):
                    matched[path] = _partitions(below)
        if not matched:
            raise NoMatch(pattern, source["environment"])
        for path, partitions in matched.items():
            yield path, (partitions, None)


def _of_spans(source: dict[str, Any]) -> Matches:
    """Of the spans that all patterns have together, those that are wanted."""
    matched = {text: _with_spans(text) for text in source["patterns"]}
    for text, found in matched.items():
        if not found:
            raise NoMatch(text, source["environment"])
    there = {match.span for found in matched.values() for match in found.values()}
    chosen = spans.choose(there, source["spans"])
    for text, found in matched.items():
        taken = spans.newest(found, chosen)
        if not taken:
            has = spans.tell(match.span for match in found.values())
            other = f", but {spans.tell(chosen)} of its other paths" if chosen else ""
            raise NoSpan(
                f"wants none of what matches {text!r}, which has {has}{other}; widen"
                " it, or wait for newer files",
                source["environment"],
            )
        for path, span in taken.items():
            yield path, (_partitions(found[path].below), span)


def _with_spans(text: str) -> dict[str, spans.Match]:
    pattern = spans.parse(text.rstrip("/"))
    if pattern is None:
        raise ValueError(f"the pattern {text!r} has no span, and its source `spans`")
    found = _matches(pattern, files.find(pattern.glob))
    whole = {path: match for path, match in found.items() if not match.below}
    if whole:
        return whole
    below = [p for one in _folders(pattern.glob) for p in files.find_below(one)]
    found = _matches(pattern, below)
    return {
        path: match
        for path, match in found.items()
        if match.below and _is_visible(match.below)
    }


def _matches(pattern: spans.Pattern, paths: list[str]) -> dict[str, spans.Match]:
    matched = {path: pattern.match(path) for path in paths}
    return {path: match for path, match in matched.items() if match is not None}


def _folders(pattern: str) -> list[str]:
    """Folders that match; a URL stands for itself."""
    if files.is_url(pattern):
        return [pattern.rstrip("/")]
    return files.find_folders(pattern)


def _below(path: str, folder: str) -> str:
    """The path within a folder, of which a URL's may hold wildcards."""
    if files.is_url(path):
        return path.split("/", folder.count("/") + 1)[-1]
    return path[len(folder) :].strip("/")


def _is_visible(below: str) -> bool:
    """Whether neither a file's name nor those of its folders hide it."""
    return not any(part.startswith(("_", ".")) for part in below.split("/"))


def _partitions(below: str) -> dict[str, str | None]:
    folders = below.split("/")[:-1]
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    texts = {urllib.parse.unquote(k): urllib.parse.unquote(v) for k, _, v in pairs}
    return {k: None if v in ("", _MISSING) else v for k, v in texts.items()}
