"""Adversaries that look for the environment in the representation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from trainer_module.noise import uniform
from trainer_module.objectives.base import (
    Objective,
    Shapes,
    Step,
    check_representations,
)
from trainer_module.penalties import EnvironmentBatch, group_by_environment
from trainer_module.penalties.batch import class_ids


class Dann(Objective):
    """Cross-entropy of an adversary that tells the environment from the representation.

    V = mean_e mean_{i in e} -log D(h_i)_e over the environments present, with D a
    multilayer perceptron. The gradient is reversed on its way from D to h: minimising V
    trains the adversary D to find the environment, and the model to hide it.

    The method's weight scales both gradients. The adversary is no part of the model and
    is never exported.

    References:
      Ganin et al. 2016, Domain-Adversarial Training of Neural Networks, section 4.2.
    """

    method = "dann"

    def __init__(self, *, hidden: Sequence[int] = (64,), seed: int = 0) -> None:
        """Checks the options.

        Args:
          hidden: units of each hidden layer of the adversary, at least one layer.
          seed: of the adversary's first weights, with that of the training.

        Raises:
          ValueError: an option is illegal.
        """
        super().__init__(self.method, hidden=hidden, seed=seed)
        self._hidden, self._seed = tuple(hidden), seed

    def build(self, shapes: Shapes) -> None:
        """Makes the adversary's weights.

        Raises:
          ValueError: the model returns no representations.
        """
        super().build(shapes)
        self._width = check_representations(self.name, shapes.representations)
        widths = [self._width + self._label_width(shapes), *self._hidden]
        widths.append(shapes.num_environments)
        self._kernels, self._biases = [], []
        for index, (rows, columns) in enumerate(zip(widths, widths[1:], strict=False)):
            kernel = _glorot(rows, columns, [shapes.seed + index, self._seed])
            self._kernels.append(tf.Variable(kernel, name=f"kernel_{index}"))
            self._biases.append(tf.Variable(tf.zeros([columns]), name=f"bias_{index}"))

    def call(self, step: Step) -> tf.Tensor:
        """The adversary's cross-entropy; at chance it is log E.

        Raises:
          ValueError: there are no representations, they have another width than was
            built for, or the batch another number of environments.
        """
        batch = step.batch
        representations = check_representations(self.name, batch.representations)
        environments = group_by_environment(batch)
        found = (representations.shape[-1], environments.size)
        expected = (self._width, self._biases[-1].shape[0])
        if found != expected:
            raise ValueError(
                f"The batch has representations of width {found[0]} and {found[1]} "
                f"environments; expected {expected[0]} and {expected[1]}, as "
                f"{self.name} was built for"
            )
        logits = self._discriminate(representations, self._condition(batch))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.maximum(environments.ids, 0), logits
        )
        return environments.average(environments.mean(losses))

    def _label_width(self, shapes: Shapes) -> int:
        """How many inputs of the adversary stand for the label."""
        del shapes
        return 0

    def _condition(self, batch: EnvironmentBatch) -> tf.Tensor | None:
        """What the adversary sees of the label, [B, C], or None."""
        del batch
        return None

    def _discriminate(
        self, representations: tf.Tensor, condition: tf.Tensor | None
    ) -> tf.Tensor:
        """Logits of the environments, [B, E]."""
        values = reverse_gradient(tf.cast(representations, tf.float32))
        values = tf.matmul(values, self._kernels[0][: self._width])
        if condition is not None:
            values += tf.matmul(condition, self._kernels[0][self._width :])
        values += self._biases[0]
        for kernel, bias in zip(self._kernels[1:], self._biases[1:], strict=True):
            values = tf.matmul(tf.nn.relu(values), kernel) + bias
        return values


class Cdann(Dann):
    """As `Dann`, but the adversary sees the label too, one-hot.

    V = mean_e mean_{i in e} -log D(h_i, y_i)_e over the environments present.

    What the label alone says about the environment then needs no hiding: the
    representation becomes invariant within each class, not over all.

    References:
      Li et al. 2018, Deep Domain Generalization via Conditional Invariant Adversarial
      Networks, section 3.
    """

    method = "cdann"

    def _label_width(self, shapes: Shapes) -> int:
        return 2 if shapes.task == "binary" else shapes.outputs

    def _condition(self, batch: EnvironmentBatch) -> tf.Tensor:
        return tf.one_hot(*class_ids(batch))


@tf.custom_gradient
def reverse_gradient(
    values: tf.Tensor,
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The values as they are; the gradient with its sign changed."""
    return tf.identity(values), lambda gradient: -gradient


def _glorot(rows: int, columns: int, seed: list[int]) -> tf.Tensor:
    """First weights of a layer, uniform in +-sqrt(6 / (rows + columns))."""
    return (6.0 / (rows + columns)) ** 0.5 * uniform([rows, columns], seed)
