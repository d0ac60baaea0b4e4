"""Early stopping by the worst training environment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainer_module.keras3 import keras
from trainer_module.settings import StoppingSettings


class EarlyStopping:
    """Watches the risk of the worst environment and keeps the best weights.

    The mean would hide an environment that gets worse while the others get better.

    Attributes:
      best_step: steps done where the worst environment's risk was lowest, or None.
    """

    def __init__(
        self, settings: StoppingSettings, model: keras.Model, from_step: int
    ) -> None:
        """Starts with nothing seen.

        Args:
          settings: how long to wait for a better risk.
          model: whose weights to keep. Made under the strategy's scope, as this is.
          from_step: what came before counts for nothing; the risk is lowest while the
            penalty is still small.
        """
        self._settings = settings
        self._from_step = from_step
        self._variables = [variable.value for variable in model.variables]
        self.kept = [tf.Variable(v, trainable=False) for v in self._variables]
        self.best_step: int | None = None
        self._best = math.inf
        self._waited = 0

    def see(self, step: int, risks: Sequence[float]) -> bool:
        """Looks at an evaluation.

        Args:
          step: steps done.
          risks: of the training environments on the eval split; NaN without rows.

        Returns:
          Whether to stop.
        """
        known = [risk for risk in risks if not math.isnan(risk)]
        if step < self._from_step or not known:
            return False
        worst = max(known)
        if self.best_step is None or worst < self._best - self._settings.min_delta:
            self._best, self.best_step, self._waited = worst, step, 0
            self._copy(self._variables, self.kept)
        else:
            self._waited += 1
        return self._waited >= self._settings.patience

    def restore_best(self) -> None:
        """Gives the model the weights of its best step, if there was one."""
        if self.best_step is not None:
            self._copy(self.kept, self._variables)

    def notes(self) -> dict[str, Any]:
        """What a checkpoint has to hold beside `kept`."""
        best = None if math.isinf(self._best) else self._best
        return {"best": best, "best_step": self.best_step, "waited": self._waited}

    def resume(self, notes: dict[str, Any]) -> None:
        """Takes back what `notes` gave."""
        self._best = math.inf if notes["best"] is None else notes["best"]
        self.best_step, self._waited = notes["best_step"], notes["waited"]

    def _copy(self, sources: Sequence[Any], targets: Sequence[Any]) -> None:
        for source, target in zip(sources, targets, strict=True):
            target.assign(source.numpy() if hasattr(source, "numpy") else source)
