"""Lists the files of every source and fingerprints their content.

A source is one entry of the config's `data.environments`, as plain JSON:

    {"environment": "EWR",            # None where a column tells the environment
     "format": "parquet",             # parquet | csv | tfrecord | jsonl | avro
     "patterns": ["/data/EWR*.parquet"],
     "options": {},                   # how a CSV is written, see `csv_files`
     "held_out": false}
"""

import dataclasses
import glob
import hashlib
import json
import os
from typing import Any

from components.errors import DataError

FORMATS = ("parquet", "csv", "tfrecord", "jsonl", "avro")
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
      environment: name of the environment, None where a column tells it.
      format: one of `FORMATS`.
      path: where the file lies.
      size: bytes.
      digest: BLAKE2b of the content, 32 hexadecimal digits.
      held_out: True where the Trainer must never see the file.
      options: how a CSV is written.
    """

    environment: str | None
    format: str
    path: str
    size: int
    digest: str
    held_out: bool
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def list_files(patterns: list[str], environment: str | None) -> list[str]:
    """The files that match any of the patterns, sorted, each once.

    Raises:
      DataError: a pattern matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        matched = [p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)]
        if not matched:
            where = f"environment {environment!r}" if environment else "the source"
            raise DataError(
                f"{where}: no file matches {pattern!r}; check the path, which is"
                " relative to the config file"
            )
        found.update(matched)
    return sorted(found)


def build_manifest(sources: list[dict[str, Any]]) -> list[SourceFile]:
    """Every file of every source, with size and digest.

    Args:
      sources: JSON entries as described above.

    Returns:
      The files in the order of the sources, sorted by path within each.

    Raises:
      DataError: a pattern matches nothing, or a file cannot be read.
    """
    return [
        SourceFile(
            environment=source["environment"],
            format=source["format"],
            path=path,
            size=os.path.getsize(path),
            digest=_digest(path, source["environment"]),
            held_out=source["held_out"],
            options=source.get("options", {}),
        )
        for source in sources
        for path in list_files(source["patterns"], source["environment"])
    ]


def fingerprint(files: list[SourceFile]) -> str:
    """One digest over what was listed: changes when any file does."""
    return hashlib.blake2b(to_json(files).encode(), digest_size=16).hexdigest()


def to_json(files: list[SourceFile]) -> str:
    """The manifest as JSON text, stable for the same files."""
    return json.dumps([dataclasses.asdict(f) for f in files], indent=1, sort_keys=True)


def from_json(text: str) -> list[SourceFile]:
    """The inverse of `to_json`."""
    return [SourceFile(**entry) for entry in json.loads(text)]


def _digest(path: str, environment: str | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise DataError(
            f"environment {environment!r}: {path} cannot be read"
            f" ({error.strerror}); check its permissions"
        ) from error
    return digest.hexdigest()
