"""Where a verdict comes from: digests, artifacts, versions and settings."""

from collections.abc import Mapping
from typing import Any

from components.invariance_validator.changed import flattened

_DIGESTS = {
    "examples_fingerprint": "data (examples)",
    "model_digest": "model",
    "checks_fingerprint": "checks",
    "config": "config",
    "code": "code of the training",
    "validator": "code of this validator",
}


def facts(
    lineage: Mapping[str, str],
    digests: Mapping[str, str | None],
    context: Mapping[str, Any],
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Title -> label and text.

    Args:
      lineage: artifacts that it was made from: label -> URI and id.
      digests: key -> digest; unknown ones and None are left out.
      context: of the component; `config` and `code` in it are digests.
    """
    known = {**{key: context.get(key) for key in ("config", "code")}, **digests}
    rest = {k: v for k, v in context.items() if k not in ("config", "code", "versions")}
    groups = [
        ("Digests", [(_DIGESTS[k], str(known[k])) for k in _DIGESTS if known.get(k)]),
        ("Versions", list(flattened("", context.get("versions") or {}))),
        ("Artifacts", [(label, str(text)) for label, text in lineage.items()]),
        ("Settings", list(flattened("", rest))),
    ]
    return [(title, pairs) for title, pairs in groups if pairs]
