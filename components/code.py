"""Digests of source code, for cache keys.

TFX keys its cache on inputs and exec properties, not on code: without a digest among
them, an upgraded component would be answered from the cache of the old one.
"""

import glob
import hashlib
import os

CODE_KEY = "code"
_SUFFIXES = (".py", ".j2", ".js")


def fingerprint(folder: str, *files: str) -> str:
    """Digest of the sources below a folder, and of further files.

    Args:
      folder: of a package, searched for Python modules and templates.
      *files: paths of single files.

    Returns:
      32 hexadecimal digits.
    """
    paths = [
        os.path.join(base, name)
        for base, _, names in os.walk(folder)
        for name in names
        if name.endswith(_SUFFIXES)
    ]
    digest = hashlib.blake2b(digest_size=16)
    for path in [*sorted(paths), *files]:
        digest.update(os.path.relpath(path, folder).encode())
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def of_component(file: str) -> str:
    """Digest of a component and of the modules that all components share.

    Args:
      file: `__file__` of its `component.py`.
    """
    folder = os.path.dirname(os.path.abspath(file))
    beside = glob.glob(os.path.join(os.path.dirname(folder), "*"))
    shared = sorted(path for path in beside if path.endswith(_SUFFIXES))
    return fingerprint(folder, *shared)
