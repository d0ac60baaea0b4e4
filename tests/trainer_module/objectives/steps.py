"""Training steps made by hand, for the tests of objectives."""

import numpy as np
import tensorflow as tf

from trainer_module import objectives, penalties

ENVIRONMENTS = 4  # of which one is absent
SIZE = 24
WIDTH = 5


def draw(task="binary", seed=0, weighted=True):
    """NumPy arrays: features, labels, ids of three environments, weights."""
    random = np.random.default_rng(seed)
    labels = {
        "binary": random.integers(0, 2, size=(SIZE, 1)).astype(np.float32),
        "multiclass": random.integers(0, 3, size=SIZE).astype(np.int32),
        "regression": random.normal(size=(SIZE, 1)).astype(np.float32),
    }
    weights = random.uniform(0.5, 2, size=SIZE).astype(np.float32)
    return {
        "features": random.normal(size=(SIZE, WIDTH)).astype(np.float32),
        "labels": labels[task],
        "environment_ids": random.choice([0, 0, 1, 3], size=SIZE).astype(np.int32),
        "sample_weights": weights if weighted else None,
    }


class Linear(tf.Module):
    """Logits that are linear in `dense_x`, which are the representations too.

    It counts its calls by mode and keeps the features and logits of the last one.
    """

    def __init__(self, outputs=1, seed=0):
        super().__init__()
        random = np.random.default_rng(seed)
        kernel = random.normal(size=(WIDTH, outputs)).astype(np.float32)
        self.kernel = tf.Variable(kernel)
        self.calls = {True: 0, False: 0}
        self.features = self.logits = None

    def __call__(self, features, training):
        self.calls[training] += 1
        self.features = features
        self.logits = features["dense_x"] @ self.kernel
        return self.logits, features["dense_x"]


def make_shapes(task="binary", **changes):
    """What a model like `Linear` has to say before training."""
    return objectives.Shapes(
        **{
            "num_environments": ENVIRONMENTS,
            "representations": WIDTH,
            "outputs": 3 if task == "multiclass" else 1,
            "task": task,
            "seed": 0,
        }
        | changes
    )


def make_step(model, arrays, task="binary", number=0, **changes):
    """A step of a model on arrays as `draw` makes them."""
    features = {"dense_x": tf.convert_to_tensor(arrays["features"])}
    logits, representations = model(features, True)
    batch = penalties.EnvironmentBatch(
        **{
            "logits": logits,
            "labels": tf.convert_to_tensor(arrays["labels"]),
            "environment_ids": tf.convert_to_tensor(arrays["environment_ids"]),
            "num_environments": ENVIRONMENTS,
            "sample_weights": arrays["sample_weights"],
            "representations": representations,
            "task": task,
        }
        | changes
    )
    return objectives.Step(batch, features, model, tf.cast(number, tf.int64))


def built(name, task="binary", **options):
    """An objective that is ready for `make_step`."""
    objective = objectives.get(name, **options)
    objective.build(make_shapes(task))
    return objective


def means(values, arrays, present=(0, 1, 3)):
    """Weighted mean of values [B, ...] in each environment, by a loop."""
    weights = arrays["sample_weights"]
    weights = np.ones(len(values)) if weights is None else weights
    masks = [arrays["environment_ids"] == environment for environment in present]
    return np.array([np.average(values[m], axis=0, weights=weights[m]) for m in masks])
