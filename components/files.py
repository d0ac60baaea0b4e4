"""Files to read, by path or by URL: this machine's, or those of Beam's filesystems.

`gs://`, `s3://` and whatever else the installed Beam has a filesystem for; its options
(credentials, endpoints) are Beam's own.
"""

import dataclasses
import glob
import os
from typing import IO, Any

from components.errors import DataError

_PACKED = {".bz2": "bz2", ".gz": "gzip", ".lz4": "lz4", ".zst": "zstd"}


@dataclasses.dataclass(frozen=True)
class Stat:
    """What tells, without reading it, whether a file is still the same.

    Attributes:
      size: bytes.
      version: time of the last change here, checksum or generation of a URL.
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
    if not is_url(pattern):
        found = glob.iglob(pattern, recursive=True)
        return sorted(path for path in found if os.path.isfile(path))
    try:
        (result,) = _beam().match([pattern])
    except Exception as error:
        raise _unreachable(pattern, error) from error
    listed = [one.path for one in result.metadata_list]
    return sorted(path for path in listed if not path.endswith("/"))


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
    if not is_url(path):
        found = os.stat(path)
        return Stat(found.st_size, str(found.st_mtime_ns))
    try:
        # A file's own name may hold what a pattern would read as a wildcard.
        (result,) = _beam().match([glob.escape(path)], [1])
        for one in result.metadata_list:
            return Stat(one.size_in_bytes, str(_beam().checksum(path)))
    except Exception as error:
        raise _unreachable(path, error) from error
    raise FileNotFoundError(2, "No such file", path)


def open_file(path: str) -> IO[bytes]:
    """The bytes as they lie there; can seek."""
    if not is_url(path):
        return open(path, "rb")
    from apache_beam.io.filesystem import CompressionTypes

    return _beam().open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def is_packed(path: str) -> bool:
    """Whether the name says that the content is compressed."""
    return os.path.splitext(path)[1] in _PACKED


def open_stream(path: str, compression: str | None = "detect") -> Any:
    """The content from its beginning, as an Arrow stream; must be closed.

    Args:
      path: the file.
      compression: of Arrow; `detect` goes by the name, None takes bytes as they are.
    """
    import pyarrow as pa  # a wrong config is told before a third of a second has gone

    if compression == "detect":
        compression = _PACKED.get(os.path.splitext(path)[1])
    source = open_file(path) if is_url(path) else path
    return pa.input_stream(source, compression=compression)


def _beam() -> Any:
    # Only where a URL is read: it takes seconds to import.
    from apache_beam.io import filesystems

    return filesystems.FileSystems


def _unreachable(url: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return DataError(
        f"{url} cannot be listed: {reason}; check the address, the credentials and the"
        " network"
    )
