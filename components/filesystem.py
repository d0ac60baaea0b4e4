"""Folders that components read and write: this machine's and, by URL, a store's.

A URL goes through TFX's `fileio`, which TensorFlow's filesystems stand behind. A path
of this machine does not: importing TFX takes seconds, and a command that looks into a
folder should not wait for it. `remote` and `files` read sources; this is for artifacts
and models.
"""

import contextlib
import glob
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

from components.errors import DataError
from components.files import is_url


def open_file(path: str, mode: str = "rb") -> IO[Any]:
    """Opens a file; raises OSError (or fileio's NotFoundError, which is one)."""
    if is_url(path):
        opened: IO[Any] = _fileio().open(path, mode)
        return opened
    return open(path, mode)


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return bool(_fileio().exists(path)) if is_url(path) else os.path.exists(path)


def list_folder(path: str) -> list[str]:
    """Names in a folder, sorted; none where there is no such folder."""
    if is_url(path):
        fileio = _fileio()
        names = fileio.listdir(path) if fileio.isdir(path) else []
        return sorted(name.rstrip("/") for name in names)
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def find(pattern: str) -> list[str]:
    """Paths that a pattern matches, of which `*` is a part of one name; sorted."""
    return sorted(_fileio().glob(pattern) if is_url(pattern) else glob.glob(pattern))


def modified(path: str) -> float:
    """When a file was written, in seconds since the epoch."""
    if not is_url(path):
        return os.stat(path).st_mtime
    told = _fileio().stat(path)
    return told.mtime_nsec / 1e9 if hasattr(told, "mtime_nsec") else told.st_mtime


def walk(path: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, which does not follow links to folders.

    Files that a store lists and does not have are left out: TensorFlow's `ram://` lists
    `assets.extra` as `.extra` in `assets`, too.
    """
    if not is_url(path):
        yield from os.walk(path)
        return
    fileio = _fileio()
    for folder, folders, names in fileio.walk(path):
        kept = [n for n in names if fileio.exists(os.path.join(folder, n))]
        yield folder, folders, kept


def make_folder(path: str) -> None:
    """Makes a folder and those above; one that exists is left alone."""
    if is_url(path):
        _fileio().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def replace_file(path: str, content: bytes) -> None:
    """Writes a file at once: nobody reads half of it.

    It is written beside and renamed. It may be read by all, as a collector or server
    runs as somebody else.

    Args:
      path: in a folder that exists; may be a URL.
      content: of the file.
    """
    if is_url(path):
        folder, name = os.path.split(path)
        staged = os.path.join(folder, f".staged-{uuid.uuid4().hex}-{name}")
        with open_file(staged, "wb") as opened:
            opened.write(content)
        _fileio().rename(staged, path, overwrite=True)
        return
    folder = os.path.dirname(os.path.abspath(path))
    number, staged = tempfile.mkstemp(prefix=".staged-", dir=folder)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(staged, 0o644)
        os.replace(staged, path)
    except BaseException:
        os.unlink(staged)
        raise


def remove(path: str) -> None:
    """Removes a file."""
    if is_url(path):
        _fileio().remove(path)
    else:
        os.remove(path)


def check_store(url: str) -> None:
    """Asks a store for a folder, which need not exist.

    Raises:
      DataError: there is no client for such URLs, or the store does not answer.
    """
    import tensorflow as tf

    scheme = url.partition("://")[0]
    known = sorted(name for name in tf.io.gfile.get_registered_schemes() if name)
    if scheme not in known:
        raise DataError(
            f"{url}; TensorFlow has no filesystem for {scheme}:// here, only for"
            f" {', '.join(known)}; install its plugin (tensorflow-io has some), or name"
            " another place"
        )
    try:
        exists(url)
    except Exception as error:
        if not failed(error):
            raise
        raise DataError(
            f"{url}; it cannot be reached ({reason(error)}); correct the URL, or give"
            " this machine credentials for it"
        ) from error


@contextlib.contextmanager
def written(serving: str, what: str) -> Iterator[None]:
    """Says in a sentence why something cannot be kept where models are served.

    Args:
      serving: `push.path`.
      what: in the plural.

    Raises:
      DataError: the disk or the store refuses.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DataError) or not failed(error):
            raise
        at = getattr(error, "filename", None)
        where = f" ({at})" if at else ""
        raise DataError(
            f"{serving}: {what} cannot be read and written there: {reason(error)}"
            f"{where}; make room, change its permissions, or correct push.path"
        ) from error


def failed(error: BaseException) -> bool:
    """Whether an error is of a disk or a store, and not of a program."""
    tensorflow = sys.modules.get("tensorflow")
    kinds = (OSError, tensorflow.errors.OpError) if tensorflow else (OSError,)
    return isinstance(error, kinds)


def reason(error: BaseException) -> str:
    """Why a disk or a store refuses, in a line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split())[:200]


def _fileio() -> Any:
    from tfx.dsl.io import fileio

    return fileio
