"""`environments.json`: what was found, measured and kept for the next run."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.environment_validator import comparing, findings, units
from components.environment_validator.checks import ERROR, OFF, Settings
from components.environment_validator.evidence import Evidence, missing_rates
from components.environment_validator.sampled import CATEGORY

RECORD_FILE = "environments.json"
REFERENCE_FILE = "environments_reference.json"
_MOST_CATEGORIES = 1_000


def record(
    evidence: Evidence, settings: Settings, found: Sequence[findings.Finding]
) -> dict[str, Any]:
    """What is kept of an inspection, as plain JSON without NaN.

    Returns:
      `environments` (in the order of all matrices), `training` (how many of them are
      trained on), `counts`, `findings`, `features` (`distances`, `auc`, `tells` and
      `missing` as in `comparing.Comparison`, and of which event of the label the AUC
      is), `transfer` (the mean over the label's events), `task`, `checks`, and
      `sampled`: rows of each environment that distances and AUCs are computed on.
    """
    names, samples = evidence.sampled.environments, evidence.sampled
    missing = missing_rates(evidence.compared)
    features = [
        {
            "name": c.feature,
            "kind": c.kind,
            "distances": _plain(c.distances),
            "auc": _plain(c.auc),
            "tells": _plain(c.tells),
            "event": evidence.told(c.event),
            "missing": _plain(missing.get(c.feature.partition("[")[0], [])),
        }
        for c in evidence.comparisons
    ]
    sketch = next(iter(evidence.repeats.sketches.values()), None)
    return {
        "environments": list(names),
        "training": evidence.sampled.num_training,
        "task": samples.task,
        "classes": list(samples.classes),
        "counts": [
            {
                "environment": p.environment,
                "split": p.split,
                "examples": p.rows,
                "positives": p.positives if samples.task == "binary" else 0,
                "sizes": list(p.sizes),
            }
            for p in evidence.profiles
        ],
        "sampled": [len(labels) for labels in samples.labels],
        "duplicates_are_exact": sketch is None or sketch.complete,
        "findings": findings.as_json(found),
        "features": features,
        "transfer": _plain(comparing.mean_of_known(evidence.transfer)),
        "checks": {
            name: {"level": c.level, "bound": c.bound, "value": c.value, "asks": c.asks}
            for name, c in settings.checks.items()
            if c.level != OFF
        },
    }


def reference(evidence: Evidence) -> dict[str, Any]:
    """What a later run compares with, once a model of this one is released.

    Returns:
      `environments`: name -> the label (`positives`, a share; of classes `classes`,
      name -> share; of a number `label`, its 0.5th to 99.5th percentiles), `numbers`
      (feature -> its percentiles), `categories` (feature -> category -> share).
    """
    kept: dict[str, Any] = {}
    for i, profile in enumerate(evidence.compared):
        numbers, categories = {}, {}
        for feature in evidence.sampled.features:
            if feature.kind == CATEGORY:
                counts = comparing.shares(feature)[i]
                top = np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]
                total = max(int(counts.sum()), 1)
                categories[feature.name] = {
                    feature.categories[k]: counts[k] / total for k in top if counts[k]
                }
            elif not np.isnan(feature.values[i]).all():
                numbers[feature.name] = units.quantiles(feature.values[i]).tolist()
        kept[profile.environment] = {
            **_label(evidence, i),
            "numbers": numbers,
            "categories": categories,
        }
    return {"environments": kept}


def _label(evidence: Evidence, index: int) -> dict[str, Any]:
    samples, profile = evidence.sampled, evidence.compared[index]
    if samples.task == "regression":
        return {"label": units.quantiles(samples.labels[index]).tolist()}
    if samples.task == "multiclass":
        shares = (size / profile.rows for size in profile.sizes)
        return {"classes": dict(zip(samples.classes, shares, strict=True))}
    return {"positives": profile.positives / profile.rows}


def errors(kept: Mapping[str, Any]) -> list[findings.Finding]:
    """The findings of a record that stop a run."""
    found = findings.from_json(kept["findings"])
    return [f for f in found if f.level == ERROR]


def to_json(kept: Mapping[str, Any]) -> str:
    """A record or a reference as text."""
    return json.dumps(kept, allow_nan=False, ensure_ascii=False)


def _plain(values: Any) -> Any:
    """Nested lists of numbers with six digits; None in the place of NaN."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [_plain(v) for v in values]
    return round(float(values), 6) if math.isfinite(values) else None
