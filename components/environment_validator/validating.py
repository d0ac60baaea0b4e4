"""From profiles to findings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from components.environment_validator import (
    comparing,
    count_rules,
    feature_rules,
    label_rules,
    other_rules,
    row_rules,
    sampled,
)
from components.environment_validator.checks import Settings
from components.environment_validator.evidence import Evidence
from components.environment_validator.findings import Asked, Finding
from components.environment_validator.profiles import Columns, Profile, order
from components.environment_validator.repeats import Repeats


def gather(
    profiles: Sequence[Profile],
    repeated: Repeats,
    columns: Columns,
    counts: Mapping[str, Any],
    categorical: Collection[str] = (),
    reference: Mapping[str, Any] | None = None,
) -> Evidence:
    """Compares the environments.

    Args:
      profiles: of each split and environment.
      repeated: how often rows and keys occur.
      columns: which column is what.
      counts: of the Examples artifact.
      categorical: numbers that are names.
      reference: of the last released run.
    """
    samples = sampled.gather(
        profiles, columns.label, categorical, columns.task, columns.classes
    )
    return Evidence(
        profiles=order(profiles),
        repeats=repeated,
        sampled=samples,
        comparisons=comparing.compare(samples),
        transfer=comparing.transfer(samples),
        counts=counts,
        schema=columns.schema,
        reference=reference or {},
    )


def judge(evidence: Evidence, settings: Settings, columns: Columns) -> list[Finding]:
    """What the checks find, errors first."""
    asked = Asked(settings)
    count_rules.judge(evidence, asked, columns.label)
    other_rules.schema(evidence, asked, (*columns.candidates, columns.label))
    feature_rules.judge(evidence, asked, columns.candidates)
    feature_rules.tells_environment(evidence, asked)
    label_rules.judge(evidence, asked)
    row_rules.judge(evidence, asked)
    other_rules.drift(evidence, asked)
    return asked.sorted()
