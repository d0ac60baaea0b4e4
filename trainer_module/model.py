"""The model: transformed features to logits and the last hidden representation.

An own network is a function at a dotted path with the signature of `build_model`. It
returns a Keras 3 model (`import keras`) that takes the features by name and gives
logits [B, K], or logits and representations [B, D]. Use Keras layers alone: TFT's layer
is Keras 2 and stays outside (export.py joins both).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from trainer_module.features import Feature
from trainer_module.keras3 import keras
from trainer_module.settings import ModelSettings

ONE_HOT_UP_TO = 32


def build_model(
    features: Sequence[Feature], settings: ModelSettings, outputs: int = 1
) -> keras.Model:
    """Builds the default network: a multilayer perceptron.

    Numbers go in as they are, ids as one-hot rows up to `ONE_HOT_UP_TO` of them and as
    embeddings beyond.

    Args:
      features: the inputs; float32 [B, width], or int32 [B, 1] where they hold ids.
      settings: layers, dropout, L2 factor, length of embeddings.
      outputs: number of logits, K.

    Returns:
      A model from a dict by feature name to (logits [B, K], representations [B, D]).
    """
    regularizer = keras.regularizers.L2(settings.l2) if settings.l2 else None
    inputs = {
        feature.name: keras.Input(
            (feature.width,),
            name=feature.name,
            dtype="int32" if feature.cardinality else "float32",
        )
        for feature in features
    }
    parts = [
        inputs[feature.name]
        if feature.cardinality is None
        else _encode(inputs[feature.name], feature, settings, regularizer)
        for feature in features
    ]
    hidden = keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for units in settings.hidden:
        hidden = keras.layers.Dense(
            units, activation="relu", kernel_regularizer=regularizer
        )(hidden)
        if settings.dropout:
            hidden = keras.layers.Dropout(settings.dropout)(hidden)
    logits = keras.layers.Dense(
        outputs, kernel_regularizer=regularizer, dtype="float32", name="logits"
    )(hidden)
    return keras.Model(inputs, (logits, hidden))


def make_model(
    features: Sequence[Feature],
    settings: ModelSettings,
    outputs: int = 1,
    precision: str = "float32",
) -> keras.Model:
    """Builds the model that the settings name: their own, or the default one.

    Args:
      features: the inputs.
      settings: of the network.
      outputs: number of logits.
      precision: "float32", or "bfloat16" or "float16" for what layers compute; their
        variables stay in float32. An own network should give its last layer the dtype
        "float32".

    Raises:
      ValueError: the dotted path leads nowhere, or to something that isn't a builder.
    """
    build = build_model if settings.build is None else _find_builder(settings.build)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(
        precision if precision == "float32" else f"mixed_{precision}"
    )
    try:
        model = build(features, settings, outputs)
    finally:
        keras.config.set_dtype_policy(before)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"train.model.build {settings.build!r} returned {type(model).__name__}; "
            "expected a Keras 3 model (import keras, not tf.keras)"
        )
    return model


def call_model(model: keras.Model, features: Any, training: bool) -> tuple[Any, Any]:
    """Logits [B, K] and representations [B, D], or None where the model has none."""
    result = model(features, training=training)
    if isinstance(result, (tuple, list)):
        logits, representations = result
        return logits, representations
    return result, None


def _encode(
    ids: Any, feature: Feature, settings: ModelSettings, regularizer: Any
) -> Any:
    """[B, 1] ids to rows of numbers."""
    size = int(feature.cardinality or 0)
    if size <= ONE_HOT_UP_TO:
        return keras.layers.CategoryEncoding(size, output_mode="one_hot")(ids)
    vectors = keras.layers.Embedding(
        size,
        settings.embedding_dim,
        embeddings_regularizer=regularizer,
        name=f"embedding_{feature.name}",
    )(ids)
    return keras.layers.Flatten()(vectors)


def _find_builder(path: str) -> Callable[..., keras.Model]:
    module_name, _, name = path.rpartition(".")
    try:
        builder = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"train.model.build {path!r} can't be imported ({error}); expected the "
            "dotted path of a function, such as my_model.build_model"
        ) from error
    if not callable(builder):
        raise ValueError(f"train.model.build {path!r} is not a function")
    return builder
