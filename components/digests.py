"""Digests of models and examples, and fingerprints of settings.

What a blessing is of is told by these, wherever the bytes lie. All are BLAKE2b of 16
bytes, as 32 hexadecimal digits.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from components import files, filesystem

RELEASE_FILE = os.path.join("assets.extra", "release.json")
CARD_FILE = os.path.join("assets.extra", "model_card.json")
CARD_MARKDOWN_FILE = os.path.join("assets.extra", "model_card.md")
# What a release tells of a model is no part of it.
TOLD_FILES = (RELEASE_FILE, CARD_FILE, CARD_MARKDOWN_FILE)
_CHUNK = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{32}")


def is_digest(text: Any) -> bool:
    """Whether it is 32 lower-case hexadecimal digits."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def of_model(path: str) -> str:
    """Digest of a SavedModel.

    Of every file's path below the folder and its content, but for `TOLD_FILES` in
    `assets.extra`, so that a released model has the digest that was blessed.

    Args:
      path: of the folder that holds `saved_model.pb`; may be a URL.
    """
    names = model_files(path)
    contents = files.for_each(names, lambda name: of_file(os.path.join(path, name)))
    return combined(dict(zip(names, contents, strict=True)))


def model_files(path: str) -> list[str]:
    """Paths of a SavedModel's files below its folder, sorted.

    Args:
      path: of the folder; may be a URL.
    """
    found = [
        os.path.relpath(os.path.join(folder, name), path)
        for folder, _, names in filesystem.walk(path)
        for name in names
    ]
    return sorted(name for name in found if name not in TOLD_FILES)


def of_file(path: str) -> bytes:
    """Digest of a file's content."""
    digest = _blake2b()
    with filesystem.open_file(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def of_bytes(content: bytes) -> bytes:
    """Digest of a content, as `of_file` of the file that holds it."""
    return hashlib.blake2b(content, digest_size=16).digest()


def combined(contents: Mapping[str, bytes]) -> str:
    """One digest of several files.

    BLAKE2b over name, a zero byte and the content's digest, in the order of the names.

    Args:
      contents: name -> digest of the content, 16 bytes.
    """
    digest = _blake2b()
    for name in sorted(contents):
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + contents[name])
    return digest.hexdigest()


def of_examples(paths: Mapping[str, str], counts: str) -> str:
    """Fingerprint of examples.

    Args:
      paths: `Split-eval/data-00000.gz` -> path of each file that was read.
      counts: JSON of what was counted when they were made; may be empty.
    """
    names = sorted(paths)
    contents = files.for_each(names, lambda name: of_file(paths[name]))
    found = dict(zip(names, contents, strict=True))
    return combined({**found, "counts": of_bytes(counts.encode())})


def of_settings(value: Any) -> str:
    """Fingerprint of plain values: the same for every order of keys.

    Raises:
      ValueError, TypeError: a value that JSON has no form for.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return of_bytes(text.encode()).hex()


def _blake2b() -> Any:
    return hashlib.blake2b(digest_size=16)
