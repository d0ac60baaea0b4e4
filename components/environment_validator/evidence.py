"""All that the rules look at."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow_metadata.proto.v0 import schema_pb2

from components.environment_validator import comparing, events, sampled
from components.environment_validator.profiles import Profile
from components.environment_validator.repeats import Repeats

TRAIN, EVAL, OOD = "train", "eval", "ood"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The environments, measured.

    Attributes:
      profiles: of each split and environment that has rows.
      repeats: how often rows and keys occur.
      sampled: the sampled rows of the environments that are compared.
      comparisons: of each feature.
      transfer: AUC of naive Bayes for each event of the label, learned in one
        environment and tried in each; [V, E, E].
      counts: of the Examples artifact.
      schema: of the examples.
      reference: of the last released run, see `record.reference`; {} for none.
    """

    profiles: Sequence[Profile]
    repeats: Repeats
    sampled: sampled.Sampled
    comparisons: Sequence[comparing.Comparison]
    transfer: np.ndarray
    counts: Mapping[str, Any]
    schema: schema_pb2.Schema
    reference: Mapping[str, Any]

    @property
    def expected(self) -> list[tuple[str, str]]:
        """(split, environment) that should have rows."""
        cells = []
        for name, entry in sorted(self.counts.get("environments", {}).items()):
            splits = (OOD,) if entry.get("held_out") else (TRAIN, EVAL)
            cells += [(split, name) for split in splits]
        return cells

    @property
    def compared(self) -> list[Profile]:
        """The profiles of `sampled.environments`, in its order."""
        by_name = {p.environment: p for p in self.profiles if p.split != EVAL}
        return [by_name[name] for name in self.sampled.environments]

    def is_training(self, index: int) -> bool:
        """Whether an environment of `sampled.environments` is trained on."""
        return index < self.sampled.num_training

    def classes(self, index: int, event: int = 0) -> tuple[int, int]:
        """Sampled rows of an environment with and without an event of the label."""
        labels = self.sampled.events[event].labels[index]
        positives = int(labels.sum())
        return positives, len(labels) - positives

    def told(self, event: int) -> str:
        """An event of the label, as a sentence names it."""
        return self.sampled.events[event].told

    @property
    def sure(self) -> float:
        """Standard errors by which what features tell of the label is judged."""
        return events.sure(len(self.sampled.events))


def missing_rates(profiles: Sequence[Profile]) -> dict[str, list[float]]:
    """The share of examples without a value: feature -> a rate a profile."""
    rates: dict[str, list[float]] = {}
    for i, profile in enumerate(profiles):
        for feature in profile.statistics.features:
            name = feature.path.step[0] if feature.path.step else feature.name
            common = getattr(feature, feature.WhichOneof("stats")).common_stats
            rate = 1 - common.num_non_missing / max(profile.rows, 1)
            rates.setdefault(name, [1.0] * len(profiles))[i] = rate
    return rates
