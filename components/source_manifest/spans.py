"""Spans and versions in the paths of a source: which files a run takes.

    data/{YYYY}-{MM}-{DD}/*.parquet        a span is a day
    s3://b/span-{SPAN}/v-{VERSION}/x.csv   a span is a number, and has versions

The words mean what they mean to TFX's ExampleGen; docs/sources.md lists what differs.
Nothing here touches a file system.
"""

import dataclasses
import datetime
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from components.errors import DataError

Span = int | str  # a number; or a day, as ISO text, which sorts as days do

_DATE = {"YYYY": 4, "MM": 2, "DD": 2}
_LEGAL = re.compile(r"\{(?:(YYYY|MM|DD)|(SPAN|VERSION)(?::([^}]*))?)\}")
_TOKEN = re.compile(
    r"(?P<set>\[!?\]?[^]/]*\])|(?P<spec>\{[^}]*\}?)|(?P<deep>\*\*/?)|(?P<one>\?)"
    r"|(?P<any>\*)|(?P<plain>.)",
    re.DOTALL,
)
_BELOW = "below"


@dataclasses.dataclass(frozen=True)
class Match:
    """A path that a pattern matches.

    Attributes:
      span: of the file.
      version: of the span; 0 where the pattern has none.
      span_text: the span as the path writes it.
      version_text: the version as the path writes it.
      below: rest of the path, where the pattern matches a folder above the file.
    """

    span: Span
    version: int
    span_text: str
    version_text: str
    below: str


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A path with spans.

    Attributes:
      text: as it was written.
      glob: matches every path that `match` may match.
      by_date: whether a span is a day.
      regex: a group for each of `{...}`, and one for what is below a folder.
    """

    text: str
    glob: str
    by_date: bool
    regex: re.Pattern[str]

    def match(self, path: str) -> Match | None:
        """Span and version of a path; None where it has none, or no such day."""
        found = self.regex.fullmatch(path)
        if found is None:
            return None
        part = found.groupdict()
        version = part.get("VERSION") or "0"
        span: Span
        if self.by_date:
            text = "-".join(part[name] for name in _DATE)
            try:
                span = datetime.date.fromisoformat(text).isoformat()
            except ValueError:
                return None
        else:
            text = part["SPAN"]
            span = int(text)
        return Match(span, int(version), text, version, part[_BELOW] or "")


def parse(text: str) -> Pattern | None:
    """A path with spans, None where it has none.

    Raises:
      ValueError: the braces say nothing; the sentence goes on after the key's name.
    """
    tokens = [(one.lastgroup, one.group()) for one in _TOKEN.finditer(text)]
    specs = [piece for kind, piece in tokens if kind == "spec"]
    if not specs:
        return None
    by_date = _check(specs)
    globs, regexes = [], []
    before = ""
    for kind, piece in tokens:
        glob, regex = _translated(str(kind), piece, before)
        globs.append(glob)
        regexes.append(regex)
        before = piece
    try:
        compiled = re.compile(f"{''.join(regexes)}(?:/(?P<{_BELOW}>.+))?", re.DOTALL)
    except re.error:
        raise ValueError(
            f"is {text!r}, of which a part in [...] is no set of characters; mend it,"
            " or write [[] for a bracket of the name itself"
        ) from None
    return Pattern(text, "".join(globs), by_date, compiled)


def _check(specs: list[str]) -> bool:
    """Whether a span is a day; refuses specs that do not go together."""
    names = [_name(spec) for spec in specs]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"holds {{{name}}} twice; each stands once, so write * for the second"
            )
    dates = [name for name in _DATE if name in names]
    if dates and "SPAN" in names:
        raise ValueError(
            f"holds {{SPAN}} beside {{{dates[0]}}}; a span is a number or a day, so"
            " remove one of them"
        )
    if dates and len(dates) < len(_DATE):
        missing = " and ".join(f"{{{name}}}" for name in _DATE if name not in names)
        raise ValueError(
            f"holds {{{dates[0]}}} without {missing}; a span by date is a day, so add"
            " what is missing"
        )
    if not dates and "SPAN" not in names:
        raise ValueError(
            "holds {VERSION} without a span; add {SPAN}, or {YYYY}, {MM} and {DD}, or"
            " write * for any version"
        )
    return bool(dates)


def _name(spec: str) -> str:
    legal = _LEGAL.fullmatch(spec)
    if legal is None:
        raise ValueError(
            f"holds {spec}; a path may hold {{SPAN}}, {{VERSION}}, {{YYYY}}, {{MM}} and"
            " {DD}, or a width as in {SPAN:2}, and [{] is a brace of the name itself"
        )
    width = legal[3]
    if width is not None and not re.fullmatch("[1-9][0-9]?", width):
        raise ValueError(
            f"holds {spec}, of which the width is no whole number from 1 to 99; write"
            f" {{{legal[2]}:2}} for two digits"
        )
    return legal[1] or legal[2]


def _translated(kind: str, piece: str, before: str) -> tuple[str, str]:
    """A token for the glob and for the regular expression.

    Args:
      kind: group of `_TOKEN`.
      piece: the token.
      before: the token before it.
    """
    if kind == "spec":
        return _digits(piece, before)
    if kind == "set":
        negated = piece.startswith("[!")
        inside = re.escape(piece[2 if negated else 1 : -1]).replace(r"\-", "-")
        return piece, f"(?!/)[{'^' * negated}{inside}]"
    wildcards = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return piece, wildcards.get(piece) or re.escape(piece)


def _digits(spec: str, before: str) -> tuple[str, str]:
    legal = _LEGAL.fullmatch(spec)
    assert legal is not None
    name = legal[1] or legal[2]
    width = _DATE.get(name) or int(legal[3] or 0)
    if width:
        return "[0-9]" * width, f"(?P<{name}>[0-9]{{{width}}})"
    if re.fullmatch(r"\{(SPAN|VERSION)\}", before):
        raise ValueError(
            f"holds {before}{spec} with nothing between them; give one a width, as in"
            f" {before[:-1]}:2}}"
        )
    # A wildcard before a number takes none of its digits.
    edge = "(?<![0-9])" if before.startswith("*") else ""
    return "[0-9]*", f"{edge}(?P<{name}>[0-9]+)"


def choose(spans: Iterable[Span], wanted: Mapping[str, Any]) -> list[Span]:
    """The spans to take, sorted.

    Of those from `from` to `to` the `skip` newest are left out, and of the others the
    `last` newest taken. Without any of `last`, `from` and `to`, `last` is 1.

    Args:
      spans: that are there.
      wanted: `last`, `skip`, `from` and `to`, each optional.
    """
    low, high, last = (wanted.get(key) for key in ("from", "to", "last"))
    if low is None and high is None and last is None:
        last = 1
    inside = sorted(
        span
        for span in set(spans)
        if (low is None or span >= low) and (high is None or span <= high)
    )
    inside = inside[: max(len(inside) - wanted.get("skip", 0), 0)]
    return inside if last is None else inside[-last:]


def up_to(
    sources: Iterable[Mapping[str, Any]], text: str | None
) -> list[dict[str, Any]]:
    """Sources whose newest span is another one, as a parameter of a run says it.

    Args:
      sources: entries of `listing`.
      text: a number or a day, the newest span of every source that has spans, and
        then none is skipped; empty or None leaves the sources as they are.

    Raises:
      DataError: it is neither, or no source has such spans.
    """
    entries = [dict(source) for source in sources]
    if not text:
        return entries
    to: Span
    try:
        by_date = not (text.isascii() and text.isdigit())
        to = datetime.date.fromisoformat(text).isoformat() if by_date else int(text)
    except ValueError as error:
        raise DataError(
            f"the parameter span is {text!r}; give the number of a span, such as 7, or"
            " a day, such as 2024-03-01"
        ) from error
    changed = 0
    for entry in entries:
        pattern = parse(entry["patterns"][0]) if "spans" in entry else None
        if pattern is not None and pattern.by_date == by_date:
            entry["spans"] = {"last": 1, **entry["spans"], "to": to, "skip": 0}
            changed += 1
    if not changed:
        kind = "days" if by_date else "numbers"
        raise DataError(
            f"the parameter span is {text!r}, and no source has spans that are {kind};"
            " leave it empty"
        )
    return entries


def newest(found: Mapping[str, Match], chosen: Collection[Span]) -> dict[str, Span]:
    """The files of the chosen spans' newest versions: path -> span.

    Args:
      found: path -> match, of one pattern.
      chosen: spans to take.

    Raises:
      DataError: a span or its newest version is written in two ways.
    """
    version: dict[Span, int] = {}
    for match in found.values():
        if match.span in chosen:
            version[match.span] = max(match.version, version.get(match.span, 0))
    written: dict[tuple[str, Span], tuple[str, str]] = {}
    taken = {}
    for path, match in sorted(found.items()):
        if match.span not in version:
            continue
        _once(written, "SPAN", match.span, match.span_text, path)
        if match.version == version[match.span]:
            _once(written, "VERSION", match.span, match.version_text, path)
            taken[path] = match.span
    return taken


def _once(
    written: dict[tuple[str, Span], tuple[str, str]],
    name: str,
    span: Span,
    text: str,
    path: str,
) -> None:
    first, where = written.setdefault((name, span), (text, path))
    if first != text:
        what = "span" if name == "SPAN" else f"version {int(text)} of span"
        raise DataError(
            f"{what} {span} is written both {first!r} and {text!r}, in {where} and in"
            f" {path}; remove one, or say how many digits count, as in"
            f" {{{name}:{len(first)}}}"
        )


def tell(spans: Iterable[Span], last: int | None = None) -> str:
    """`span 7`, `spans 3 to 9`, `5 spans from 3 to 9 (7 asked for)`; sorted.

    Args:
      spans: that are taken.
      last: how many were asked for.
    """
    found = sorted(set(spans))
    if not found:
        return ""
    first, end = found[0], found[-1]
    text = f"span {first}"
    if len(found) > 1:
        gaps = _number(end) - _number(first) + 1 > len(found)
        count = f"{len(found)} " if gaps else ""
        text = f"{count}spans {'from ' if gaps else ''}{first} to {end}"
    return text if last in (None, len(found)) else f"{text} ({last} asked for)"


def _number(span: Span) -> int:
    if isinstance(span, int):
        return span
    return datetime.date.fromisoformat(span).toordinal()
