"""Schedules of a penalty's weight: functions step -> weight.

The usual course is to let the model learn with a small weight first, then to raise
it. `total_loss` keeps the loss on one scale whatever the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

Schedule = Callable[[tf.Tensor, float], tf.Tensor]

KINDS = ("step", "constant", "linear", "cosine")


def get(
    kind: str, anneal_steps: int = 0, initial_weight: float | None = None
) -> Schedule:
    """Makes a schedule.

    * step: `initial_weight` before `anneal_steps`, the weight from then on. Left out,
      the initial weight is min(weight, 1), as in the code of the IRM paper.
    * constant: the weight from the first step on; the two others are not read.
    * linear: a straight line from `initial_weight`, 0 where left out, at step 0 to the
      weight at `anneal_steps`, then constant.
    * cosine: as linear, but along half a cosine: slow, fast, slow.

    Args:
      kind: "step", "constant", "linear" or "cosine".
      anneal_steps: number of steps >= 0 until the full weight.
      initial_weight: >= 0, never more than the weight is; or None.

    Returns:
      A function of (step, weight), the step counted from 0, to a float32 scalar in
      [0, weight].

    Raises:
      ValueError: unknown kind, or negative `anneal_steps` or `initial_weight`.

    References:
      Arjovsky et al. 2019, Invariant Risk Minimization, appendix D.
    """
    if kind not in KINDS:
        raise ValueError(
            f"Unknown schedule {kind!r}: the known ones are {', '.join(KINDS)}"
        )
    if anneal_steps < 0:
        raise ValueError(f"anneal_steps is {anneal_steps}; expected 0 or more")
    if initial_weight is not None and not 0 <= initial_weight < math.inf:
        raise ValueError(f"initial_weight is {initial_weight}; expected 0 or more")

    def share(step: tf.Tensor) -> tf.Tensor:
        """How far the weight has come from its start: [0, 1]."""
        if kind == "constant" or anneal_steps == 0:
            return tf.ones([])
        course = tf.minimum(tf.cast(step, tf.float32) / anneal_steps, 1.0)
        if kind == "step":
            return tf.floor(course)
        return course if kind == "linear" else (1.0 - tf.cos(math.pi * course)) / 2.0

    def schedule(step: tf.Tensor, weight: float) -> tf.Tensor:
        low = initial_weight
        if low is None:
            low = 1.0 if kind == "step" else 0.0
        low = min(low, weight)
        done = share(step)
        return (1.0 - done) * low + done * weight

    return schedule


def total_loss(
    risk: tf.Tensor,
    regularization: tf.Tensor,
    values: Sequence[tf.Tensor],
    weights: Sequence[tf.Tensor],
    replaces_risk: Sequence[bool],
) -> tf.Tensor:
    """Risk plus weighted penalties, divided by the largest weight where it exceeds 1.

    loss = (max(1 - sum of r_i w_i, 0) risk + regularization + sum_i w_i v_i)
           / max(1, w_1, w_2, ...)

    where r_i is 1 for what replaces the risk, such as the worst environment's, and 0
    for what is added to it. So at a weight of 1 the risk is gone, and a weight that
    rises from 0 to 1 leads from one to the other.

    The division keeps the gradients on the scale of the risk's: a weight of 10,000 is
    then a small learning rate for the risk, not a huge one for the penalty.

    Args:
      risk: scalar, the mean risk.
      regularization: scalar, what the model's layers add.
      values: scalars, of the penalties and objectives.
      weights: scalars >= 0, one for each value.
      replaces_risk: one for each value.

    Returns:
      Scalar float32.

    References:
      Arjovsky et al. 2019, the code published with the paper (colored_mnist/main.py),
      for the division.
    """
    scale = kept = tf.ones([], tf.float32)
    added = regularization
    for value, weight, replaces in zip(values, weights, replaces_risk, strict=True):
        added = added + weight * value
        scale = tf.maximum(scale, weight)
        kept = kept - weight if replaces else kept
    return (tf.maximum(kept, 0.0) * risk + added) / scale
