"""What small perturbations of the features do to the outputs, by environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer_module.objectives.base import Objective, Shapes, Step
from trainer_module.penalties import (
    EnvironmentBatch,
    Environments,
    group_by_environment,
    logit_gradients,
    per_example_loss,
)
from trainer_module.penalties.batch import all_rows
from trainer_module.perturbations import Perturbation

# TRADES starts its attack a 30th of the radius away: at the clean features the gradient
# of the divergence is 0.
_NUDGE = 0.03
_PRIME = 1_000_003  # keeps seeds, replicas and their sums apart


class Adversarial(Objective):
    """Discrepancy between what the model says of clean and of perturbed features.

    V = mean_e d_e over the environments present, or max_e d_e. d_e is, of the
    environment's rows i with logits z_i, perturbed z'_i and labels y_i:

    * cross_entropy: mean_i loss(z'_i, y_i), the risk on perturbed features.
    * kl: mean_i KL(p(z_i) || p(z'_i)), as in TRADES; in a regression (z_i - z'_i)^2.
      The gradient flows into both.
    * wasserstein: W_1 between the logits z_i and z'_i, weighted by row; of several
      logits the mean of their distances. Unlike the others it forgives what moves
      single rows but not the environment.

    The perturbations raise the loss of each row; with kl the divergence from the clean
    outputs of the step, which has no gradient at the clean features themselves: such an
    attack starts a little beside them even where no random start is asked for.

    An attack calls the model in inference mode: it draws no dropout and moves no
    statistics. Where a model computes the same in training mode, the attack's first
    gradient comes from the step's own forward pass. What it finds is then put through
    the model once, in training mode; the clean outputs are those of the step. Every
    step and replica draws other numbers.

    References:
      Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples. Madry et
      al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks, eq. 2.1
      (cross_entropy). Zhang et al. 2019, Theoretically Principled Trade-off between
      Robustness and Accuracy, algorithm 1 (kl).
    """

    def __init__(
        self,
        *,
        kind: str = "fgsm",
        epsilon: float = 0.1,
        steps: int = 7,
        step_size: float | None = None,
        random_start: bool = False,
        norm: str = "linf",
        clip: Sequence[float] | None = None,
        frozen: Sequence[str] = (),
        discrepancy: str = "cross_entropy",
        environments: str = "mean",
        seed: int = 0,
    ) -> None:
        """Checks the options.

        Args:
          kind: "fgsm", "pgd" or "gaussian"; this and the options up to `frozen` are
            those of `perturbations.perturb_data`.
          epsilon: radius of the ball.
          steps: of pgd.
          step_size: of fgsm and pgd.
          random_start: start at a random point of the ball.
          norm: "linf" or "l2".
          clip: range of what moves.
          frozen: names of features that stay.
          discrepancy: "cross_entropy", "kl" or "wasserstein".
          environments: "mean" or "worst".
          seed: of the random numbers, with that of the training.

        Raises:
          ValueError: an option is illegal.
        """
        perturbation: dict[str, Any] = {
            "kind": kind,
            "epsilon": epsilon,
            "steps": steps,
            "step_size": step_size,
            "random_start": random_start,
            "norm": norm,
            "clip": clip,
            "frozen": frozen,
        }
        super().__init__(
            "adversarial",
            **perturbation,
            discrepancy=discrepancy,
            environments=environments,
            seed=seed,
        )
        if discrepancy == "kl" and not random_start:
            perturbation |= {"random_start": True, "start": _NUDGE}
        self._perturbation = Perturbation(**perturbation)
        self.starts_from_clean_pass = self._perturbation.starts_clean
        self._discrepancy = discrepancy
        self._environments = environments
        self._seed = seed

    def build(self, shapes: Shapes) -> None:
        """Takes the seed; there are no variables."""
        super().build(shapes)
        self._base_seed = (shapes.seed * _PRIME**2 + self._seed) % 2**31

    def call(self, step: Step) -> tf.Tensor:
        """The discrepancy of the batch.

        Raises:
          ValueError: see `perturbations.perturb_data`; or the model gives perturbed
            rows logits of another shape.
        """
        features = self._perturbation(
            step.features,
            self._gain(step),
            self._step_seed(step.number),
            self._first_gradient(step),
        )
        logits, _ = step.forward(features, True)
        clean = step.batch.logits
        if not clean.shape.is_compatible_with(logits.shape):
            raise ValueError(
                f"The model gives logits of shape {logits.shape} for perturbed "
                f"features; expected {clean.shape}, as for the clean ones"
            )
        if self._discrepancy == "wasserstein":
            environments, values = transport(step.batch, logits)
        else:
            environments = group_by_environment(step.batch)
            if self._discrepancy == "kl":
                rows = divergence(step.batch, logits)
            else:
                rows = per_example_loss(_with_logits(step.batch, logits))
            values = environments.mean(rows)
        if self._environments == "mean":
            return environments.average(values)
        return _largest(environments, values)

    def _gain(self, step: Step) -> Callable[[Mapping[str, tf.Tensor]], tf.Tensor]:
        """What the attack raises: features to [B]."""
        fixed = _with_logits(step.batch, tf.stop_gradient(step.batch.logits))

        def gain(features: Mapping[str, tf.Tensor]) -> tf.Tensor:
            logits, _ = step.forward(features, False)
            if self._discrepancy == "kl":
                return divergence(fixed, logits)
            return per_example_loss(_with_logits(fixed, logits))

        return gain

    def _first_gradient(self, step: Step) -> dict[str, tf.Tensor | None] | None:
        """The attack's first gradient, from the clean pass of the step, or None."""
        if step.pullback is None or not self.starts_from_clean_pass:
            return None
        upstream = logit_gradients(step.batch)
        return step.pullback(tf.cast(upstream, step.batch.logits.dtype))

    def _step_seed(self, number: tf.Tensor) -> tf.Tensor:
        """A seed [2] of its own for every step and replica."""
        replica = tf.distribute.get_replica_context()
        index = 0 if replica is None else replica.replica_id_in_sync_group
        own = self._base_seed + _PRIME * tf.cast(index, tf.int64)
        return tf.stack([own, tf.cast(number, tf.int64)])


def divergence(batch: EnvironmentBatch, perturbed: tf.Tensor) -> tf.Tensor:
    """KL(p(z) || p(z')) of each row; in a regression (z - z')^2.

    Args:
      batch: with the clean logits z, [B, K].
      perturbed: the logits z', [B, K].

    Returns:
      [B] float32 >= 0, but for rounding.
    """
    clean = tf.cast(batch.logits, tf.float32)
    perturbed = tf.cast(perturbed, tf.float32)
    if batch.task == "regression":
        return tf.reduce_sum(tf.square(clean - perturbed), axis=-1)
    if batch.task == "multiclass":
        ratio = tf.nn.log_softmax(clean) - tf.nn.log_softmax(perturbed)
        return tf.reduce_sum(tf.nn.softmax(clean) * ratio, axis=-1)
    clean, perturbed = tf.reshape(clean, [-1]), tf.reshape(perturbed, [-1])
    ratio = tf.math.log_sigmoid(clean) - tf.math.log_sigmoid(perturbed)
    other = tf.math.log_sigmoid(-clean) - tf.math.log_sigmoid(-perturbed)
    return tf.sigmoid(clean) * ratio + tf.sigmoid(-clean) * other


def transport(
    batch: EnvironmentBatch, perturbed: tf.Tensor
) -> tuple[Environments, tf.Tensor]:
    """W_1 between clean and perturbed logits of each environment.

    In one dimension it is the area between the distribution functions F and F', summed
    up between neighbours of all values in their order: sum_k |F - F'| (v_{k+1} - v_k).

    Args:
      batch: with the clean logits, [B, K].
      perturbed: the perturbed logits, [B, K].

    Returns:
      The environments, and [E] float32 >= 0: the mean over the K logits; 0 for an
      absent environment.
    """
    both = tf.concat(
        [tf.cast(batch.logits, tf.float32), tf.cast(perturbed, tf.float32)], axis=1
    )
    rows = all_rows(dataclasses.replace(batch, logits=both, representations=None))
    environments = group_by_environment(rows)
    # One list of values a logit: the clean ones, then the perturbed, [K, 2 B].
    values = tf.concat(tf.split(tf.transpose(rows.logits), 2, axis=0), axis=1)
    totals = environments.of_rows(environments.total_weight)
    shares = tf.math.divide_no_nan(environments.weights, totals)
    shares = tf.concat([shares, -shares], axis=0)
    ids = tf.concat([environments.ids, environments.ids], axis=0)
    # By environment and by value within; the second sort keeps the order of the first.
    order = tf.argsort(values, axis=1)
    order = tf.gather(
        order,
        tf.argsort(tf.gather(ids, order), axis=1, stable=True),
        axis=1,
        batch_dims=1,
    )
    values = tf.gather(values, order, axis=1, batch_dims=1)
    ids = tf.gather(ids, order)
    # Shares of an environment sum to 0, so the sum starts over with each.
    heights = tf.abs(tf.cumsum(tf.gather(shares, order), axis=1))[:, :-1]
    inside = tf.cast(ids[:, 1:] == ids[:, :-1], tf.float32)
    gaps = tf.nn.relu(values[:, 1:] - values[:, :-1])
    areas = tf.reduce_mean(heights * inside * gaps, axis=0)
    return environments, tf.math.unsorted_segment_sum(
        areas, ids[0, :-1], environments.cells
    )


def _largest(environments: Environments, values: tf.Tensor) -> tf.Tensor:
    """The largest value of an environment that is present; 0 if none is."""
    present = environments.present > 0
    largest = tf.reduce_max(tf.where(present, values, values.dtype.min))
    return tf.where(tf.reduce_any(present), largest, 0.0)


def _with_logits(batch: EnvironmentBatch, logits: tf.Tensor) -> EnvironmentBatch:
    return dataclasses.replace(batch, logits=logits, representations=None)
