"""What an objective is, and what it gets to see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainer_module import penalties
from trainer_module.methods import METHODS, check_options
from trainer_module.penalties import EnvironmentBatch

Forward = Callable[
    [Mapping[str, tf.Tensor], bool], "tuple[tf.Tensor, tf.Tensor | None]"
]
Pullback = Callable[[tf.Tensor], "dict[str, tf.Tensor | None]"]


@dataclasses.dataclass(frozen=True)
class Step:
    """What an objective sees of one training step, on one replica.

    Attributes:
      batch: outputs of the clean forward pass, in training mode.
      features: the model's inputs by name, [B, width] each.
      forward: (features, training) -> logits [B, K], and representations [B, D] or
        None.
      number: of the step, counted from 0; scalar int64.
      pullback: from a gradient in the clean logits to those in the features, without
        another forward pass; None where inference mode computes something else, or
        no objective makes use of it. See `clean.clean_pass`.
    """

    batch: EnvironmentBatch
    features: Mapping[str, tf.Tensor]
    forward: Forward
    number: tf.Tensor
    pullback: Pullback | None = None


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What is known before training.

    Attributes:
      num_environments: how many environments there are, E.
      representations: width D of the representations, or None where the model returns
        none.
      outputs: number of logits, K.
      task: "binary", "multiclass" or "regression".
      seed: of every random choice.
      environment_weights: total weight of each environment in the training split, E
        numbers, or None where it is not known.
    """

    num_environments: int
    representations: int | None
    outputs: int
    task: str
    seed: int
    environment_weights: tuple[float, ...] | None = None


class Objective(tf.Module):
    """A method that owns variables or needs the model; a penalty is the simplest one.

    Made with its options, then built once under the strategy's scope, then called in
    every step. `trainable_variables` are the optimizer's to update; the other variables
    are state. `tf.train.Checkpoint(objective=...)` saves both. None of them is the
    model's, so none is exported.

    Attributes:
      replaces_risk: whether the value stands in for the mean risk, instead of being
        added to it.
      starts_from_clean_pass: whether it makes use of a step's `pullback`.
    """

    replaces_risk: bool
    starts_from_clean_pass: bool = False

    def __init__(self, method: str, **options: Any) -> None:
        """Checks the options.

        Args:
          method: its name in `methods.METHODS`.
          **options: all or some of its options.

        Raises:
          ValueError: an option is unknown or has an illegal value. The message lists
            the legal ones.
        """
        check_options(method, options)
        super().__init__(name=method)
        self.replaces_risk = METHODS[method].replaces_risk
        self._built = False

    def build(self, shapes: Shapes) -> None:
        """Makes the variables.

        Args:
          shapes: what is known before training.

        Raises:
          ValueError: the model lacks what the method needs, or the method is not
            defined for the task.
        """
        check_task(self.name, METHODS[self.name].tasks, shapes.task)
        self._built = True

    def __call__(self, step: Step) -> tf.Tensor:
        """The value of one step, by `call`.

        Raises:
          RuntimeError: it was not built.
        """
        if not self._built:
            raise RuntimeError(
                f"{type(self).__name__} was called before it was built: call "
                "build(Shapes(...)) first, under the strategy's scope"
            )
        return self.call(step)

    def call(self, step: Step) -> tf.Tensor:
        """The value of one step, to be minimised; a method of one's own writes this.

        Called in replica context, under the tape that takes the gradient of the loss.

        Args:
          step: the step.

        Returns:
          Scalar float32.

        Raises:
          ValueError: a tensor is missing or has the wrong shape.
        """
        raise NotImplementedError


class PenaltyObjective(Objective):
    """A penalty, which needs nothing but the batch."""

    def __init__(self, method: str, **options: Any) -> None:
        """Makes the penalty; arguments and errors are those of `penalties.get`."""
        super().__init__(method, **options)
        self._penalty = penalties.get(method, **options)
        self._info = penalties.info(method, **options)

    def build(self, shapes: Shapes) -> None:
        """Checks that the model has what the penalty needs."""
        super().build(shapes)
        check_task(self.name, self._info.tasks, shapes.task)
        if self._info.needs_representations:
            check_representations(self.name, shapes.representations)

    def call(self, step: Step) -> tf.Tensor:
        """The penalty of the batch."""
        return self._penalty(step.batch)


def check_task(method: str, tasks: tuple[str, ...], task: str) -> None:
    """Raises ValueError where a method is not defined for a task."""
    if task not in tasks:
        raise ValueError(
            f"Method {method!r} with these options is not defined for the task "
            f"{task!r}; expected one of {', '.join(tasks)}"
        )


def check_representations(method: str, representations: Any) -> Any:
    """Representations, or their width, as they are; ValueError where there are none."""
    if representations is None:
        raise ValueError(
            f"Method {method!r} works on representations, but the model has none: let "
            "it return (logits, representations)"
        )
    return representations
