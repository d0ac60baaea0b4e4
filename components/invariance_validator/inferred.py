"""Inferred environments alone are never a basis for PASS.

They are made from the label and from the mistakes of a reference model, so good figures
on them do not show that a model works elsewhere, and bad ones may be the making of the
inference. A release needs a check that passes where an environment was known.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from components.invariance_validator.decision import Decision
from components.invariance_validator.judging import SEVERITY
from components.invariance_validator.slices import INSUFFICIENT_DATA, PASS
from components.multi_env_example_gen import bad_rows

_OOD = "ood"  # held-out environments, which are always known


def limit(
    decision: Decision, inference: Mapping[str, Any] | None
) -> tuple[Decision, tuple[str, ...]]:
    """The decision, no better than the inference of environments allows.

    Args:
      decision: of `decide`.
      inference: `inference.json`, or None where environments are known.

    Returns:
      The decision, INSUFFICIENT_DATA at best and not blessed where no check passes on
      a known environment; and the notes that go with it: none, or one sentence.
    """
    if inference is None:
        return decision, ()
    note = (
        f"The training environments were inferred ({inference['method']}):"
        f" {inference['sentence']}."
    )
    if _known_passes(decision):
        return decision, (f"{note} The verdict rests on the held-out environments.",)
    worst = min(decision.verdict, INSUFFICIENT_DATA, key=SEVERITY.__getitem__)
    limited = dataclasses.replace(decision, verdict=worst, blessed=False)
    return limited, (
        f"{note} No check passes on an environment that is known, and inferred ones"
        " alone show no invariance: name a known one in"
        " data.environments.held_out, with a check that looks at split ood.",
    )


def _known_passes(decision: Decision) -> bool:
    """Whether a check passes that looks at a held-out environment itself."""
    return any(
        check.kind != "baseline"
        and result.verdict == PASS
        and any(_OOD in outcome.split for outcome in decision.outcomes[check.name])
        for check, result in zip(decision.parsed, decision.checks, strict=True)
    )


def with_bad_rows(
    counts: Mapping[str, Any], inference: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Counts of ingestion, with the rows that were dropped before it."""
    found: dict[str, Any] = {}
    for part in (inference or {}, counts):
        bad_rows.merge(found, part.get("bad_rows") or {})
    return {**counts, "bad_rows": found}
