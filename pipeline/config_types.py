"""Building blocks of the config's sections: columns, paths, lists, problems.

Relative paths become absolute by the `folder` in the validation context: that of the
config file, or the working folder where there is none.
"""

import difflib
import glob
import os
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from components.source_manifest import spans


class Section(BaseModel):
    """A part of the config: typed, frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        defer_build=True,  # what is nested in another is built with that alone
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        strict=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, data: Any) -> Any:
        """A section of which everything is commented out says nothing."""
        return {} if data is None else data


def problem(path: Iterable[str | int], text: str) -> PydanticCustomError:
    """An error at a key below the section that raises it.

    Args:
      path: from the section to the key.
      text: goes on after the dotted key: "is 5; ...".
    """
    return PydanticCustomError("at", "{text}", {"text": text, "path": list(path)})


def short(value: Any) -> str:
    """A value as errors show it: one line, not long."""
    if value is None or value in ([], {}):
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"a section ({', '.join(map(str, list(value)[:3]))}, ...)"[:60]
    text = ascii(value) if not str(value).isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: Any, legal: Iterable[str]) -> str:
    """`; did you mean 'steps'?`, or the legal names where none is near."""
    names = sorted(legal)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; legal are {', '.join(names) or 'none'}"


def as_tuple(value: Any) -> Any:
    """One value or a list of them as a tuple; nothing as an empty one."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _column_names(value: Any) -> Any:
    if isinstance(value, str) and ", " in value:
        raise ValueError(f"is {short(value)}; write a list: [{value}]")
    return as_tuple(value)


def crosses(value: Any) -> Any:
    """`carrier`, `[carrier, [environment, carrier]]` as a tuple of tuples.

    Raises:
      PydanticCustomError: a cross is empty, names a feature twice, or is there twice.
    """
    value = as_tuple(value)
    if not isinstance(value, tuple):
        return value
    items: list[tuple[str, ...]] = []
    for i, given in enumerate(value):
        item = None if given is None else as_tuple(given)
        if not isinstance(item, tuple) or not all(isinstance(f, str) for f in item):
            raise problem(
                [i], f"is {short(given)}; name a column, or a list of some to cross"
            )
        if not item or len(set(item)) < len(item):
            raise problem(
                [i], f"is {list(item)}; a cross names different features, each once"
            )
        if set(item) in [set(other) for other in items]:
            raise problem([i], f"is {' x '.join(item)} again; remove it")
        items.append(item)
    return tuple(items)


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise problem([i], f"is {value!r}, which the list has already; remove it")
    return values


def _no_comma(name: str) -> str:
    if not name.strip():
        raise ValueError("is empty; give the environment a name")
    if "," in name or "=" in name or not name.isprintable():
        raise ValueError(
            f"is {name!r}; the name of an environment holds no comma, no equals sign"
            " and no line break (slices are named environment=NAME,...)"
        )
    return name


def _number_as_text(value: Any) -> Any:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_int else value


def _environment_names(value: Any) -> Any:
    value = as_tuple([value] if isinstance(value, int) else value)
    return tuple(map(_number_as_text, value)) if isinstance(value, tuple) else value


def local_path(text: str) -> None:
    """Refuses an address where a path on this machine is needed."""
    if "://" in text:
        raise ValueError(
            f"is {text!r}, a remote address; only sources and push.path may be one, so"
            " give a path of this machine"
        )
    if not text.isprintable() or not text.strip():
        raise ValueError(f"is {text!r}; give a path")


def _folder(info: ValidationInfo) -> str:
    return (info.context or {}).get("folder") or os.getcwd()


def _absolute(text: str, info: ValidationInfo) -> str:
    local_path(text)
    path = os.path.join(_folder(info), os.path.expanduser(text))
    return os.path.normpath(path)


def _served(text: str, info: ValidationInfo) -> str:
    if "://" not in text:
        return _absolute(text, info)
    scheme, _, rest = text.partition("://")
    if not scheme.isalnum() or scheme.lower() in ("file", "http", "https"):
        raise ValueError(
            f"is {text!r}; give a folder of this machine, or a URL that TensorFlow"
            " reads and writes, such as gs://bucket/serving"
        )
    parts = rest.rstrip("/").split("/")
    if not text.isprintable() or not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"is {text!r}; give a URL such as gs://bucket/serving")
    return text.rstrip("/")


def _absolute_or_bucket(text: str, info: ValidationInfo) -> str:
    return text if re.match(r"(gs|s3)://\S", text) else _absolute(text, info)


def escaped(folder: str) -> str:
    """A folder as a pattern, of which the name may hold wildcards or braces."""
    return glob.escape(folder).replace("{", "[{]")


def _patterns(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError(
            f"is {short(value)}; write a path, in quotes where it holds braces:"
            ' "data/{SPAN}/*"'
        )
    return as_tuple(value)


def _absolute_pattern(text: str, info: ValidationInfo) -> str:
    spans.parse(text)  # for its errors, before the folder is put before it
    if "://" in text:
        return _url(text)
    local_path(text)
    folder = escaped(_folder(info))
    return os.path.normpath(os.path.join(folder, os.path.expanduser(text)))


def _url(text: str) -> str:
    scheme = text.partition("://")[0]
    if not scheme.isalnum() or scheme.lower() in ("file", "http", "https"):
        raise ValueError(
            f"is {text!r}; sources are paths, or URLs of Beam's filesystems, such as"
            " gs://bucket/file or s3://bucket/file"
        )
    if not text.isprintable():
        raise ValueError(f"is {text!r}; give a URL")
    return text


Column = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Columns = Annotated[
    tuple[Column, ...],
    BeforeValidator(_column_names, json_schema_input_type=Column | list[Column] | None),
    AfterValidator(_once),
]
EnvironmentName = Annotated[str, AfterValidator(_no_comma)]
EnvironmentNames = Annotated[
    tuple[EnvironmentName, ...],
    BeforeValidator(
        _environment_names,
        json_schema_input_type=str | int | list[str | int] | None,
    ),
    AfterValidator(_once),
]
LocalPath = Annotated[str, AfterValidator(_absolute)]
ServingPath = Annotated[str, AfterValidator(_served)]
PathOrBucket = Annotated[str, AfterValidator(_absolute_or_bucket)]
Patterns = Annotated[
    tuple[Annotated[str, AfterValidator(_absolute_pattern)], ...],
    BeforeValidator(_patterns, json_schema_input_type=str | list[str]),
    AfterValidator(_once),
]
