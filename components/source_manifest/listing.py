"""Lists the files of every source and fingerprints their content.

A source is one entry of the config's `data.environments`, as plain JSON:

    {"environment": "EWR",            # None where a column tells the environment
     "format": "parquet",             # parquet | csv | tfrecord | jsonl | avro
     "patterns": ["/data/EWR*.parquet"],
     "options": {},                   # how a CSV is written, see `csv_files`
     "held_out": false}

A pattern that matches folders alone stands for all files in them and in their folders,
but those whose name begins with `_` or `.`; folders named `key=value` in them (as Hive
writes them) are columns of the files that they hold.
"""

import dataclasses
import hashlib
import json
import urllib.parse
from typing import Any

from components import files
from components.errors import DataError

FORMATS = ("parquet", "csv", "tfrecord", "jsonl", "avro")
PARTITIONS = "partitions"  # key of the options: column -> value, of one file
_MISSING = "__HIVE_DEFAULT_PARTITION__"
_CHUNK = 1 << 20


class NoMatch(DataError):
    """A pattern that matches nothing."""

    def __init__(self, pattern: str, environment: str | None):
        where = f"environment {environment!r}" if environment else "the source"
        super().__init__(
            f"{where}: no file matches {pattern!r}; check the path, which is relative"
            " to the config file"
        )
        self.pattern = pattern


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
      environment: name of the environment, None where a column tells it.
      format: one of `FORMATS`.
      path: where the file lies; a path, or a URL of one of Beam's filesystems.
      size: bytes.
      digest: BLAKE2b of the content, 32 hexadecimal digits; of a URL, the checksum or
        generation that its filesystem keeps.
      version: see `files.Stat`; no part of the fingerprint.
      held_out: True where the Trainer must never see the file.
      options: how a CSV is written; `PARTITIONS`.
    """

    environment: str | None
    format: str
    path: str
    size: int
    digest: str
    version: str
    held_out: bool
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def list_files(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that match a source's patterns: path -> options, sorted.

    Raises:
      NoMatch: a pattern matches nothing.
      DataError: a URL that cannot be listed.
    """
    found: dict[str, dict[str, str | None]] = {}
    for pattern in source["patterns"]:
        matched = _matches(pattern)
        if not matched:
            raise NoMatch(pattern, source["environment"])
        for path, partitions in matched.items():
            found[path] = partitions or found.get(path, {})
    whole = {name for partitions in found.values() for name in partitions}
    for name in whole:
        values = [partitions.get(name) for partitions in found.values()]
        if not all(value is None or _is_integer(value) for value in values):
            whole = whole - {name}
    options = source.get("options", {})
    return {
        path: {**options, PARTITIONS: _typed(found[path], whole)}
        if found[path]
        else options
        for path in sorted(found)
    }


def _matches(pattern: str) -> dict[str, dict[str, str | None]]:
    """Path -> partitions, as text; None is a missing value."""
    if files.is_url(pattern):
        matched = [] if pattern.endswith("/") else files.find(pattern)
        folders = [] if matched else [pattern.rstrip("/")]
    else:
        matched = files.find(pattern)
        folders = [] if matched else files.find_folders(pattern)
    found: dict[str, dict[str, str | None]] = {path: {} for path in matched}
    for folder in folders:
        for path in files.find_below(folder):
            parts = path[len(folder) :].strip("/").split("/")
            if not any(part.startswith(("_", ".")) for part in parts):
                found[path] = _partitions(parts[:-1])
    return found


def _partitions(folders: list[str]) -> dict[str, str | None]:
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    texts = {urllib.parse.unquote(k): urllib.parse.unquote(v) for k, _, v in pairs}
    return {k: None if v in ("", _MISSING) else v for k, v in texts.items()}


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def _typed(partitions: dict[str, str | None], whole: set[str]) -> dict[str, Any]:
    return {
        name: int(value) if name in whole and value is not None else value
        for name, value in partitions.items()
    }


def build_manifest(sources: list[dict[str, Any]]) -> list[SourceFile]:
    """Every file of every source, with size and digest.

    Args:
      sources: JSON entries as described above.

    Returns:
      The files in the order of the sources, sorted by path within each.

    Raises:
      DataError: a pattern matches nothing, or a file cannot be read.
    """
    found = []
    for source in sources:
        for path, options in list_files(source).items():
            stat = _stat(path, source["environment"])
            found.append(
                SourceFile(
                    environment=source["environment"],
                    format=source["format"],
                    path=path,
                    size=stat.size,
                    digest=_digest(path, stat, source["environment"]),
                    version=stat.version,
                    held_out=source["held_out"],
                    options=options,
                )
            )
    return found


def check_unchanged(file: SourceFile) -> None:
    """Refuses a file that is no longer what was listed.

    Raises:
      DataError: it is gone, or other bytes.
    """
    try:
        now = files.stat(file.path)
        same = now.size == file.size and (
            now.version == file.version
            or _digest(file.path, now, file.environment) == file.digest
        )
    except OSError:
        raise DataError(
            f"{file.path} was there when the sources were listed, and cannot be found"
            " any more; run again when nobody moves files there"
        ) from None
    if not same:
        raise DataError(
            f"{file.path} has changed since the sources were listed; run again when it"
            " is written to its end"
        )


def fingerprint(files: list[SourceFile]) -> str:
    """One digest over what was listed: changes when the content of a file does."""
    same = [dataclasses.replace(file, version="") for file in files]
    return hashlib.blake2b(to_json(same).encode(), digest_size=16).hexdigest()


def to_json(files: list[SourceFile]) -> str:
    """The manifest as JSON text, stable for the same files."""
    return json.dumps([dataclasses.asdict(f) for f in files], indent=1, sort_keys=True)


def from_json(text: str) -> list[SourceFile]:
    """The inverse of `to_json`."""
    return [SourceFile(**entry) for entry in json.loads(text)]


def _stat(path: str, environment: str | None) -> files.Stat:
    try:
        return files.stat(path)
    except OSError as error:
        raise _unreadable(path, environment, error) from error


def _digest(path: str, stat: files.Stat, environment: str | None) -> str:
    if files.is_url(path):
        return stat.version
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise _unreadable(path, environment, error) from error
    return digest.hexdigest()


def _unreadable(path: str, environment: str | None, error: OSError) -> DataError:
    where = f"environment {environment!r}" if environment else "the source"
    return DataError(
        f"{where}: {path} cannot be read ({error.strerror or error}); check its"
        " permissions"
    )
