"""A toy problem for the loop: Colored MNIST without the digits."""

import numpy as np
import tensorflow as tf

from trainer_module.data import Layout, Split
from trainer_module.features import Feature

FEATURES = (Feature("numeric_shape"), Feature("numeric_colour"))
CONFIG = {
    "label": "late",
    "environments": ["first", "second"],
    "batch_size": 2000,
    "steps": 100,
    "learning_rate": 0.05,
    "log_every": 40,
    "model": {"hidden": [8]},
}


def make_split(features, labels, ids, weights=None):
    layout = Layout(FEATURES, weighted=weights is not None)
    columns = [features, labels[:, None]]
    columns += [] if weights is None else [weights[:, None]]
    memory = (
        tf.constant(np.hstack(columns), tf.float32),
        tf.constant(ids[:, None], tf.int32),
    )
    counts = np.bincount(ids, minlength=2)
    stream = tf.data.Dataset.from_tensors(memory)
    return Split(layout, ("first", "second"), counts, stream, memory)


def coloured(colour_noises, rows=1000, seed=0):
    """Colored MNIST without the digits.

    Shape agrees with the label in 3 of 4 rows of every environment, colour in all but
    `colour_noises` of them.
    """
    random = np.random.default_rng(seed)
    parts = []
    for index, noise in enumerate(colour_noises):
        shape = np.arange(rows) % 2
        labels = shape ^ (random.uniform(size=rows) < 0.25)
        colour = labels ^ (random.uniform(size=rows) < noise)
        signs = 2.0 * np.stack([shape, colour], axis=1) - 1.0
        parts.append((signs, labels.astype(float), np.full(rows, index)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
