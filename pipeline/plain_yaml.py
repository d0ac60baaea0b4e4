"""YAML of plain values only, with the line of every key.

The text is read as a stream of events, so nothing is ever built from a tag, nesting
and the expansion of aliases are bounded, and a key given twice is noticed. Scalars
resolve as in YAML 1.2: `no`, `on` and `1:30` are text, `1e-3` is a number. Keys are
always text, as written.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from pipeline.errors import ConfigError

Path = tuple[str | int, ...]

MAX_DEPTH = 20
MAX_NODES = 100_000
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep; a config is far flatter"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE = "<<"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    text: value
    for value in (True, False)
    for text in (str(value), str(value).lower(), str(value).upper())
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,300})")
_FLOAT = re.compile(
    r"[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)"
)
_SPEC = re.compile(r"\{(SPAN|VERSION|YYYY|MM|DD)(:\w*)?\}")  # of a path
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclasses.dataclass
class Document:
    """A parsed text.

    Attributes:
      source: what errors call it: the path as the user gave it.
      data: plain values: dict, list, str, int, float, bool, None.
      lines: path of a key or list item -> its line, counted from 1.
    """

    source: str
    data: Any
    lines: dict[Path, int]


def parse(text: str, source: str, numbered: bool = True) -> Document:
    """Parses one YAML document.

    Args:
      text: the YAML.
      source: its name, for errors.
      numbered: whether errors name the line.

    Raises:
      ConfigError: not YAML, or more than plain values; names source and line.
    """
    where = (lambda line: f"{source}, line {line}") if numbered else (lambda _: source)
    builder = _Builder(where, text)
    try:
        return Document(source, builder.document(), builder.lines)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_not_yaml(error, where, text)) from error
    except yaml.reader.ReaderError as error:
        code = error.character
        code = code if isinstance(code, int) else ord(code)
        line = text.count("\n", 0, max(text.find(chr(code)), 0)) + 1
        raise ConfigError(
            f"{where(line)}: holds the character U+{code:04X}, which YAML does"
            " not allow; remove it"
        ) from error


def scalar(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


class _Builder:
    """Builds plain values from a stream of events."""

    def __init__(self, where: Callable[[int], str], text: str):
        self._where = where
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self.lines: dict[Path, int] = {}

    def document(self) -> Any:
        """The only document, None where there is none."""
        next(self._events)  # start of stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._node(next(self._events), ())
        next(self._events)  # end of document
        following = next(self._events)
        if not isinstance(following, yaml.StreamEndEvent):
            raise self._error(
                following,
                "a second document begins (`---`); a config is one document",
            )
        return value

    def _error(self, event: Any, text: str) -> ConfigError:
        return ConfigError(f"{self._where(_line(event))}: {text}")

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._error(
                event,
                f"the text grows to more than {MAX_NODES:,} values (aliases that"
                " repeat aliases?); a config is far smaller",
            )

    def _node(self, event: Any, path: Path) -> Any:
        self._check_depth(event, len(path))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, len(path))
        self._count(event, 1)
        before = self._nodes
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        else:
            if event.tag is not None:
                raise self._tag(event)
            is_map = isinstance(event, yaml.MappingStartEvent)
            value = self._mapping(path) if is_map else self._sequence(path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1 + self._nodes - before)
        return value

    def _check_depth(self, event: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, _TOO_DEEP)

    def _alias(self, event: Any, depth: int) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(
                event,
                f"the alias *{event.anchor} has no anchor &{event.anchor} before it;"
                " define it first, or quote the text",
            )
        value, nodes = self._anchors[event.anchor]
        self._count(event, nodes)
        self._check_depth(event, depth + _depth(value))
        return copy.deepcopy(value)

    def _scalar(self, event: Any) -> Any:
        plain, quoted = event.implicit
        if plain:
            return scalar(event.value)
        if not quoted and event.tag != _TEXT_TAG:
            raise self._tag(event)
        return event.value

    def _tag(self, event: Any) -> ConfigError:
        short = event.tag.replace("tag:yaml.org,2002:", "!!")
        return self._error(
            event,
            f"the tag {short} would build an object, and a config holds plain values"
            " only; remove the tag",
        )

    def _sequence(self, path: Path) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            here = (*path, len(values))
            self.lines[here] = _line(event)
            values.append(self._node(event, here))
        return values

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            here = (*path, key)
            if key in values:
                raise self._error(
                    event,
                    f"the key {key!r} is there twice (first in line"
                    f" {self.lines[here]}); remove one",
                )
            if key == _MERGE and event.style not in ("'", '"'):
                merged.update(self._merge(event, path, merged))
                continue
            self.lines[here] = _line(event)
            values[key] = self._node(next(self._events), here)
        return {**{k: v for k, v in merged.items() if k not in values}, **values}

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.ScalarEvent):
            plain, quoted = event.implicit
            if not plain and not quoted and event.tag != _TEXT_TAG:
                raise self._tag(event)
            self._count(event, 1)
            if event.value:
                return event.value
        raise self._error(event, "a key is empty or not plain text; name it")

    def _merge(self, key: Any, path: Path, known: dict[str, Any]) -> dict[str, Any]:
        """What `<<:` brings in: keys of one mapping, or of several, first come."""
        value = self._node(next(self._events), (*path, _MERGE))
        result: dict[str, Any] = {}
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, dict):
                raise self._error(key, "`<<:` takes the alias of a mapping")
            for name, entry in part.items():
                if name not in known:
                    result.setdefault(name, entry)
                    self.lines.setdefault((*path, name), _line(key))
        return result


def _line(event: Any) -> int:
    return event.start_mark.line + 1


def _depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, parts), default=0)


def _not_yaml(
    error: yaml.MarkedYAMLError, where: Callable[[int], str], text: str
) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    said = " ".join((error.problem or error.context or "unreadable").split())
    if "nesting depth" in said:  # newer libyaml has a limit of its own
        return f"{where(line)}: {_TOO_DEEP}"
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    if re.match(r"\s*\t", shown):
        said, mend = "a tab indents it", "indent with spaces"
    elif spec := _SPEC.search(re.sub("'[^']*'|\"[^\"]*\"", "", shown)):
        mend = (
            f"quote the path that holds {spec.group()}, for YAML reads braces as keys"
        )
    elif "end of stream" in said or "did not find expected" in said:
        mend = "close what was opened above it (a quote, a bracket), or mend the indent"
    else:
        mend = "mend the indent, quote text that holds `: ` or begins with a symbol"
    return f"{where(line)}: not YAML: {said}; {mend}"
