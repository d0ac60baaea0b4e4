"""A filesystem of Beam's, in memory: `memory://...`, without folders, as S3 is."""

import io

import pytest
from apache_beam.io import filesystem

FILES: dict[str, bytes] = {}


class MemoryFileSystem(filesystem.FileSystem):
    """What listing and reading need."""

    @classmethod
    def scheme(cls):
        return "memory"

    def _list(self, dir_or_prefix):
        for path in sorted(FILES):
            if path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def metadata(self, path):
        return filesystem.FileMetadata(path, len(FILES[path]), 0)

    def checksum(self, path):
        return f"{path} {FILES[path]!r}"

    def exists(self, path):
        return path in FILES

    def size(self, path):
        return len(FILES[path])

    def last_updated(self, path):
        return 0

    def has_dirs(self):
        return False

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def open(self, path, mime_type="", compression_type="auto"):
        return io.BytesIO(FILES[path])

    def _refuse(self, *_, **__):
        raise NotImplementedError

    create = copy = rename = delete = mkdirs = _refuse


@pytest.fixture
def memory():
    """URL -> bytes; empty."""
    FILES.clear()
    return FILES
