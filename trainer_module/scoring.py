"""A model's outputs on a whole split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer_module.data import Layout, Split
from trainer_module.keras3 import keras
from trainer_module.model import call_model


class Predictor:
    """Scores splits with a model, traced once."""

    def __init__(self, model: keras.Model, layout: Layout) -> None:
        """Takes a model, whatever becomes of its weights.

        Args:
          model: takes features by name.
          layout: of the splits' rows.
        """

        def predict(floats: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, ...]:
            rows = layout.unpack(floats, ids)
            logits, _ = call_model(model, rows.features, False)
            labels = tf.reshape(rows.labels, [-1])
            weights = tf.ones_like(labels) if rows.weights is None else rows.weights
            return (
                tf.cast(logits, tf.float32),
                labels,
                rows.environment_ids,
                tf.reshape(weights, [-1]),
            )

        self._predict: Callable = tf.function(
            predict, autograph=False, reduce_retracing=True
        )

    def __call__(self, split: Split) -> tuple[np.ndarray, ...]:
        """Logits [N, K], labels [N], environment ids [N] and weights [N] of a split."""
        parts = [self._predict(*batch) for batch in split.batches()]
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True))
