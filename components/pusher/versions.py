"""Versions of a served model in a folder, as TensorFlow Serving watches it."""

import hashlib
import os
import shutil
import tempfile
import time

_CHUNK = 1 << 20


def digest_of(model_path: str) -> str:
    """Digest of a SavedModel: BLAKE2b over every file's relative path and content."""
    digest = hashlib.blake2b(digest_size=16)
    paths = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(model_path)
        for name in names
    ]
    for path in sorted(paths):
        digest.update(os.path.relpath(path, model_path).encode() + b"\0")
        digest.update(os.path.getsize(path).to_bytes(8, "big"))
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def latest(serving: str) -> str | None:
    """Path of the newest version under `serving`, or None."""
    if not os.path.isdir(serving):
        return None
    versions = [name for name in os.listdir(serving) if name.isdigit()]
    return os.path.join(serving, max(versions, key=int)) if versions else None


def publish(model_path: str, serving: str) -> tuple[str, bool]:
    """Makes a model the newest version, in one rename.

    Args:
      model_path: the SavedModel.
      serving: the folder that holds the versions.

    Returns:
      Path of the version, and True where it is new: a model that is already the
      newest version is not pushed again.
    """
    current = latest(serving)
    if current is not None and digest_of(current) == digest_of(model_path):
        return current, False
    os.makedirs(serving, exist_ok=True)
    version = int(time.time())
    if current is not None:
        version = max(version, int(os.path.basename(current)) + 1)
    staging = tempfile.mkdtemp(prefix=".push-", dir=serving)
    try:
        copy = os.path.join(staging, "model")
        shutil.copytree(model_path, copy)
        target = os.path.join(serving, str(version))
        os.rename(copy, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target, True
