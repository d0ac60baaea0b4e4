"""`tfx-irm monitor`: new data of the served model, and whether its verdict holds."""

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components import digests, files
from components.errors import DataError
from components.invariance_validator.checks import Check, parse_checks
from components.monitor import looks, reading, scoring, state, watches
from components.multi_env_example_gen import shards
from components.multi_env_example_gen.naming import Naming
from components.pusher import rollback, versions
from components.source_manifest import listing
from pipeline import lines, monitoring_lines, sources_check, tables
from pipeline.config import ENVIRONMENT, PipelineConfig
from pipeline.errors import ConfigError

_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".avro": "avro",
}
_PACKED = (".gz", ".bz2", ".zst")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line says.

    Attributes:
      data: paths of the files.
      environment: of all rows; None where a column tells it.
      rollback: whether to roll back where the verdict is BROKEN.
      dry_run: whether to keep nothing.
    """

    data: Sequence[str]
    environment: str | None = None
    rollback: bool = False
    dry_run: bool = False


def monitor(config: PipelineConfig, asked: Asked) -> dict[str, Any]:
    """Looks at new data of the served model.

    Args:
      config: validated; the one that the model was released with.
      asked: the command line.

    Returns:
      The record: `verdict` (HOLDS or BROKEN), `reasons`, `version`, `look`, `watches`,
      ...; see docs/monitoring.md.

    Raises:
      ConfigError, DataError: nothing is served, the served version was changed, or the
        data cannot be looked at; nothing is kept then.
    """
    if asked.dry_run and asked.rollback:
        raise ConfigError(
            "--rollback: --dry-run changes nothing; leave one of the two out"
        )
    sources_check.check_checks(config)
    sources_check.check_serving(config)
    version = _served(config)
    spec, plan, not_followed = _plan(config, version, asked)
    listed = _listed(config, asked)
    settings = _settings(config)
    with state.alone(config.push.path):
        folder = state.folder_of(config.push.path, version.number, settings)
        fresh = state.State(version.number, str(version.told), settings)
        known = state.load(folder, fresh)
        unseen: dict[str, listing.SourceFile] = {}
        for one in listed:
            if one.digest not in known.files:
                unseen.setdefault(one.digest, one)
        new = list(unseen.values())
        repeated = [one.path for one in listed if one not in new]
        record = _heading(config, version, known) | {"repeated": repeated}
        if new:
            record |= _look(config, version, spec, plan, known, new)
        followed = {"checks": len(_checks(config)), "not_followed": not_followed}
        record |= _judged(known) | followed
        if new and not asked.dry_run:
            record["record"] = state.save(folder, known, tables.finite(record))
    for line in monitoring_lines.told(record, asked.dry_run):
        lines.tell(line)
    if record["verdict"] == looks.BROKEN and asked.rollback:
        record["rolled_back"] = _roll_back(config, version)
    return record


def _served(config: PipelineConfig) -> versions.Version:
    """The served version, if it is what was released."""
    version = versions.latest(config.push.path)
    if version is None:
        raise ConfigError(
            f"{config.place('push', 'path')} is {config.push.path}, and no version is"
            " served from there; release one with tfx-irm run, or correct the path"
        )
    versions.verify(version)
    return version


def _settings(config: PipelineConfig) -> str:
    """Of what is asked; another statement begins anew."""
    return digests.of_settings(
        {
            "checks": config.checks.as_json(),
            "confidence": config.verdict.confidence,
            "monitor": config.monitor.model_dump(mode="json"),
            "evaluate": config.evaluate.model_dump(mode="json"),
            "by": list(config.data.split.by),
            "label": config.data.label.spec(config.task),
            "weight": config.data.weight,
        }
    )


def _plan(
    config: PipelineConfig, version: versions.Version, asked: Asked
) -> tuple[reading.Spec, looks.Plan, dict[str, str]]:
    """What is read, what it is held to, and what cannot be."""
    data, monitored = config.data, config.monitor
    naming = _naming(config, asked)
    crosses = [tuple(cross) for cross in config.evaluate.slices]
    follows, not_followed = watches.follow(_checks(config))
    floors = [one.slice for one in follows if one.slice is not None]
    features = [*(f for cross in crosses for f in cross)]
    features += [feature for floor in floors for feature, _ in floor]
    spec = reading.Spec(
        ingested=shards.Spec(
            label=data.label.spec(config.task),
            eval_fraction=0.5,
            split_by=tuple(data.split.by),
            slices=(),
            naming=naming,
            optional=tuple(data.optional),
            numbers=tuple(n for n in config.numbers if n != data.label.column),
            on_bad_row=data.on_bad_row,
            buckets=dict(config.evaluate.buckets),
        ),
        columns={},
        slices=tuple(f for f in dict.fromkeys(features) if f != ENVIRONMENT),
        weight=data.weight,
    )
    evaluated = (version.release or {}).get("evaluated") or {}
    plan = looks.Plan(
        task=config.task,
        confidence=config.verdict.confidence,
        follows=[
            *follows,
            *watches.calibration(config.task, monitored.calibration),
        ],
        slices=list(dict.fromkeys([(), (ENVIRONMENT,), *crosses])),
        evaluated=evaluated,
        training=_environments(evaluated.get("eval")) or _training(config),
        held_out=_environments(evaluated.get("ood")) or frozenset(data.held_out),
        score_shift=monitored.score_shift,
    )
    return spec, plan, not_followed


def _checks(config: PipelineConfig) -> list[Check]:
    found: list[Check] = parse_checks(config.checks.as_json(), config.task)
    return found


def _training(config: PipelineConfig) -> frozenset[str] | None:
    named = config.data.training
    return None if named is None else frozenset(named)


def _environments(entries: Sequence[Mapping[str, Any]] | None) -> frozenset[str]:
    return frozenset(
        entry["slice"][0][1]
        for entry in entries or ()
        if [feature for feature, _ in entry["slice"]] == [ENVIRONMENT]
    )


def _naming(config: PipelineConfig, asked: Asked) -> Naming | None:
    """How the stream's rows tell their environment."""
    if asked.environment is not None:
        return None
    if config.data.naming is not None:
        return config.data.naming
    return Naming(ENVIRONMENT)  # such a column, where the config names files


def _listed(config: PipelineConfig, asked: Asked) -> list[listing.SourceFile]:
    """The files with their digests."""
    found = []
    for path in asked.data:
        if not files.is_url(path) and not os.path.isfile(path):
            kind = "a folder" if os.path.isdir(path) else "not there"
            raise ConfigError(f"--data: {path} is {kind}; name files")
        entry = _format(config, path, asked.environment)
        source = {"environment": asked.environment, "held_out": False, **entry}
        told = listing.Listed(entry["options"], None)
        found.append(listing.source_file((source, path, told)))
    return found


def _format(
    config: PipelineConfig, path: str, environment: str | None
) -> dict[str, Any]:
    """Format by the name, and how the config's files of that format are written."""
    stem, suffix = os.path.splitext(path)
    if suffix in _PACKED:
        suffix = os.path.splitext(stem)[1]
    sources = sorted(
        config.data.sources, key=lambda one: one["environment"] != environment
    )
    known = _SUFFIXES.get(suffix.lower())
    formats = list(dict.fromkeys(one["format"] for one in sources))
    if known is None and len(formats) == 1 and formats[0] in _SUFFIXES.values():
        known = formats[0]
    if known is None:
        raise ConfigError(
            f"--data: {path} does not tell its format by its name; end it in one of"
            f" {', '.join(_SUFFIXES)}"
        )
    same = [one["options"] for one in sources if one["format"] == known]
    return {"format": known, "options": same[0] if same else {}}


def _look(
    config: PipelineConfig,
    version: versions.Version,
    spec: reading.Spec,
    plan: looks.Plan,
    known: state.State,
    new: Sequence[listing.SourceFile],
) -> dict[str, Any]:
    """Reads, scores and judges; what it found."""
    model = scoring.ServedModel(version.path, config.task)
    spec = dataclasses.replace(spec, columns=model.columns)
    missing = watches.missing(sorted(model.columns), config.monitor.missing)
    plan = dataclasses.replace(plan, follows=[*plan.follows, *missing])
    stream = reading.read(new, spec, model)
    for one in new:
        listing.check_unchanged(one)
    cut = looks.shared_units(stream.rows, known)
    looks.judge(stream.rows, plan, known)
    for one in new:
        known.files[one.digest] = {"path": one.path, "look": known.looks}
    sizes = collections.Counter(stream.rows.environments.tolist())
    return {
        "look": known.looks,
        "files": [{"path": one.path, "digest": one.digest} for one in new],
        "rows": len(stream.rows),
        "labelled": stream.labelled,
        "left_out": stream.left_out,
        "bad_rows": stream.bad_rows,
        "cut_units": cut,
        "environments": {
            name: {
                "rows": count,
                "split": plan.split_of(name),
                "new": plan.is_new(name),
            }
            for name, count in sorted(sizes.items())
        },
        "missing": {
            name: float(absent.mean())
            for name, absent in stream.rows.missing.items()
            if absent.any()
        },
        "reference": bool(plan.evaluated),
    }


def _heading(
    config: PipelineConfig, version: versions.Version, known: state.State
) -> dict[str, Any]:
    told = version.release or {}
    return {
        "name": config.name,
        "time": versions.now(),
        "version": version.number,
        "digest": version.told,
        "released": {key: told.get(key) for key in ("verdict", "override")},
        "confidence": config.verdict.confidence,
        "look": known.looks,
        "files": [],
        "environments": {},
        "rolled_back": None,
        "record": None,
    }


def _judged(known: state.State) -> dict[str, Any]:
    return {
        "verdict": looks.verdict(known),
        "reasons": looks.reasons(known),
        "invalid_predictions": known.invalid,
        "watches": [looks.to_json(one) for one in looks.findings(known)],
    }


def _roll_back(config: PipelineConfig, looked_at: versions.Version) -> str | None:
    """Puts the last blessed version back; the path of what is served then."""
    try:
        done = rollback.roll_back(config.push.path, of=looked_at.number)
    except DataError as error:
        lines.tell(f"not rolled back: {error}")
        return None
    for line in done.lines:
        lines.tell(line)
    return done.served.path
