"""Custom TFX components.

Artifact types are re-exported lazily: Kubeflow imports `components.<Type>`, while
plain logic below this package must be importable without paying for TFX.
"""

import importlib
from typing import Any

_ARTIFACTS = frozenset(
    {
        *("EnvironmentInference", "EnvironmentReport", "GroupSizes"),
        *("InvarianceReport", "RunRecord", "SourceManifest"),
    }
)


def __getattr__(name: str) -> Any:
    """Resolves an artifact type on first use (PEP 562)."""
    if name in _ARTIFACTS:
        return getattr(importlib.import_module("components.artifacts"), name)
    raise AttributeError(f"module 'components' has no attribute {name!r}")
