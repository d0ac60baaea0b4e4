"""Validation errors as one sentence: file, line, key, what was found, the mend."""

import difflib
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config import PipelineConfig
from pipeline.config_types import nearest, short
from pipeline.plain_yaml import Document, Path

# As pydantic names the forms of a union; no key has such a name.
_TAGS = frozenset(
    {
        *("<column>", "<inferred>", "<named>"),
        *("<share>", "<values>", "<each>", "<names>"),
    }
)
_MOST_PLACES = 3  # more are no help


def sentence(
    error: ValidationError, document: Document, origins: dict[Path, str]
) -> str:
    """The first problem in one sentence, and how many more there are.

    Args:
      error: of `PipelineConfig.model_validate(document.data)`.
      document: what was validated, with its lines.
      origins: path -> the argument (`--set a.b=c`) that put a value there.
    """
    found = [_Problem(entry, document) for entry in error.errors(include_url=False)]
    # A misspelt key explains what is missing because of it.
    found.sort(key=lambda p: (p.type != "extra_forbidden", p.line))
    first = found[0]
    place = next(
        (
            f"{document.source} with {text}"
            for path, text in origins.items()
            if path == first.path[: len(path)]
        ),
        f"{document.source}, line {first.line}" if first.line else document.source,
    )
    more = len(found) - 1
    count = f" ({more} more problem{'s' * (more > 1)} after this one)" if more else ""
    return f"{place}: {first.text}{count}"


class _Problem:
    """One of pydantic's errors, seen from the YAML.

    Attributes:
      type: pydantic's name of the error.
      path: keys and indices, as far as the YAML has them.
      line: of the key, or of the nearest one above it; 0 where there is none.
      text: the sentence without its place.
    """

    def __init__(self, error: Any, document: Document):
        self.type: str = error["type"]
        loc = _without_tags(error["loc"])
        self._context: dict[str, Any] = error.get("ctx") or {}
        if self.type == "at":
            loc = (*loc, *self._context["path"])
        self._wanted = loc
        self.path, self._input = _in_document(loc, document.data)
        if self.type == "missing":
            self.path = loc
        self.line = _line(self.path, document)
        self.text = self._tell(error)

    @property
    def _key(self) -> str:
        return ".".join(map(str, self.path)) or "the config"

    def _tell(self, error: Any) -> str:
        if self.type in ("at", "value_error"):
            fragment = self._context.get("text") or str(self._context.get("error"))
            return f"{self._key} {fragment}"
        if self.type == "extra_forbidden":
            return f"{self._key} is an unknown key{_mend_key(self._wanted)}"
        if self.type == "missing":
            return f"{self._key} is missing; add it{_example(self._wanted)}"
        expected = _EXPECTED.get(self.type, lambda _context, _value: error["msg"])
        return (
            f"{self._key} is {short(self._input)};"
            f" {expected(self._context, self._input)}{self._hint()}"
        )

    def _hint(self) -> str:
        if self.type in ("dict_type", "model_type"):
            return _example(self._wanted)
        return ""


def _literal(context: dict[str, Any], value: Any) -> str:
    legal = [part.strip("' ") for part in context["expected"].split(" or ")]
    legal = [name.strip("' ") for part in legal for name in part.split(",")]
    near = difflib.get_close_matches(str(value), legal, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"legal are {', '.join(legal)}{hint}"


def _whole(_context: dict[str, Any], value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return f"write it as a whole number: {int(value)}"
    return "expected a whole number"


def _text(_context: dict[str, Any], value: Any) -> str:
    if isinstance(value, int | float):
        return f"expected text, so quote it: '{short(value)}'"
    return "expected text"


_EXPECTED: dict[str, Callable[[dict[str, Any], Any], str]] = {
    "bool_type": lambda c, v: "write true or false",
    "dict_type": lambda c, v: "expected keys with values",
    "finite_number": lambda c, v: "expected a finite number",
    "float_type": lambda c, v: "expected a number",
    "greater_than": lambda c, v: f"it must be above {c['gt']:g}",
    "greater_than_equal": lambda c, v: f"it must be at least {c['ge']:g}",
    "int_from_float": _whole,
    "int_type": _whole,
    "less_than": lambda c, v: f"it must be below {c['lt']:g}",
    "less_than_equal": lambda c, v: f"it must be at most {c['le']:,}",
    "literal_error": _literal,
    "model_type": lambda c, v: "expected keys with values",
    "string_too_short": lambda c, v: "give it a name",
    "string_type": _text,
    "too_short": lambda c, v: "name at least one",
    "tuple_type": lambda c, v: "expected a list",
}


def _without_tags(loc: tuple[str | int, ...]) -> Path:
    """Pydantic's path without what the YAML does not have."""
    return tuple(part for part in loc if part != "[key]" and part not in _TAGS)


def _in_document(loc: Path, data: Any) -> tuple[Path, Any]:
    """The part of a path that the data has, and what is there.

    Where the YAML has one item in place of a list of one, its index is left out.
    """
    path: Path = ()
    for part in loc:
        if part == 0 and isinstance(data, dict) and 0 not in data:
            continue
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if not is_item and not (isinstance(data, dict) and part in data):
            break
        data = data[part]
        path = (*path, part)
    return path, data


def _line(path: Path, document: Document) -> int:
    while path and path not in document.lines:
        path = path[:-1]
    return document.lines.get(path, 0)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a field may hold, itself or as an item."""
    origin = typing.get_origin(annotation)
    if origin is None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
    elif origin in (typing.Annotated, typing.Union, types.UnionType, dict, tuple):
        for part in typing.get_args(annotation):
            yield from _models(part)


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {f.alias or name: f for name, f in model.model_fields.items()}


def _sections_at(loc: Path) -> list[type[BaseModel]]:
    """The sections that may stand at a path; keys of dicts and indices are skipped."""
    at: list[type[BaseModel]] = [PipelineConfig]
    for part in loc:
        fields = [_fields(model)[part] for model in at if part in _fields(model)]
        if fields:
            at = [m for field in fields for m in _models(field.annotation)]
    return at


def _every_key() -> list[Path]:
    """Every dotted key of the config, without those below free names."""
    keys: list[Path] = []

    def walk(model: type[BaseModel], path: Path) -> None:
        for name, field in _fields(model).items():
            keys.append((*path, name))
            if typing.get_origin(field.annotation) not in (dict, typing.Union, tuple):
                for part in _models(field.annotation):
                    walk(part, (*path, name))

    walk(PipelineConfig, ())
    return keys


def _mend_key(loc: Path) -> str:
    key = str(loc[-1])
    legal = {name for model in _sections_at(loc[:-1]) for name in _fields(model)}
    if not difflib.get_close_matches(key, legal, n=1, cutoff=0.6):
        elsewhere = [".".join(map(str, p)) for p in _every_key() if p[-1] == key]
        if 0 < len(elsewhere) <= _MOST_PLACES:
            return f"; it belongs to {' or '.join(elsewhere)}"
    return nearest(key, legal)


def _example(loc: Path) -> str:
    for model in _sections_at(loc[:-1]):
        field = _fields(model).get(str(loc[-1])) if loc else None
        if field is not None and field.examples:
            return f", for example `{loc[-1]}: {field.examples[0]}`"
    return ""
