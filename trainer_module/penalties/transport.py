"""Wasserstein: the same distribution of outputs everywhere, by optimal transport."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module.methods import checked
from trainer_module.penalties.batch import (
    EnvironmentBatch,
    all_rows,
    group_by_environment,
    outputs_of,
)
from trainer_module.penalties.divergences import sinkhorn_divergence
from trainer_module.penalties.quantiles import line_transport
from trainer_module.penalties.sinkhorn import Sinkhorn


@checked
def wasserstein(
    batch: EnvironmentBatch,
    *,
    solver: str = "exact_1d",
    order: int = 1,
    on: str = "logits",
    reference: str = "pairs",
    conditional: bool = False,
    projections: Any = 24,
    epsilon: float = 0.1,
    iterations: int = 40,
    tolerance: float | None = None,
    max_points: int = 128,
    seed: int = 0,
) -> tf.Tensor:
    """Optimal transport between the outputs of environments.

    V = mean over pairs (e, f) of W(e, f), or with reference="pooled" the mean over e of
    W(e, all rows). An order of 1 gives the Wasserstein distance W_1, 2 gives the square
    W_2^2, which is smooth where environments agree.

    exact_1d: for one column of outputs, from distribution functions F and quantile
    functions Q: W_1 = int |F_e - F_f| dx, W_2^2 = int (Q_e - Q_f)^2 dq.

    sliced: the mean of that over directions which the outputs are projected on.

    sinkhorn: transport with entropy, debiased: with the plan P that minimises
    <P, C> + epsilon KL(P | e f^T) and S(e, f) = <P, C> it is
    max(0, S(e, f) - (S(e, e) + S(f, f)) / 2). C is |x - y|, of order 2 its square. The
    smaller epsilon is beside the costs, the closer to W and the more iterations it
    takes. Of a large batch it sees some rows alone; these are as good as random, but
    the same for the same outputs.

    Args:
      batch: logits [B, K] or representations [B, D], environment ids [B].
      solver: "exact_1d", "sliced" or "sinkhorn".
      order: 1 or 2.
      on: "logits" or "representations".
      reference: "pairs", or "pooled" for all environments together.
      conditional: within each class of the label; then the mean over classes.
      projections: sliced: how many random directions, or the directions [D, P] in
        columns of length 1.
      epsilon: sinkhorn: weight of the entropy, in units of the cost.
      iterations: sinkhorn: updates of the potentials, at most.
      tolerance: sinkhorn: stop where no potential changes by more, in units of the
        cost; None for all iterations. XLA compiles either.
      max_points: sinkhorn: no more costs are taken than between so many rows, each
        with each. Of a larger batch, as many rows of each environment (and class) take
        part as that leaves room for, but at least 2.
      seed: sliced: of the random directions.

    Returns:
      Scalar float32 >= 0, in units of the outputs to the power `order`; 0 where the
      distributions agree or only one environment is present.

    Raises:
      ValueError: the outputs are no matrix or have a width that the solver or the
        projections don't fit, or representations or classes are missing.

    References:
      Peyre and Cuturi 2019, Computational Optimal Transport, section 2.6 (the line).
      Rabin et al. 2011, Wasserstein Barycenter and its Application to Texture Mixing
      (sliced).
      Genevay, Peyre and Cuturi 2018, Learning Generative Models with Sinkhorn
      Divergences.
    """
    batch = all_rows(batch)
    environments = group_by_environment(batch, conditional)
    outputs = outputs_of(batch, on)
    if outputs.shape.rank != 2 or outputs.shape[1] is None:
        raise ValueError(
            f"The {on} have the shape {outputs.shape}; expected [batch, width] with a "
            "known width: flatten them in the model"
        )
    width, pooled = outputs.shape[1], reference == "pooled"
    if solver == "sinkhorn":
        settings = Sinkhorn(order, epsilon, iterations, tolerance)
        return sinkhorn_divergence(outputs, environments, pooled, max_points, settings)
    if solver == "exact_1d":
        if width != 1:
            raise ValueError(
                f"The {on} have {width} columns; solver='exact_1d' expects 1: choose "
                "solver='sliced' or solver='sinkhorn'"
            )
        return line_transport(tf.transpose(outputs), environments, order, pooled)
    directions = _directions(projections, width, seed)
    lines = tf.matmul(directions, outputs, transpose_a=True, transpose_b=True)
    return line_transport(lines, environments, order, pooled)


def _directions(projections: Any, width: int, seed: int) -> tf.Tensor:
    """Directions [D, P] float32: as passed in, or random ones of length 1."""
    if isinstance(projections, int):
        if width == 1:
            return tf.ones([1, 1])
        # NumPy's numbers are the same under XLA and on every device.
        normals = np.random.default_rng(seed).normal(size=(width, projections))
        lengths = np.linalg.norm(normals, axis=0)
        return tf.constant(normals / lengths, tf.float32)
    directions = tf.cast(tf.convert_to_tensor(projections), tf.float32)
    if directions.shape[0] != width:
        raise ValueError(
            f"The projections have the shape {directions.shape}; expected "
            f"[{width}, directions], as the outputs have {width} columns"
        )
    return directions
