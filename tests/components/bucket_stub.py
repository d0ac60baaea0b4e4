"""A bucket that is a folder of this machine, for TFX's file functions.

bucket_stub.mount(monkeypatch, "gs://bucket", folder)
"""

import os

from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem as Here


def mount(monkeypatch, address, folder):
    """Has TFX's `fileio` find what is below an address in a folder."""

    def here(path):
        path = os.fspath(path)
        assert path == address or path.startswith(f"{address}/"), path
        return path.replace(address, str(folder), 1)

    def there(path):
        return path.replace(str(folder), address, 1)

    class Bucket(Here):
        """Its folder; like a store, it makes the folders of what is written."""

        @staticmethod
        def open(name, mode="r"):
            if "r" not in mode:
                os.makedirs(os.path.dirname(here(name)), exist_ok=True)
            return Here.open(here(name), mode)

        @staticmethod
        def walk(top, topdown=True, onerror=None):
            for at, folders, names in os.walk(here(top), topdown, onerror):
                yield there(at), folders, names

        @staticmethod
        def copy(src, dst, overwrite=False):
            Here.copy(here(src), here(dst), overwrite)

        @staticmethod
        def rename(src, dst, overwrite=False):
            Here.rename(here(src), here(dst), overwrite)

        @staticmethod
        def glob(pattern):
            return [there(p) for p in Here.glob(here(pattern))]

    for name in ("exists", "isdir", "listdir", "makedirs", "mkdir", "remove", "rmtree"):
        plain = getattr(Here, name)
        setattr(Bucket, name, staticmethod(lambda p, plain=plain: plain(here(p))))
    registry = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY
    monkeypatch.setitem(registry._preferred_filesystem_by_scheme, "gs://", Bucket)
