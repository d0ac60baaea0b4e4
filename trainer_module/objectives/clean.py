"""The clean forward pass, kept so that an attack can start from it."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainer_module.objectives.base import Forward, Pullback


def modes_agree(forward: Forward, features: Mapping[str, tf.Tensor]) -> bool:
    """Whether the model computes the same in training and in inference mode.

    It does without dropout, noise, batch statistics and the like. Both modes are
    traced, and their graphs compared node by node.

    Args:
      forward: (features, training) -> logits and representations.
      features: the model's inputs by name, [B, width] each; their values are not read.

    Returns:
      True only where the graphs are the same.
    """
    specs = {
        name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
        for name, tensor in features.items()
    }

    def graph(training: bool) -> object:
        traced = tf.function(lambda inputs: forward(inputs, training), autograph=False)
        return traced.get_concrete_function(specs).graph.as_graph_def()

    return graph(True) == graph(False)


def clean_pass(
    forward: Forward, features: Mapping[str, tf.Tensor], keep: bool
) -> tuple[tf.Tensor, tf.Tensor | None, Pullback | None]:
    """Calls the model in training mode, and remembers how if that is asked for.

    Args:
      forward: (features, training) -> logits [B, K] and representations or None.
      features: the model's inputs by name, [B, width] each.
      keep: whether there shall be a way back; only where `modes_agree`.

    Returns:
      Logits, representations, and None or a function from a gradient in the logits
      [B, K] to those in the features, by the name of each that is floating: [B, width],
      or None where the logits don't depend on it.
    """
    if not keep:
        return *forward(features, True), None
    floating = {name: f for name, f in features.items() if f.dtype.is_floating}
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
        tape.watch(floating)
        logits, representations = forward(features, True)

    def pullback(upstream: tf.Tensor) -> dict[str, tf.Tensor | None]:
        return tape.gradient(logits, floating, output_gradients=upstream)

    return logits, representations, pullback
