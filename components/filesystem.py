"""Folders that components read and write: this machine's and, by URL, a store's.

A URL goes through TFX's `fileio`, which TensorFlow's filesystems stand behind. A path
of this machine does not: importing TFX takes seconds, and a command that looks into a
folder should not wait for it. `remote` and `files` read sources; this is for artifacts
and models.
"""

import glob
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any

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
    """As `os.walk`, which does not follow links to folders."""
    yield from _fileio().walk(path) if is_url(path) else os.walk(path)


def make_folder(path: str) -> None:
    """Makes a folder and those above; one that exists is left alone."""
    if is_url(path):
        _fileio().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def replace_file(path: str, content: bytes) -> None:
    """Writes a file of this machine in one rename: nobody reads half of it.

    It may be read by all, as a collector or server runs as somebody else.

    Args:
      path: in a folder that exists.
      content: of the file.
    """
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


def _fileio() -> Any:
    from tfx.dsl.io import fileio

    return fileio
