"""Lists the files of every source and fingerprints their content.

A source is one entry of the config's `data.environments`, as plain JSON:

    {"environment": "EWR",            # None where a column tells the environment
     "format": "parquet",             # one of `FORMATS`
     "patterns": ["/data/EWR*.parquet"],
     "options": {},                   # how a CSV is written, see `csv_files`;
                                      # of a query, see `components.bigquery`
     "spans": {"last": 7, "skip": 1}, # where patterns have spans, see `spans.choose`
     "held_out": false}

Of BigQuery a query is listed as one file is, under a name that shows it.

`matching` says which files a pattern stands for. Folders named `key=value` (as Hive
writes them) below one that a pattern matches are columns of the files that they hold.
"""

import dataclasses
import hashlib
import json
from typing import Any

from components import bigquery, files
from components.errors import DataError
from components.source_manifest import matching, spans
from components.source_manifest.spans import Span

FORMATS = ("parquet", "csv", "tfrecord", "jsonl", "avro", bigquery.FORMAT)
PARTITIONS = "partitions"  # key of the options: column -> value, of one file
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Listed:
    """What the path of a file tells.

    Attributes:
      options: of the source; `PARTITIONS`.
      span: None where the source has none.
    """

    options: dict[str, Any]
    span: Span | None


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
      environment: name of the environment, None where a column tells it.
      format: one of `FORMATS`.
      path: where the file lies; a path, or a URL of one of Beam's filesystems; or the
        name of a query.
      size: bytes; of a query, those that it reads.
      digest: BLAKE2b of the content, 32 hexadecimal digits; of a URL, the checksum or
        generation that its filesystem keeps; of a query, see `bigquery.Plan`.
      version: see `files.Stat`; of a query, why its digest is another one each time;
        no part of the fingerprint.
      held_out: True where the Trainer must never see the file.
      options: of the source; `PARTITIONS`.
      span: a number, or a day as ISO text; None where the source has no spans.
    """

    environment: str | None
    format: str
    path: str
    size: int
    digest: str
    version: str
    held_out: bool
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    span: Span | None = None


def list_files(source: dict[str, Any]) -> dict[str, Listed]:
    """The files that a source takes, by path, sorted.

    Raises:
      NoMatch: a pattern matches nothing.
      NoSpan: no span of a pattern is wanted.
      DataError: a URL that cannot be listed, a span that is written in two ways.
    """
    if source["format"] == bigquery.FORMAT:
        return {p: Listed(source["options"], None) for p in source["patterns"]}
    found: dict[str, dict[str, str | None]] = {}
    span: dict[str, Span | None] = {}
    for path, (partitions, its_span) in matching.match(source):
        found[path] = partitions or found.get(path, {})
        span.setdefault(path, its_span)
    whole = {name for partitions in found.values() for name in partitions}
    for name in whole:
        values = [partitions.get(name) for partitions in found.values()]
        if not all(value is None or _is_integer(value) for value in values):
            whole = whole - {name}
    options = source.get("options", {})
    return {
        path: Listed(
            {**options, PARTITIONS: _typed(found[path], whole)}
            if found[path]
            else options,
            span[path],
        )
        for path in sorted(found)
    }


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
      DataError: a pattern matches nothing, a file cannot be read, or BigQuery does not
        take a query.
    """
    listed = [
        (source, path, told)
        for source in sources
        for path, told in list_files(source).items()
    ]
    return files.for_each(listed, source_file)


def source_file(
    found: tuple[dict[str, Any], str, Listed],
) -> SourceFile:
    """A file of a source, by its path and what that tells, with size and digest."""
    source, path, listed = found
    stat, digest = _found(source, path)
    return SourceFile(
        environment=source["environment"],
        format=source["format"],
        path=path,
        size=stat.size,
        digest=digest,
        version=stat.version,
        held_out=source["held_out"],
        options=listed.options,
        span=listed.span,
    )


def _found(source: dict[str, Any], path: str) -> tuple[files.Stat, str]:
    """Size, version and digest."""
    environment = source["environment"]
    if source["format"] == bigquery.FORMAT:
        plan = bigquery.explain(source["options"], matching.where(environment))
        return files.Stat(plan.size, plan.unpinned or ""), plan.digest
    stat = _stat(path, environment)
    return stat, _digest(path, stat, environment)


def check_unchanged(file: SourceFile) -> None:
    """Refuses a file that is no longer what was listed.

    Raises:
      DataError: it is gone, or other bytes; a table that a query reads has changed.
    """
    if file.format == bigquery.FORMAT:
        _check_query(file)
        return
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


def _check_query(file: SourceFile) -> None:
    if file.version:
        return  # by its very nature it may differ
    where = matching.where(file.environment)
    if bigquery.explain(file.options, where).digest != file.digest:
        raise DataError(
            f"{where}: a table of {file.path!r} has changed since the sources were"
            " listed; run again when nothing is written to it"
        )


def to_json(files: list[SourceFile]) -> str:
    """The manifest as JSON text, stable for the same files."""
    return json.dumps([dataclasses.asdict(f) for f in files], indent=1, sort_keys=True)


def from_json(text: str) -> list[SourceFile]:
    """The inverse of `to_json`."""
    return [SourceFile(**entry) for entry in json.loads(text)]


def tell_spans(files: list[SourceFile]) -> str:
    """`EWR: spans 3 to 9; JFK: span 9`; empty where there are none."""
    found: dict[str | None, list[Span]] = {}
    for file in files:
        if file.span is not None:
            found.setdefault(file.environment, []).append(file.span)
    return "; ".join(
        f"{environment}: {spans.tell(taken)}" if environment else spans.tell(taken)
        for environment, taken in found.items()
    )


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
    return DataError(
        f"{matching.where(environment)}: {path} cannot be read"
        f" ({error.strerror or error}); check its permissions"
    )
