"""Schedules of a penalty's weight: functions step -> weight.

The usual course is to let the model learn with a small weight first, then to raise
it. `total_loss` keeps the loss on one scale whatever the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Schedule = Callable[[tf.Tensor, float], tf.Tensor]

KINDS = ("step", "constant", "linear")


def get(kind: str, anneal_steps: int = 0) -> Schedule:
    """Makes a schedule.

    * step: min(weight, 1) before `anneal_steps`, the weight from then on. This is what
      the code of the IRM paper does.
    * constant: the weight from the first step on; `anneal_steps` is not read.
    * linear: rises in a straight line from 0 at step 0 to the weight at
      `anneal_steps`, then stays.

    Args:
      kind: "step", "constant" or "linear".
      anneal_steps: number of steps >= 0 until the full weight.

    Returns:
      A function of (step, weight), the step counted from 0, to a float32 scalar in
      [0, weight].

    Raises:
      ValueError: unknown kind, or negative `anneal_steps`.

    References:
      Arjovsky et al. 2019, Invariant Risk Minimization, appendix D.
    """
    if kind not in KINDS:
        raise ValueError(
            f"Unknown schedule {kind!r}: the known ones are {', '.join(KINDS)}"
        )
    if anneal_steps < 0:
        raise ValueError(f"anneal_steps is {anneal_steps}; expected 0 or more")

    def step_schedule(step: tf.Tensor, weight: float) -> tf.Tensor:
        low = min(weight, 1.0)
        return tf.where(tf.cast(step, tf.int64) < anneal_steps, low, weight)

    def constant_schedule(step: tf.Tensor, weight: float) -> tf.Tensor:
        del step
        return tf.constant(weight, tf.float32)

    def linear_schedule(step: tf.Tensor, weight: float) -> tf.Tensor:
        share = tf.cast(step, tf.float32) / float(max(anneal_steps, 1))
        return weight * (tf.minimum(share, 1.0) if anneal_steps else tf.ones([]))

    return {
        "step": step_schedule,
        "constant": constant_schedule,
        "linear": linear_schedule,
    }[kind]


def total_loss(
    risk: tf.Tensor, penalties: Sequence[tf.Tensor], weights: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Risk plus weighted penalties, divided by the largest weight where it exceeds 1.

    The division keeps the gradients on the scale of the risk's: a weight of 10,000 is
    then a small learning rate for the risk, not a huge one for the penalty.

    Args:
      risk: scalar, the mean risk with any regularisation added.
      penalties: scalars.
      weights: scalars >= 0, one for each penalty.

    Returns:
      Scalar float32.

    References:
      Arjovsky et al. 2019, the code published with the paper (colored_mnist/main.py).
    """
    scale = tf.ones([], tf.float32)
    for penalty, weight in zip(penalties, weights, strict=True):
        risk = risk + weight * penalty
        scale = tf.maximum(scale, weight)
    return risk / scale
