"""The columns of the sources, and whether they have what the config names.

Uses the readers of ingestion, so what passes here reads alike there.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from components import filesystem
from components.errors import DataError
from components.multi_env_example_gen import environments, readers
from components.multi_env_example_gen.columns import KINDS, Column, Schema
from components.multi_env_example_gen.labels import check_label
from components.source_manifest.listing import SourceFile
from pipeline import tfrecord_columns
from pipeline.config import ENVIRONMENT, PipelineConfig
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.sources_check import FoundSource


def check(
    config: PipelineConfig, sources: Sequence["FoundSource"], files_read: int
) -> list[str]:
    """Checks every column that the config names; returns all columns, sorted.

    Args:
      config: validated.
      sources: with their files.
      files_read: files a source to read the columns of.

    Raises:
      ConfigError: a named column is not in the data, or cannot be what it is named as.
      DataError: an unreadable file, or sources that do not fit together.
    """
    schemas: dict[str, dict[str, Schema]] = {}
    partial: set[str] = set()
    for source in sources:
        where = source.environment or "the source"
        schemas.setdefault(where, {})
        for path in list(source.files)[:files_read]:
            schema, whole = _columns_of(path, source)
            schemas[where][path] = schema
            if not whole:
                partial.add(path)
    _have_rows(sources)
    headerless = {p for s in sources if s.format in readers.HEADERLESS for p in s.files}
    csv = {
        path: source.files[path]
        for source in sources
        if source.format == "csv"
        for path in list(source.files)[:files_read]
    }
    optional, numbers = config.data.optional, config.numbers
    joint = readers.joint_schema(schemas, headerless, optional, csv, numbers)
    # Where only first records were seen, a column may still come.
    sure = any(path not in partial for files in schemas.values() for path in files)
    _check_label(config, schemas, joint, partial)
    _check_named(config, joint, sure)
    _check_kinds(config, joint)
    _check_schema(config, joint)
    return list(joint)


def environment_names(
    config: PipelineConfig, source: "FoundSource"
) -> tuple[str, ...] | None:
    """Environments that a column tells, sorted; None for TFRecords."""
    naming = config.data.naming
    if source.format == "tfrecord" or naming is None:
        return None
    files = [
        SourceFile(None, source.format, path, 0, "", "", source.held_out, options)
        for path, options in source.files.items()
    ]
    return environments.names_in(files, naming, config.data.on_bad_row)


def _columns_of(path: str, source: "FoundSource") -> tuple[Schema, bool]:
    """The columns, and whether these are sure to be all."""
    if source.format == "tfrecord":
        return tfrecord_columns.columns_of(path)
    schema = readers.schema_of(path, source.format, source.files[path])
    return schema, source.format not in readers.HEADERLESS


def _have_rows(sources: Sequence["FoundSource"]) -> None:
    found: dict[str, bool] = {}
    for source in sources:
        name = source.environment
        if name is None or found.get(name):
            continue
        # Of other formats none can be read that is empty.
        found[name] = source.format != "parquet" or any(
            readers.has_rows(path) for path in source.files
        )
    for name, has_rows in found.items():
        if not has_rows:
            raise DataError(
                f"environment {name!r} has no rows; check its files, or"
                " remove it from data.environments"
            )


def _check_label(
    config: PipelineConfig,
    schemas: dict[str, dict[str, Schema]],
    joint: Schema,
    partial: set[str],
) -> None:
    """As at ingestion: the label is in every environment, and what the task wants."""
    label = config.data.label
    spec = label.spec(config.task)
    try:
        for environment, files in schemas.items():
            one = {n: c for schema in files.values() for n, c in schema.items()}
            if label.column not in one and not partial.intersection(files):
                key = ("from",) if label.from_column else ()
                raise ConfigError(
                    f"{config.place('data', 'label', *key)} is {label.column!r}, which"
                    f" environment {environment!r} does not have"
                    f"{_near_columns(label.column, one)}"
                )
        if label.column in joint:  # else ingestion looks at every record
            check_label(spec, joint, list(schemas))
    except DataError as error:
        place = config.place("data", "label").rpartition(": ")[0]
        raise ConfigError(f"{place}: {error}") from error


def _check_schema(config: PipelineConfig, joint: Schema) -> None:
    """Where a schema is given, the data is of its types."""
    path = config.data.schema_path
    if path is None:
        return
    # Not at the top: most configs have none, and it takes a tenth of a second.
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    place = config.place("data", "schema")
    try:
        with filesystem.open_file(path) as file:
            schema = text_format.Parse(file.read().decode(), schema_pb2.Schema())
    except Exception as error:  # a bucket's errors are TensorFlow's own
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{place} is {path}, which is no schema in text form: {reason}; take the"
            " one that a run without the key infers"
        ) from error
    for feature in schema.feature:
        kind = joint.get(feature.name, Column("null")).kind
        wanted = schema_pb2.FeatureType.Name(feature.type).lower()
        if kind != "null" and wanted in KINDS and kind != wanted:
            raise ConfigError(
                f"{place}: {feature.name!r} is {wanted.upper()} in the"
                f" schema ({path}), but {kind.upper()} in the data; correct the schema,"
                " or the files"
            )


def _near_columns(name: str, columns: Iterable[str]) -> str:
    known = sorted(columns)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"; its columns are {', '.join(known[:12])}{more}"


def _named(config: PipelineConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every column that the config names, with its key."""
    data = config.data
    if data.weight:
        yield ("data", "weight"), data.weight
    for name in data.exclude:
        yield ("data", "exclude"), name
    for name in data.optional:
        yield ("data", "optional"), name
    for name in data.split.by:
        yield ("data", "split", "by"), name
    for key in ("time", "column"):
        if name := getattr(data.split, key):
            yield ("data", "split", key), name
    for kind, names in data.features.named.items():
        for name in names:
            yield ("data", "features", kind), name
    if data.environment_column:
        yield ("data", "environments", "environment_column"), data.environment_column
    for cross in config.evaluate.slices:
        for name in cross:
            yield ("evaluate", "slices"), name


def _check_named(config: PipelineConfig, joint: Schema, sure: bool) -> None:
    known = {*joint, ENVIRONMENT}
    for path, name in _named(config):
        if name in known or not sure:
            continue
        if name == config.data.label.name:
            continue  # made later on
        raise ConfigError(
            f"{config.place(*path)} names the column {name!r}, which the data does not"
            f" have{_near_columns(name, joint)}"
        )
    if ENVIRONMENT in joint and config.data.environment_column != ENVIRONMENT:
        raise DataError(
            f"the data already has a column {ENVIRONMENT!r}, which is where the"
            " environment is stamped; rename it, or name it as environment_column"
        )


def _check_kinds(config: PipelineConfig, joint: Schema) -> None:
    features = config.data.features.named
    numbers: list[tuple[tuple[str, ...], str]] = [
        (("data", "features", kind), name)
        for kind in ("numeric", "bucketized", "dense")
        for name in features[kind]
    ]
    if config.data.weight:
        numbers.append((("data", "weight"), config.data.weight))
    numbers += [(("evaluate", "buckets"), name) for name in config.evaluate.buckets]
    for path, name in numbers:
        column = joint.get(name, Column("null"))
        if column.kind == "bytes":
            mend = "name it under categorical" if len(path) > 2 else "name another"
            raise ConfigError(
                f"{config.place(*path)} names {name!r}, a column of text where numbers"
                f" are needed; {mend}"
            )
    for kind in ("numeric", "categorical", "bucketized"):
        for name in features[kind]:
            if joint.get(name, Column("null")).is_list:
                raise ConfigError(
                    f"{config.place('data', 'features', kind)} names {name!r}, which"
                    " holds several values a row; name it under dense, with their"
                    " number"
                )
