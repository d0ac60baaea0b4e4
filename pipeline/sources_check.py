"""What the data must have for a config to run, told without TFX or TensorFlow.

Files are listed, and the columns of each source read from Parquet's schema, the first
block of a CSV, the first records of a TFRecord. What needs all rows (an environment
without a row, one class only) is found at ingestion.
"""

import dataclasses
import difflib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from components import bigquery, files, filesystem
from components.errors import DataError
from components.invariance_validator import kinds
from components.invariance_validator.checks import check_satisfiable
from components.multi_env_example_gen.naming import bin_names
from components.source_manifest import listing, matching, spans
from pipeline import endpoints
from pipeline.config import PipelineConfig
from pipeline.config_types import escaped
from pipeline.errors import ConfigError
from pipeline.tables import brief

# Files a source whose columns are read; ingestion reads those of all.
_FILES_READ = 20
# Above this, the values of an environment column are left to ingestion.
_BYTES_READ = 200 << 20
_NAMES_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class FoundSource:
    """The files of one entry of `data.environments`.

    Attributes:
      environment: its name, None where a column tells it.
      format: one of `listing.FORMATS`.
      files: path, or URL, -> options of the file; sorted.
      size: bytes in all; of a query, those that it reads.
      held_out: whether it is only evaluated.
      spans: which are taken, in words; empty where the paths have none. Of a query, why
        it is read anew at every run.
    """

    environment: str | None
    format: str
    files: dict[str, dict[str, Any]]
    size: int
    held_out: bool
    spans: str = ""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `check` found.

    Attributes:
      sources: with their files.
      columns: names over all sources, sorted.
      environments: names told by `environment_column`; None where not read.
    """

    sources: tuple[FoundSource, ...]
    columns: tuple[str, ...]
    environments: tuple[str, ...] | None = None


def check(config: PipelineConfig) -> Findings:
    """Checks a config against its checks, its files and their columns.

    Raises:
      ConfigError: a key of the config names what is not there.
      DataError: a file is unreadable, or the sources do not fit together.
    """
    check_checks(config)
    check_places(config)
    sources = find_files(config)
    # pyarrow takes a third of a second to import.
    from pipeline import source_columns

    columns = source_columns.check(config, sources, _FILES_READ)
    environments = None
    # Values of a query's column cost what reading it does: a run asks for them.
    free = sources[0].format != bigquery.FORMAT
    read = config.data.each or (free and sources[0].size <= _BYTES_READ)
    if config.data.environment_column and read:
        environments = source_columns.environment_names(config, sources[0])
        if environments is not None:
            check_environment_names(config, environments)
    return Findings(sources, tuple(columns), environments)


def check_checks(
    config: PipelineConfig, environments: Iterable[str] | None = None
) -> None:
    """Refuses checks that no model could ever meet.

    Args:
      config: validated.
      environments: all names, where only the data tells them.
    """
    training = config.data.training
    named = training is not None or environments is not None
    if training is None:  # any few, until the data tells
        training = tuple(environments or ("?", "??", "???")[: 2 + config.data.each])
    if config.data.each:  # all folds are alike
        config, training = config.fold(training[0]), training[1:]
    sentences = check_satisfiable(
        config.checks.as_json(),
        [*training, *config.data.held_out],
        config.data.held_out,
        [list(cross) for cross in config.evaluate.slices],
        config.verdict.allow_insufficient,
        named,
        {name: bin_names(e) for name, e in config.evaluate.buckets.items()},
        task=config.task,
    )
    if sentences:
        first = sentences[0].rstrip(".")
        key = first.split(maxsplit=1)[0].rstrip(":").split(".")
        place = config.place(*key).rpartition(": ")[0]
        more = len(sentences) - 1
        raise ConfigError(
            f"{place}: {first}{f' ({more} more after this one)' if more else ''}"
        )


def check_places(config: PipelineConfig) -> None:
    """Refuses folders that cannot be written, a schema or a model that is not there."""
    places = [(("root",), config.root), (("push", "path"), config.push.path)]
    for keys, path in places[: 1 if config.push.to == "vertex" else 2]:
        if files.is_url(path):
            check_serving(config)
            continue
        above = path
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not os.path.isdir(above):
            raise ConfigError(
                f"{config.place(*keys)} needs the folder {path}, but {above} is a file;"
                " name another folder"
            )
        if not os.access(above, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{config.place(*keys)} is {path}, but {above} cannot be written; name"
                " another folder, or change its permissions"
            )
    schema = config.data.schema_path
    if schema and not files.is_url(schema) and not os.path.isfile(schema):
        raise ConfigError(
            f"{config.place('data', 'schema')} is {schema}, and there is no such file;"
            " correct the path, or leave the key out to have a schema inferred"
        )
    _check_build(config)


def check_serving(config: PipelineConfig) -> None:
    """Refuses a `push.path` that is a URL of a store that does not answer."""
    if not files.is_url(config.push.path):
        return
    try:
        filesystem.check_store(config.push.path)
    except DataError as error:
        raise ConfigError(f"{config.place('push', 'path')} is {error}") from error


def _check_build(config: PipelineConfig) -> None:
    build = config.train.model.build
    if build is None:
        return
    module = build.split(".")[0]
    path = list(sys.path)
    sys.path.append(config.folder)
    try:
        found = importlib.util.find_spec(module)
    finally:
        sys.path[:] = path
    if found is None:
        raise ConfigError(
            f"{config.place('train', 'model', 'build')} is {build!r}, but there is no"
            f" module {module!r} beside the config nor installed; correct the name, or"
            f" put {module}.py into {config.folder}"
        )


def find_files(config: PipelineConfig) -> tuple[FoundSource, ...]:
    """The files of every source.

    Raises:
      ConfigError: a path matches nothing, or a file belongs to two environments.
    """
    found = []
    owner: dict[str, str] = {}
    for source in config.data.sources:
        name = source["environment"]
        keys = ["data", "environments", *([name] if name else [])]
        if name and config.data.inferred is not None:
            keys.insert(2, "held_out")
        try:
            listed = listing.list_files(source)
        except matching.NoSpan as error:
            place = config.place(*keys, "spans")
            raise ConfigError(f"{place} {error.sentence}") from error
        except matching.NoMatch as error:
            place = config.place(*keys, source["format"])
            pattern = error.pattern
            if files.is_url(pattern):
                sentence = f"is {pattern!r}, which matches no file; check the address"
            else:
                sentence = _no_match(config, name, pattern)
            raise ConfigError(f"{place} {sentence}") from error
        for path in listed:
            is_name = files.is_url(path) or source["format"] == bigquery.FORMAT
            real = path if is_name else os.path.realpath(path)
            other = owner.setdefault(real, name)
            if other != name:
                raise ConfigError(
                    f"{config.place(*keys)} has the file {path}, which {other} has too;"
                    " an example comes from one environment, so narrow the pattern"
                )
        size, told = _size_of(config, source, listed, keys)
        found.append(
            FoundSource(
                environment=name,
                format=source["format"],
                files={path: one.options for path, one in listed.items()},
                size=size,
                held_out=source["held_out"],
                spans=told,
            )
        )
    return tuple(found)


def _size_of(
    config: PipelineConfig,
    source: dict[str, Any],
    listed: dict[str, listing.Listed],
    keys: list[str],
) -> tuple[int, str]:
    """Bytes of a source, and its `FoundSource.spans`."""
    if source["format"] == bigquery.FORMAT:
        place = config.place(*keys, bigquery.FORMAT)
        plan = bigquery.explain(source["options"], place)
        why = f"read anew at every run, as it {plan.unpinned}"
        return plan.size, why if plan.unpinned else ""
    size = sum(files.for_each(listed, files.size))
    taken = [one.span for one in listed.values() if one.span is not None]
    return size, spans.tell(taken, source.get("spans", {}).get("last"))


def _no_match(config: PipelineConfig, environment: str | None, pattern: str) -> str:
    """`is 'lga*', which matches no file (environment ..., looked in ...); mend`."""
    prefix = escaped(config.folder)
    inside = pattern.startswith(prefix + os.sep)
    folder = config.folder if inside else os.sep
    rest = pattern[len(prefix) + 1 :] if inside else pattern.lstrip(os.sep)
    shown = rest if inside else pattern
    parts = rest.split(os.sep)
    at = 0
    while at < len(parts) - 1 and os.path.isdir(os.path.join(folder, parts[at])):
        folder = os.path.join(folder, parts[at])
        at += 1
    where = f"environment {environment!r}, " if environment else ""
    if os.path.isdir(os.path.join(folder, parts[at])) and at == len(parts) - 1:
        return f"is {shown!r}, a folder without files ({where.rstrip(', ')})"
    names = sorted(os.listdir(folder)) if os.access(folder, os.R_OK) else []
    near = difflib.get_close_matches(parts[at], names, n=1)
    holds = f"holds {', '.join(names[:4])}" if names else "is empty"
    if len(names) > 4:
        holds += f" and {len(names) - 4} more"
    mend = f"did you mean {near[0]!r}?" if near else "check the path"
    return (
        f"is {shown!r}, which matches no file ({where}looked in {folder}, which"
        f" {holds}); {mend}"
    )


def check_environment_names(config: PipelineConfig, names: tuple[str, ...]) -> None:
    """Checks a config against the environments that a column has rows of.

    Raises:
      ConfigError: it names one that is not there, too few are left to train on, or a
        check cannot be met.
    """
    column = config.data.environment_column
    keys = ("data", "environments", "held_out")
    for name in config.data.held_out:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            listed = f"it holds {', '.join(names[:8])}"
            raise ConfigError(
                f"{config.place(*keys)} names {name!r}, which column {column!r} does"
                f" not hold; {f'did you mean {near[0]!r}?' if near else listed}"
            )
    for name in config.data.training or ():
        if name not in names:
            raise ConfigError(
                f"{config.place('data', 'environments')} makes {name!r} of column"
                f" {column!r}, which has no row of it; it has {', '.join(names[:8])}"
            )
    if config.data.each and (wrong := config.fold_problem(len(names))):
        raise ConfigError(f"{config.place('data', 'environments')} {wrong}")
    training = [name for name in names if name not in config.data.held_out]
    least = 2 if config.train.compares else 1
    if len(training) < least:
        raise ConfigError(
            f"{config.place('data', 'environments')} leaves {len(training)} training"
            f" environment{'s' * (len(training) != 1)}, and {config.method_label} needs"
            f" {least}: column {column!r} holds {', '.join(names[:8]) or 'nothing'};"
            " hold fewer out, or train with erm"
        )
    check_checks(config, names)


def describe(config: PipelineConfig, findings: Findings) -> Iterable[str]:
    """Lines that tell what was found, for the terminal."""
    yield f"{config.file} is valid: {config.name}"
    for source in findings.sources:
        name = source.environment or f"by {config.data.environment_column}"
        part = "held out" if source.held_out else "training"
        part = "in turn" if config.data.each else part
        if source.environment is None:
            part = _by_column(config, findings)
        if source.environment is None and config.data.inferred is not None:
            infer = config.data.inferred.infer
            name, part = "inferred", f"{infer.number} by {infer.method}"
        files_are = "file " if len(source.files) == 1 else "files"
        what = "query" if source.format == bigquery.FORMAT else files_are
        yield (
            f"  environment {name:<12} {len(source.files):>4,} {source.format}"
            f" {what} {_size(source.size):>9}"
            f"  {part}{f', {source.spans}' if source.spans else ''}"
        )
    label = config.data.label
    made = f" = {label.from_column}" if label.from_column else ""
    made += "" if label.above is None else f" > {label.above:g}"
    if label.classes is not None:
        made += f", {len(label.classes)} classes (X)"
    elif config.task == "regression":
        made += ", a number"
    if config.data.each:
        names = config.data.training or findings.environments
        yield f"  diagnosis   {_in_turn(names)}; nothing is released"
    yield f"  label       {label.name}{made}"
    named = config.data.features.named
    kinds = [f"{len(columns)} {kind}" for kind, columns in named.items() if columns]
    features = ", ".join(kinds) or f"from the schema ({len(findings.columns)} columns)"
    yield f"  features    {features}"
    there = ", on Vertex AI" if config.train.where == "vertex" else ""
    yield f"  method      {config.method_label}, {config.train.steps:,} steps{there}"
    yield f"  checks      {', '.join(_checks(config))}"
    if config.data.inferred is not None and not config.data.held_out:
        yield (
            "  verdict     INSUFFICIENT_DATA at best, as no environment is known; name"
            " one in data.environments.held_out"
        )
    elif not config.data.each:
        yield f"  pushed to   {_pushed_to(config)}, if every check passes"


def _pushed_to(config: PipelineConfig) -> str:
    to = endpoints.target(config)
    return config.push.path if to is None else f"{to.told}, {to.traffic} % of requests"


def _in_turn(names: Sequence[str] | None) -> str:
    if names is None:
        return "each environment is held out in turn"
    shown = ", ".join(brief(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    rest = f" and {more:,} more" if more > 0 else ""
    return f"each of {shown}{rest} is held out in turn"


def _by_column(config: PipelineConfig, findings: Findings) -> str:
    if config.data.each:
        return "each in turn"
    if findings.environments is None:
        return f"held out: {', '.join(config.data.held_out) or 'none'}"
    held = set(config.data.held_out)
    return ", ".join(
        f"{name} (held out)" if name in held else name for name in findings.environments
    )


def _checks(config: PipelineConfig) -> Iterable[str]:
    checks = config.checks.as_json()
    if config.data.each:
        checks.pop("baseline", None)  # as in the folds
    for kind, metric, leaf in kinds.leaves(checks):
        bounds = [
            f"{key} {leaf[key]:g}" for key in kinds.KINDS[kind].bounds if key in leaf
        ]
        yield f"{kinds.parse(kind, metric, leaf).name} ({', '.join(bounds)})"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
