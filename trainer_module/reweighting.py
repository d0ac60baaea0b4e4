"""Importance weights in training: from a split to a weight for every row of a batch."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from trainer_module.data import Split
from trainer_module.features import Feature
from trainer_module.importance import DensityRatio, fit_density_ratio
from trainer_module.penalties import EnvironmentBatch
from trainer_module.settings import TrainSettings

ROWS = 20_000  # of each environment, that the classifier sees at most

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reweighting:
    """Multiplies the weights of a batch's rows by a density ratio.

    Attributes:
      ratio: of a matrix of numbers and environment ids.
      features: the model's inputs.
    """

    ratio: DensityRatio
    features: Sequence[Feature]

    def weigh(
        self, values: Mapping[str, tf.Tensor], batch: EnvironmentBatch
    ) -> EnvironmentBatch:
        """The batch with weights that undo the shift of its features.

        Args:
          values: the model's inputs by name.
          batch: its weights, where it has some, are multiplied.
        """
        weights = self.ratio(as_matrix(self.features, values), batch.environment_ids)
        if batch.sample_weights is not None:
            weights *= tf.reshape(tf.cast(batch.sample_weights, tf.float32), [-1])
        return dataclasses.replace(batch, sample_weights=weights)


def fit_reweighting(split: Split, settings: TrainSettings) -> Reweighting | None:
    """Fits the density ratio that the settings ask for on the training split.

    Args:
      split: the training split; equally many rows of each environment are drawn.
      settings: `importance` says how.

    Returns:
      The weights, or None where none are asked for.
    """
    importance = settings.importance
    if importance is None:
        return None
    names = split.environments
    rows = int(min(ROWS, *split.counts)) * len(names)
    drawn = next(iter(split.balanced(rows, settings.seed)))
    taken = split.layout.unpack(*drawn)
    features = split.layout.features
    target = importance.target
    ratio = fit_density_ratio(
        as_matrix(features, taken.features),
        taken.environment_ids,
        len(names),
        target=target if target == "pooled" else names.index(target),
        clip=importance.clip,
        hidden=importance.hidden,
        steps=importance.steps,
        l2=importance.l2,
        seed=settings.seed,
    )
    for name, size in zip(names, np.array(ratio.effective_sizes), strict=True):
        _LOG.info("Weighted rows of %s count as %.0f %% of theirs", name, 100 * size)
    return Reweighting(ratio, features)


def as_matrix(
    features: Sequence[Feature], values: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """All features as one matrix [B, D] float32; ids become zeros and a one."""
    parts = []
    for feature in features:
        value = values[feature.name]
        if feature.cardinality is not None:
            value = tf.one_hot(tf.reshape(value, [-1]), feature.cardinality)
        parts.append(tf.cast(value, tf.float32))
    return tf.concat(parts, axis=1)
