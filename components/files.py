"""Files to read, by path or by URL: this machine's, or those of Beam's filesystems.

`remote` reads the URLs.
"""

import dataclasses
import glob
import os
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import IO, Any, TypeVar

from components import remote

_T = TypeVar("_T")
_R = TypeVar("_R")
_AT_A_TIME = 8  # the clients keep ten connections
_PACKED = {".bz2": "bz2", ".gz": "gzip", ".lz4": "lz4", ".zst": "zstd"}


@dataclasses.dataclass(frozen=True)
class Stat:
    """What tells, without reading it, whether a file is still the same.

    Attributes:
      size: bytes.
      version: time of the last change here, checksum that the service of a URL keeps.
    """

    size: int
    version: str


def is_url(path: str) -> bool:
    """Whether a path is `scheme://...`."""
    return "://" in path


def find(pattern: str) -> list[str]:
    """Files that match, sorted; `**` matches folders in folders.

    Raises:
      DataError: a URL that cannot be listed.
    """
    if is_url(pattern):
        return remote.find(pattern)
    found = glob.iglob(pattern, recursive=True)
    return sorted(path for path in found if os.path.isfile(path))


def find_folders(pattern: str) -> list[str]:
    """Folders of this machine that match, sorted, without those within another."""
    found = sorted(filter(os.path.isdir, glob.iglob(pattern, recursive=True)))
    return [one for one in found if not any(_is_below(one, other) for other in found)]


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")


def find_below(folder: str) -> list[str]:
    """All files in a folder and in its folders, sorted.

    Raises:
      DataError: a URL that cannot be listed.
    """
    if is_url(folder):
        return find(f"{folder}/**")
    below = os.walk(folder, followlinks=True)
    return sorted(os.path.join(at, name) for at, _, names in below for name in names)


def stat(path: str) -> Stat:
    """Size and version.

    Raises:
      OSError: there is no such file.
      DataError: a URL that cannot be asked.
    """
    if is_url(path):
        return Stat(*remote.stat(path))
    found = os.stat(path)
    return Stat(found.st_size, str(found.st_mtime_ns))


def size(path: str) -> int:
    """Bytes; raises as `stat` does, and asks a URL's service less."""
    return remote.size(path) if is_url(path) else os.stat(path).st_size


def for_each(paths: Iterable[_T], do: Callable[[_T], _R]) -> list[_R]:
    """Does it for several files at a time: most of it is waiting for a service."""
    with futures.ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(do, paths))


def open_file(path: str) -> IO[bytes]:
    """The bytes as they lie there; can seek.

    Raises:
      OSError: there is no such file, or it cannot be read.
      DataError: a URL that cannot be read; so does every read.
    """
    return remote.open_file(path) if is_url(path) else open(path, "rb")


def is_packed(path: str) -> bool:
    """Whether the name says that the content is compressed."""
    return os.path.splitext(path)[1] in _PACKED


def open_stream(path: str) -> Any:
    """The content from its beginning, unpacked where its name says so, for Arrow.

    It must be closed.
    """
    import pyarrow as pa  # a wrong config is told before a third of a second has gone

    compression = _PACKED.get(os.path.splitext(path)[1])
    source = open_file(path) if is_url(path) else path
    return pa.input_stream(source, compression=compression)
