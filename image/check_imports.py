"""Imports all that a task of a compiled pipeline may; run when an image is built.

Exit 0 where every import works, from the installed packages and their bytecode.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("pipeline", "components", "trainer_module")
OTHERS = (
    "tensorflow",
    "tfx.v1",
    "tensorflow_model_analysis",
    "apache_beam",
    "google.cloud.aiplatform",
    "kfp",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.scripts.run_executor",
)


def modules(package: str) -> Iterator[str]:
    """Yields `package` and the names of all modules below it."""
    yield package
    paths = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(paths, f"{package}."):
        yield module.name


def main() -> int:
    """Imports everything; returns 1 where something lacks bytecode, else 0."""
    for name in (*OTHERS, *(name for package in PACKAGES for name in modules(package))):
        importlib.import_module(name)
    files = [getattr(module, "__file__", None) for module in sys.modules.values()]
    loaded = [Path(file) for file in files if file and file.endswith(".py")]
    bare = [
        path
        for path in loaded
        if "site-packages" in path.parts
        and not Path(importlib.util.cache_from_source(str(path))).exists()
    ]
    print(f"{len(loaded)} modules imported, {len(bare)} without bytecode")
    for path in bare[:5]:
        print(f"no bytecode: {path}", file=sys.stderr)
    return int(bool(bare))


if __name__ == "__main__":
    sys.exit(main())
