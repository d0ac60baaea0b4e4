"""A feature's figures over all environments, from `environments.json`."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Figures:
    """Each None where nothing is known.

    Attributes:
      apart: the largest distance between two environments.
      missing: the least and the largest missing rate.
      label: the least and the largest AUC for the label, of the feature alone, learned
        and tried in the same environment.
      elsewhere: the least, tried in another one.
      environment: the largest AUC with which it tells an environment from the others.
    """

    apart: float | None
    missing: tuple[float, float] | None
    label: tuple[float, float] | None
    elsewhere: float | None
    environment: float | None


def of(feature: Mapping[str, Any]) -> Figures:
    """Of an entry of `features`."""
    auc = feature["auc"]
    own = [row[i] for i, row in enumerate(auc) if row[i] is not None]
    cross = [
        value
        for i, row in enumerate(auc)
        for j, value in enumerate(row)
        if i != j and value is not None
    ]
    apart = [v for row in feature["distances"] for v in row if v is not None]
    tells = [value for value in feature["tells"] if value is not None]
    return Figures(
        apart=max(apart, default=None),
        missing=_ends(feature["missing"]),
        label=_ends(own),
        elsewhere=min(cross, default=None),
        environment=max(tells, default=None),
    )


def _ends(values: list[float]) -> tuple[float, float] | None:
    return (min(values), max(values)) if values else None
