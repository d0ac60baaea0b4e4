"""Group DRO: weights of the environments that follow their risks."""

from __future__ import annotations

import tensorflow as tf

from trainer_module.objectives.base import Objective, Shapes, Step
from trainer_module.penalties import group_by_environment, per_example_loss


class GroupDro(Objective):
    """Risk of the environments under weights that grow where the risk is large.

    With L_e = R_e + adjustment / sqrt(n_e), in every step

      q_e <- q_e exp(step_size L_e), scaled to keep the sum over the environments that
      are present; those that are absent keep their weight,

    and V = sum_e q_e L_e / sum_e q_e over those present, with the new q and no gradient
    through it. n_e is the environment's weight in the training split where the shapes
    tell it, else in the batch. In batches that hold equally much of every environment
    only the former makes a difference.

    The weights are state: they start equal, and are kept as logarithms, which neither
    overflow nor vanish.

    References:
      Sagawa et al. 2020, Distributionally Robust Neural Networks for Group Shifts,
      algorithm 1; section 3.3 for the adjustment.
    """

    def __init__(self, *, step_size: float = 0.01, adjustment: float = 0.0) -> None:
        """Checks the options.

        Args:
          step_size: of the weights' logarithms, above 0.
          adjustment: C >= 0; the larger, the more small environments count.

        Raises:
          ValueError: an option is illegal.
        """
        super().__init__("group_dro", step_size=step_size, adjustment=adjustment)
        self._step_size = step_size
        self._adjustment = adjustment

    def build(self, shapes: Shapes) -> None:
        """Makes the weights, equal ones.

        Raises:
          ValueError: as many `environment_weights` as environments are expected.
        """
        super().build(shapes)
        size, totals = shapes.num_environments, shapes.environment_weights
        if totals is not None and len(totals) != size:
            raise ValueError(
                f"environment_weights has {len(totals)} numbers; expected one for each "
                f"of the {size} environments"
            )
        self._totals = None if totals is None else tuple(map(float, totals))
        # The risks are summed over all replicas, so each computes the same weights.
        self._log_weights = tf.Variable(
            tf.fill([size], -tf.math.log(float(size))),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            name="log_weights",
        )

    @property
    def weights(self) -> tf.Tensor:
        """The weight of each environment, [E]; they sum to 1."""
        return tf.exp(self._log_weights)

    def call(self, step: Step) -> tf.Tensor:
        """Updates the weights and returns the weighted risk.

        Raises:
          ValueError: the batch has another number of environments than was built for.
        """
        environments = group_by_environment(step.batch)
        old = self._log_weights.read_value()
        if environments.size != old.shape[0]:
            raise ValueError(
                f"The batch has {environments.size} environments; expected "
                f"{old.shape[0]}, as group_dro was built for"
            )
        risks = environments.mean(per_example_loss(step.batch))
        if self._adjustment:
            totals = environments.total_weight
            if self._totals is not None:
                totals = tf.constant(self._totals)
            risks += self._adjustment * tf.math.rsqrt(tf.maximum(totals, 1e-12))
        present = environments.present > 0
        grown = old + self._step_size * tf.stop_gradient(risks)
        shares = tf.nn.log_softmax(_only(present, grown))
        kept = tf.reduce_logsumexp(_only(present, old))
        self._log_weights.assign(tf.where(present, shares + kept, old))
        shares = tf.where(present, tf.exp(shares), 0.0)
        return tf.reduce_sum(shares * risks)


def _only(present: tf.Tensor, logarithms: tf.Tensor) -> tf.Tensor:
    """Logarithms, so small that they count for nothing where not present."""
    return tf.where(present, logarithms, logarithms.dtype.min / 2)
