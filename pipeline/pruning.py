"""`tfx-irm prune`: removes what no kept run and no blessed model needs.

Kept are the last runs (and as many comparisons, inspections and searches) with all that
they read and made; every blessed model with its evaluation, its report, its training
curves and what its environments were like; and all that was ever pushed. What goes is
first marked as deleted in the metadata store, so that TFX's cache answers from none of
it, and then removed. Nothing outside of the root is touched, and nothing that is served
from within it.
"""

import dataclasses
import datetime
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from components import files
from pipeline import root_lock
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError

KINDS = ("runs", "comparisons", "inspections", "tunings")
# Types of what stays of every model that was blessed or pushed.
_OF_A_RELEASE = frozenset(
    {
        *("Model", "ModelRun", "ModelBlessing", "ModelEvaluation", "PushedModel"),
        *("components.InvarianceReport", "components.EnvironmentReport"),
        "components.EnvironmentInference",
    }
)


@dataclasses.dataclass(frozen=True)
class Item:
    """What is to be removed.

    Attributes:
      kind: what the terminal calls it: `runs`, the name of a stage, `checkpoints`.
      path: the folder.
      size: bytes of its files.
    """

    kind: str
    path: str
    size: int


def prune(config: PipelineConfig, keep: int = 10, dry_run: bool = False) -> list[str]:
    """Prunes the root of a config.

    Args:
      config: validated.
      keep: how many of the last runs stay, at least 1; as many of each other kind.
      dry_run: whether to remove nothing.

    Returns:
      Lines for the terminal.

    Raises:
      ConfigError: a wrong number, no run at all, or somebody works there.
    """
    if keep < 1:
        raise ConfigError(f"--keep is {keep}; at least the last run stays, so give 1")
    root = config.root
    if not any(_entries(os.path.join(root, kind)) for kind in KINDS):
        raise ConfigError(
            f"no run in {root}; run the config first, or check its `root`"
        )
    with root_lock.alone(root):
        kept = {kind: _entries(os.path.join(root, kind))[-keep:] for kind in KINDS}
        store = _store(config)
        gone, artifacts = _plan(config, kept, store)
        if not dry_run:
            if store is not None and artifacts:
                store.put_artifacts(artifacts)
            for item in gone:
                shutil.rmtree(item.path)
    return _told(gone, kept, dry_run)


def _told(gone: Sequence[Item], kept: dict[str, list[str]], dry_run: bool) -> list[str]:
    verb = "would be removed" if dry_run else "removed"
    lines = []
    for kind in dict.fromkeys(item.kind for item in gone):
        sizes = [item.size for item in gone if item.kind == kind]
        lines.append(f"  {kind:<24}{len(sizes):6,}  {_megabytes(sum(sizes))}")
    total = _megabytes(sum(item.size for item in gone)).strip()
    runs = len(kept["runs"])
    stay = f"the last {runs} run{'s' * (runs != 1)} stay{'s' * (runs == 1)}"
    return [*lines, f"{verb}  {total} in {len(gone):,} folders; {stay}"]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:10,.1f} MB"


def _plan(
    config: PipelineConfig, kept: dict[str, list[str]], store: Any
) -> tuple[list[Item], list[Any]]:
    """Folders to remove, and artifacts, already marked, to put into the store."""
    gone = []
    for kind in KINDS:
        folder = os.path.join(config.root, kind)
        for name in _entries(folder):
            if name not in kept[kind]:
                gone.append(_item(kind, os.path.join(folder, name)))
    artifacts: list[Any] = []
    if store is not None:
        ids = [name for names in kept.values() for name in names]
        folders, artifacts = _unneeded(config, store, ids)
        gone += folders
    return [*gone, *_stale_checkpoints(config.root, kept)], artifacts


def _unneeded(
    config: PipelineConfig, store: Any, ids: Sequence[str]
) -> tuple[list[Item], list[Any]]:
    """What stages made that nothing needs: folders, and artifacts, marked."""
    from ml_metadata.proto import metadata_store_pb2

    base = os.path.realpath(os.path.join(config.root, "artifacts"))
    every = store.get_artifacts()
    needed = _needed(store, every, ids)
    guarded = [artifact.uri for artifact in every if artifact.id in needed]
    guarded += [_property(artifact, "pushed_destination") for artifact in every]
    guarded.append(config.push.path)
    here = [path for path in guarded if path and not files.is_url(path)]
    protected = {os.path.realpath(path) for path in here}
    above = {folder for path in protected for folder in _above(path)}
    gone: dict[str, Item] = {}
    marked = []
    for artifact in every:
        path = os.path.realpath(artifact.uri)
        if artifact.id in needed or not path.startswith(base + os.sep):
            continue
        if path in above or not protected.isdisjoint(_above(path)):
            continue
        if artifact.state != metadata_store_pb2.Artifact.DELETED:
            artifact.state = metadata_store_pb2.Artifact.DELETED
            marked.append(artifact)
        if os.path.isdir(path):
            stage = os.path.relpath(path, base).split(os.sep)[0]
            gone[path] = _item(stage, path)
    outermost = [p for p in gone if gone.keys().isdisjoint(_above(os.path.dirname(p)))]
    return [gone[path] for path in outermost], marked


def _needed(store: Any, every: Sequence[Any], ids: Sequence[str]) -> set[int]:
    """Ids of the artifacts of kept runs, and of what was blessed or pushed."""
    runs = [c for c in store.get_contexts_by_type("pipeline_run") if c.name in ids]
    executions = [e.id for c in runs for e in store.get_executions_by_context(c.id)]
    needed = _touched(store, executions)
    released = {
        artifact.id
        for artifact in every
        for name, key in (("ModelBlessing", "blessed"), ("PushedModel", "pushed"))
        if artifact.type == name and _property(artifact, key) == 1
    }
    stay = {artifact.id for artifact in every if artifact.type in _OF_A_RELEASE}
    for _ in range(2):  # what a push is of, and what its blessing is of
        released |= _touched(store, _makers(store, released)) & stay
    return needed | released


def _makers(store: Any, artifacts: set[int]) -> list[int]:
    from ml_metadata.proto import metadata_store_pb2

    events = store.get_events_by_artifact_ids(sorted(artifacts)) if artifacts else []
    made = metadata_store_pb2.Event.OUTPUT
    return sorted({event.execution_id for event in events if event.type == made})


def _touched(store: Any, executions: list[int]) -> set[int]:
    """What executions read and made."""
    events = store.get_events_by_execution_ids(executions) if executions else []
    return {event.artifact_id for event in events}


def _property(artifact: Any, key: str) -> Any:
    """A custom property, None where there is none (to ask for it would make one)."""
    if key not in artifact.custom_properties:
        return None
    value = artifact.custom_properties[key]
    return getattr(value, value.WhichOneof("value") or "string_value")


def _stale_checkpoints(root: str, kept: dict[str, list[str]]) -> Iterator[Item]:
    """Of interrupted trainings, untouched since before the first kept run began."""
    began = [_time(name) for names in kept.values() for name in names]
    folder = os.path.join(root, "checkpoints")
    for name in _entries(folder):
        path = os.path.join(folder, name)
        times = [os.stat(at).st_mtime for at, _, _ in os.walk(path)]
        if began and max(times) < min(began):
            yield _item("checkpoints", path)


def _time(run_id: str) -> float:
    """When a run began, by its id; of one that was renamed, the beginning of time."""
    try:
        return datetime.datetime.strptime(run_id, "%Y%m%d-%H%M%S-%f").timestamp()
    except ValueError:
        return 0.0


def _above(path: str) -> list[str]:
    """A path, and the folders that it lies in."""
    found = [path]
    while (folder := os.path.dirname(found[-1])) != found[-1]:
        found.append(folder)
    return found


def _entries(folder: str) -> list[str]:
    """Names of the folders in a folder, sorted; links are left alone."""
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))


def _item(kind: str, path: str) -> Item:
    found = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
    return Item(kind, path, sum(os.lstat(file).st_size for file in found))


def _store(config: PipelineConfig) -> Any:
    """The metadata store; None where no pipeline has run."""
    from pipeline import store

    path = os.path.join(config.root, "metadata.sqlite")
    if config.metadata is None and not os.path.isfile(path):
        return None
    store.check(config)
    from ml_metadata.metadata_store import metadata_store

    return metadata_store.MetadataStore(store.connection(config))
