"""What assigns a row its environment: a function of its features, label and key."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from components.environment_inferrer import clusters, design, eiil, reference

EIIL, CLUSTERS = "eiil", "clusters"
_AT_A_TIME = 8192  # rows of a matrix that may be wide


@dataclasses.dataclass(frozen=True)
class Settings:
    """The config's `data.environments.infer`; see there.

    Attributes:
      method: eiil or clusters.
      number: of environments.
      seed: of networks and clusters.
      sample: rows that are fitted on, at most.
      min_stability: an adjusted Rand index, in [0, 1].
      on_uncertain: `refuse` or `accept`.
    """

    method: str = EIIL
    number: int = 2
    seed: int = 0
    sample: int = 20_000
    min_stability: float = 0.65
    on_uncertain: str = "refuse"


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows that rules are fitted on.

    Attributes:
      rows: of the reference's matrix; float32 [N, D].
      labels: 0 or 1, in equal parts; int64 [N].
      keys: of what a split keeps together; uint64 [N].
      weights: rows of the data that each stands for; float64 [N].
    """

    rows: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    weights: np.ndarray

    def take(self, where: np.ndarray) -> "Sample":
        """Some of the rows; `where` is bool [N]."""
        return Sample(
            self.rows[where], self.labels[where], self.keys[where], self.weights[where]
        )


@dataclasses.dataclass(frozen=True)
class Rule:
    """A fitted one.

    Attributes:
      reference: the model whose mistakes tell.
      clusters: None of EIIL, which needs none.
      seed: parts the keys into folds.
    """

    reference: reference.Reference
    clusters: clusters.Clusters | None
    seed: int

    def logits(self, rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Of the reference, each row's by the network that has not seen its key."""
        return self.reference.logits(rows, reference.parts(keys, self.seed))

    def assign(
        self, rows: np.ndarray, labels: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        """The environment of each row.

        Args:
          rows: float32 [rows, D].
          labels: 0 or 1; [rows].
          keys: uint64 [rows].

        Returns:
          int64 [rows], from 0.
        """
        logits = self.logits(rows, keys)
        if self.clusters is None:
            return eiil.assign(logits, labels)
        return self.clusters.assign(rows, logits, labels)


@dataclasses.dataclass(frozen=True)
class TableRule:
    """A rule for columns as they are stored."""

    encoder: design.Encoder
    rule: Rule

    def assign(
        self, columns: Mapping[str, pa.Array], labels: np.ndarray, keys: np.ndarray
    ) -> np.ndarray:
        """See `Rule.assign`; `columns` as `design.stored` gives them."""
        found = [np.zeros(0, np.int64)]
        for start in range(0, len(labels), _AT_A_TIME):
            part = slice(start, start + _AT_A_TIME)
            rows = self.encoder.apply({n: c[part] for n, c in columns.items()})
            found.append(self.rule.assign(rows, labels[part], keys[part]))
        return np.concatenate(found)


def fit(sample: Sample, settings: Settings) -> Rule:
    """Fits a rule."""
    seed = settings.seed
    folds = reference.parts(sample.keys, seed)
    model = reference.cross_fit(sample.rows, sample.labels, folds, seed)
    if settings.method == EIIL:
        return Rule(model, None, seed)
    logits = model.logits(sample.rows, folds)
    found = clusters.fit(
        sample.rows, logits, sample.labels, sample.weights, settings.number, seed
    )
    return Rule(model, found, seed)
