"""Versions of a served model in a folder, as TensorFlow Serving watches it.

    1764342000/saved_model.pb ...             a version: the highest number is served
    1764342000/assets.extra/release.json      what it is, see `publish`
    1764342000/assets.extra/model_card.json   its model card, and as .md
    rolled_back/<digest>.json                 what must not be pushed again
    releases.jsonl                            a line for each release and rollback
    .lock                                     held while one of the two goes on

A version counts where it has its `saved_model.pb`, which is written last. On this
machine the whole folder appears in one rename besides; a store has none, and there the
graph, which is one object, is what makes a version appear: to TensorFlow Serving, which
loads nothing without it, as to every reader here.
"""

import contextlib
import dataclasses
import datetime
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from components import digests, files, filesystem
from components.errors import DataError
from components.model_card import card as model_card

ROLLED_BACK = "rolled_back"
LOG = "releases.jsonl"
_LOCK = ".lock"
_STAGING = ".push-"
_UNLOGGED = ("evaluated",)  # hundreds of slices, for the monitor
_GRAPH = "saved_model.pb"
_CHUNK = 1 << 20
_HIGHEST = 2**63 - 1  # TensorFlow Serving takes no higher number for a version


@dataclasses.dataclass(frozen=True)
class Version:
    """A complete version.

    Attributes:
      number: its name.
      path: its folder.
      release: content of its `release.json`; None where it has none that is legible.
    """

    number: int
    path: str
    release: Mapping[str, Any] | None

    @property
    def told(self) -> str | None:
        """The digest that its `release.json` tells."""
        digest = (self.release or {}).get("digest")
        return digest if digests.is_digest(digest) else None

    @property
    def restored(self) -> int | None:
        """Number of the version that it was put back from; None for a release."""
        number = (self.release or {}).get("restored")
        return number if isinstance(number, int) else None


def versions(serving: str) -> list[Version]:
    """The complete versions, the served one last.

    Args:
      serving: the folder that holds them; may be a URL.
    """
    found = [
        Version(number, path, _release(path))
        for number, path in _numbered(serving)
        if filesystem.exists(os.path.join(path, _GRAPH))
    ]
    return found


def latest(serving: str) -> Version | None:
    """The version that is served: the highest number; None where there is none."""
    for number, path in reversed(_numbered(serving)):
        if filesystem.exists(os.path.join(path, _GRAPH)):
            return Version(number, path, _release(path))
    return None


def with_digest(serving: str, digest: str) -> Version | None:
    """The newest version of a model, None where it was never pushed.

    Raises:
      DataError: it says that it is this model, and its files are others.
    """
    for version in reversed(versions(serving)):
        if version.told == digest:
            verify(version)
        if (version.told or digests.of_model(version.path)) == digest:
            return version
    return None


def verify(version: Version) -> None:
    """Refuses a version whose files are not those that it was released with.

    Raises:
      DataError: as said.
    """
    found = digests.of_model(version.path)
    if found != version.told:
        raise DataError(
            f"version {version.number} in {os.path.dirname(version.path)} was changed:"
            f" it was released with the digest {version.told} and has {found}; move it"
            " away"
        )


@contextlib.contextmanager
def alone(serving: str) -> Iterator[None]:
    """Keeps other releases and rollbacks in the same folder waiting.

    The lock is the kernel's, and ends with the process that holds it; what a process
    that died has left half copied is removed. A store has no locks.

    Args:
      serving: the folder that holds the versions, made where it is missing; may be a
        URL.

    Raises:
      DataError: something cannot be written there.
    """
    with filesystem.written(serving, "versions"):
        filesystem.make_folder(serving)
        if files.is_url(serving):
            yield
            return
        with open(os.path.join(serving, _LOCK), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for name in os.listdir(serving):
                if name.startswith(_STAGING):
                    shutil.rmtree(os.path.join(serving, name), ignore_errors=True)
            yield


def publish(
    model_path: str,
    serving: str,
    digest: str,
    release: Mapping[str, Any],
    card: Mapping[str, Any] | None = None,
) -> Version:
    """Makes a model the highest version; all of it appears at once, or nothing.

    Whoever decides by what is there holds `alone` from the decision on.

    Args:
      model_path: the SavedModel; may be a URL.
      serving: the folder that holds the versions, made where it is missing; may be a
        URL.
      digest: that the copy must have.
      release: goes into `assets.extra/release.json`, with `version`, `digest` and
        `released_at`. TensorFlow Serving does not read it, and it is no part of the
        digest.
      card: of `components.model_card.card`, goes beside that as JSON and Markdown.

    Raises:
      DataError: the copy has another digest, or the model no `saved_model.pb`; nothing
        was pushed.
    """
    filesystem.make_folder(serving)
    number = max([int(time.time()), *(n + 1 for n, _ in _numbered(serving))])
    if number > _HIGHEST:
        raise DataError(
            f"{serving} has a version {_HIGHEST}, and none can be higher; move it away"
        )
    told = {"version": number, "digest": digest, "released_at": now(), **release}
    if files.is_url(serving):
        path = os.path.join(serving, str(number))
        _fill(path, model_path, digest, _files_told(told, card))
    else:
        path, told = _rename_into(serving, model_path, digest, told, card)
    event = "rolled back" if told.get("rolled_back_from") else "released"
    logged = {key: value for key, value in told.items() if key not in _UNLOGGED}
    log(serving, {"event": event, **logged})
    return Version(int(told["version"]), path, told)


def _files_told(
    told: Mapping[str, Any], card: Mapping[str, Any] | None
) -> dict[str, bytes]:
    """What a version tells of itself: file -> content."""
    content = {digests.RELEASE_FILE: _json(told)}
    if card is not None:
        content[digests.CARD_FILE] = _json(card)
        content[digests.CARD_MARKDOWN_FILE] = model_card.markdown(card).encode()
    return content


def _rename_into(
    serving: str,
    model_path: str,
    digest: str,
    told: dict[str, Any],
    card: Mapping[str, Any] | None,
) -> tuple[str, dict[str, Any]]:
    staging = tempfile.mkdtemp(prefix=_STAGING, dir=serving)
    try:
        copy = os.path.join(staging, "model")
        _fill(copy, model_path, digest, _files_told(told, card))
        while True:
            path = os.path.join(serving, str(told["version"]))
            try:
                os.rename(copy, path)
                return path, told
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            # Somebody else pushed in the same second.
            told = {**told, "version": told["version"] + 1}
            _write(os.path.join(copy, digests.RELEASE_FILE), _json(told))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(folder: str, model_path: str, digest: str, told: Mapping[str, bytes]) -> None:
    """Copies a model, the graph last and only if all of the copy is what it must be."""
    names = digests.model_files(model_path)
    if _GRAPH not in names:
        raise DataError(
            f"the model in {model_path} has no {_GRAPH}; export a SavedModel there"
        )
    names.remove(_GRAPH)
    for name in names:
        _copy(os.path.join(model_path, name), os.path.join(folder, name))
    with filesystem.open_file(os.path.join(model_path, _GRAPH)) as file:
        graph = file.read()
    target = os.path.join(folder, _GRAPH)
    copied = [digests.of_file(os.path.join(folder, name)) for name in names]
    contents = {
        **dict(zip(names, copied, strict=True)),
        _GRAPH: digests.of_bytes(graph),
    }
    found = digests.combined(contents)
    if found == digest:
        for name, content in told.items():
            _write(os.path.join(folder, name), content)
        _write(target, graph)
        found = digests.of_model(folder)
    if found != digest:
        written = [*names, *told, _GRAPH]
        for path in (os.path.join(folder, name) for name in reversed(written)):
            if filesystem.exists(path):
                filesystem.remove(path)
        raise DataError(
            f"the copy of {model_path} has the digest {found}, not {digest}: the model"
            " changed while it was copied, or the copy is damaged, so nothing was"
            " pushed; run again when nobody writes there"
        )


def copy(version: Version, folder: str) -> None:
    """Copies all of a version, with what it tells of itself, into a folder."""
    for at, _, names in filesystem.walk(version.path):
        for path in (os.path.join(at, name) for name in names):
            _copy(path, os.path.join(folder, os.path.relpath(path, version.path)))


def rolled_back(serving: str) -> dict[str, str]:
    """What must not be pushed again: digest -> the file that says so."""
    folder = os.path.join(serving, ROLLED_BACK)
    names = [name.removesuffix(".json") for name in filesystem.list_folder(folder)]
    return {
        name: os.path.join(folder, f"{name}.json")
        for name in names
        if digests.is_digest(name)
    }


def mark_rolled_back(serving: str, digest: str, told: Mapping[str, Any]) -> None:
    """Notes that a model must not be pushed again."""
    path = os.path.join(serving, ROLLED_BACK, f"{digest}.json")
    _write(path, _json({"digest": digest, "rolled_back_at": now(), **told}))


def unmark_rolled_back(serving: str, digest: str) -> None:
    """Forgets that, where it was noted."""
    path = rolled_back(serving).get(digest)
    if path is not None:
        filesystem.remove(path)


def log(serving: str, event: Mapping[str, Any]) -> None:
    """Adds a line to `releases.jsonl`; nothing here reads it."""
    line = json.dumps(event, sort_keys=True) + "\n"
    with filesystem.open_file(os.path.join(serving, LOG), "a") as file:
        file.write(line)


def state(serving: str) -> str:
    """What a push depends on besides its model, as JSON; for a cache key."""
    told = {str(v.number): v.told for v in versions(serving)}
    return json.dumps({"versions": told, "rolled_back": sorted(rolled_back(serving))})


def now() -> str:
    """The time, in UTC to the second: `2026-01-31T12:00:00+00:00`."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _numbered(serving: str) -> list[tuple[int, str]]:
    """All folders with a number for a name, complete or not, ascending."""
    names = [n for n in filesystem.list_folder(serving) if n.isascii() and n.isdigit()]
    found = sorted((int(name), os.path.join(serving, name)) for name in names)
    return [(number, path) for number, path in found if number <= _HIGHEST]


def _release(path: str) -> Mapping[str, Any] | None:
    return _object(os.path.join(path, digests.RELEASE_FILE))


def card(version: Version) -> Mapping[str, Any] | None:
    """The model card of a version; None where it has none that is legible."""
    return _object(os.path.join(version.path, digests.CARD_FILE))


def _object(path: str) -> Mapping[str, Any] | None:
    if not filesystem.exists(path):
        return None
    try:
        with filesystem.open_file(path) as file:
            found = json.loads(file.read())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _copy(source: str, target: str) -> None:
    filesystem.make_folder(os.path.dirname(target))
    with (
        filesystem.open_file(source) as read,
        filesystem.open_file(target, "wb") as out,
    ):
        while chunk := read.read(_CHUNK):
            out.write(chunk)
        _flush(out, target)


def _write(path: str, content: bytes) -> None:
    filesystem.make_folder(os.path.dirname(path))
    with filesystem.open_file(path, "wb") as file:
        file.write(content)
        _flush(file, path)


def _flush(file: Any, path: str) -> None:
    """To the disk, so that no power failure leaves a version of empty files."""
    file.flush()
    if not files.is_url(path):
        os.fsync(file.fileno())
