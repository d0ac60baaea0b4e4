"""Reads a config: YAML file, `--method`, `--set`, validation."""

import copy
import difflib
import os
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from pipeline import config_errors, plain_yaml
from pipeline.config import PipelineConfig
from pipeline.config_types import nearest
from pipeline.errors import ConfigError
from pipeline.plain_yaml import Document, Path
from trainer_module.methods import METHODS

MAX_BYTES = 1 << 20
_KEY_OF_METHODS = re.compile(r"\s*train\.methods\b")


def load_config(
    path: str, *, sets: Sequence[str] = (), method: str | None = None
) -> PipelineConfig:
    """Reads and validates a config.

    Args:
      path: of the YAML.
      sets: `a.b=value` each, the value in YAML; applied last, in order, but for
        those of `train.methods`, from which `method` takes what it needs.
      method: trains with this method instead: `train.method` becomes it, what
        `train.methods` has under its name is laid over `train`, and the options of the
        method that it replaces are dropped.

    Raises:
      ConfigError: anything wrong, in one sentence.
    """
    document = plain_yaml.parse(_read(path), path)
    if document.data is None:
        raise ConfigError(f"{path}: is empty; write a config (see `tfx-irm --help`)")
    if not isinstance(document.data, dict):
        found = "a list" if isinstance(document.data, list) else "one value"
        raise ConfigError(
            f"{path}, line 1: holds {found}; a config is keys with values, beginning"
            " with `name: ...`"
        )
    origins: dict[Path, str] = {}
    for_methods = [text for text in sets if _KEY_OF_METHODS.match(text)]
    for text in for_methods:
        _set(document, text, origins)
    if method is not None:
        _use_method(document, method, origins)
    for text in sets:
        if text not in for_methods:
            _set(document, text, origins)
    return _validate(document, origins)


def _validate(document: Document, origins: dict[Path, str]) -> PipelineConfig:
    folder = os.path.dirname(os.path.abspath(document.source))
    try:
        config = PipelineConfig.model_validate(
            document.data, context={"folder": folder}
        )
    except ValidationError as error:
        said = config_errors.sentence(error, document, origins)
        raise ConfigError(said) from error
    config._file = document.source
    config._lines, config._origins = document.lines, origins
    return config


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        shown = path or "''"
        mend = _mend_path(path)
        raise ConfigError(f"{shown}: there is no such file{mend}") from error
    except IsADirectoryError as error:
        inside = _yamls(path)
        mend = f"name the config in it: {', '.join(inside[:3])}"
        mend = mend if inside else "name a YAML file"
        raise ConfigError(f"{path}: is a folder; {mend}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{path!r}: cannot be read ({reason}); check the path and its permissions"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{path}: is larger than {MAX_BYTES:,} bytes; a config is far smaller, so"
            " this is another file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: is not UTF-8 (byte 0x{content[error.start]:02x});"
            " save the file as UTF-8"
        ) from error


def _yamls(folder: str) -> list[str]:
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return []
    return sorted(name for name in names if name.endswith((".yaml", ".yml")))


def _mend_path(path: str) -> str:
    folder, name = os.path.split(path)
    if folder and not os.path.isdir(folder):
        return f", nor the folder {folder}; check the path"
    known = _yamls(folder)
    near = difflib.get_close_matches(name, known, n=1) or known[:1]
    if near:
        return f"; did you mean {os.path.join(folder, near[0])}?"
    return "; check the path"


def _use_method(document: Document, method: str, origins: dict[Path, str]) -> None:
    if method not in METHODS:
        raise ConfigError(
            f"--method is {method!r}, which is no method{nearest(method, METHODS)}"
        )
    train = document.data.get("train")
    train = {} if train is None else train
    if not isinstance(train, dict):
        return  # validation says so
    changes = train.get("methods")
    changes = changes.get(method) if isinstance(changes, dict) else None
    if train.get("method") != method:
        train.pop("options", None)
    train["method"] = method
    origins[("train", "method")] = f"--method {method}"
    if isinstance(changes, dict):
        _lay_over(document, ("train",), train, ("train", "methods", method), changes)
    document.data["train"] = train


def _lay_over(
    document: Document,
    path: Path,
    base: dict[str, Any],
    changes_path: Path,
    changes: dict[str, Any],
) -> None:
    """Lays changes over a section, with the lines that they stand in."""
    for key, value in changes.items():
        here, there = (*path, key), (*changes_path, key)
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _lay_over(document, here, base[key], there, value)
            continue
        base[key] = copy.deepcopy(value)
        for known in list(document.lines):
            if known[: len(there)] == there:
                moved = (*here, *known[len(there) :])
                document.lines[moved] = document.lines[known]


def _set(document: Document, text: str, origins: dict[Path, str]) -> None:
    """Applies one `a.b=value`; an index names the item of a list."""
    shown = f"--set {text}"
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{shown}: expected KEY=VALUE, such as train.steps=100")
    parsed = plain_yaml.parse(value, shown, numbered=False).data
    at: Any = document.data
    path: Path = ()
    for i, part in enumerate(parts):
        index = _index(at, part, shown, path)
        path = (*path, index)
        if i == len(parts) - 1:
            at[index] = parsed
        else:
            if isinstance(at, dict) and at.get(index) is None:
                at[index] = {}
            at = at[index]
    origins[path] = shown


def _index(at: Any, part: str, shown: str, path: Path) -> str | int:
    dotted = ".".join(map(str, path))
    if isinstance(at, dict):
        return part
    if isinstance(at, list):
        if part.isascii() and part.isdigit() and int(part) < len(at):
            return int(part)
        raise ConfigError(
            f"{shown}: {dotted} is a list of {len(at)}, so {part!r} is none of its"
            f" items; give an index below {len(at)}, or the whole list"
        )
    raise ConfigError(
        f"{shown}: {dotted} is a plain value, which has no key {part!r}; set {dotted}"
        " itself"
    )
