"""Optimizers by name, and back to their start."""

from __future__ import annotations

from typing import Any

from trainer_module.keras3 import keras
from trainer_module.settings import TrainSettings


def make_optimizer(settings: TrainSettings) -> keras.optimizers.Optimizer:
    """Makes the optimizer that the settings name.

    In float16 it is one that scales the loss, so that small gradients don't vanish.

    Raises:
      ValueError: Keras knows no such optimizer.
    """
    config = {"learning_rate": settings.learning_rate}
    try:
        optimizer = keras.optimizers.get(
            {"class_name": settings.optimizer, "config": config}
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"train.optimizer is {settings.optimizer!r}, which Keras doesn't know; try "
            "adam, adamw or sgd"
        ) from error
    if settings.engine.precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


class Restart:
    """Puts an optimizer back to where it stood when this was made.

    A penalty's weight that jumps changes the scale of every gradient; the moments that
    Adam has gathered before are then those of another problem.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Remembers the optimizer's variables, but for the learning rate.

        Args:
          optimizer: built.
        """
        rate: Any = optimizer.learning_rate
        self._variables = [v for v in optimizer.variables if v is not rate]
        self._values = [variable.numpy() for variable in self._variables]

    def __call__(self) -> None:
        """Assigns what was remembered."""
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
