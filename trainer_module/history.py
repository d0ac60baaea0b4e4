"""What a training run leaves to look at: `history.json` and TensorBoard's files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf


@dataclasses.dataclass
class History:
    """Records of one run; the lists of one kind have the same length.

    Attributes:
      method: names of the methods, joined by +.
      device: "CPU" or "GPU".
      steps: steps done when a record was made.
      penalty: mean penalty since the record before, without its weight. Of several,
        the mean by weight, so that weight * penalty is what the loss held.
      weight: sum of the penalties' weights at the last of these steps.
      loss: mean of what was minimised since the record before.
      risk: environment -> mean risk on the batches since the record before.
      eval_steps: steps done when the eval split was scored.
      eval_risk: environment -> risk on the whole eval split; None without rows there.
    """

    method: str
    device: str
    steps: list[int] = dataclasses.field(default_factory=list)
    penalty: list[float] = dataclasses.field(default_factory=list)
    weight: list[float] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    risk: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    eval_steps: list[int] = dataclasses.field(default_factory=list)
    eval_risk: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)

    def save(self, folder: str) -> None:
        """Writes `history.json` into a folder, local or remote."""
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(os.path.join(folder, "history.json"), "w") as file:
            json.dump(dataclasses.asdict(self), file, indent=1)


@dataclasses.dataclass(frozen=True)
class Record:
    """One line of the history: means over the steps since the one before."""

    step: int
    risk: Sequence[float]
    penalty: float
    weight: float
    loss: float


class Recorder:
    """Writes records into a history and, where a folder is given, to TensorBoard."""

    def __init__(
        self, history: History, environments: Sequence[str], folder: str | None
    ) -> None:
        """Starts recording.

        Args:
          history: filled in place.
          environments: names, in the order of the ids.
          folder: for TensorBoard's files, or None for none.
        """
        self._history = history
        self._environments = tuple(environments)
        self._writer = tf.summary.create_file_writer(folder) if folder else None

    def train(self, record: Record) -> None:
        """Records a window of training."""
        history = self._history
        history.steps.append(record.step)
        scalars = {
            "penalty": record.penalty,
            "weight": record.weight,
            "loss": record.loss,
        }
        for name, value in scalars.items():
            getattr(history, name).append(value)
        for name, value in zip(self._environments, record.risk, strict=True):
            history.risk.setdefault(name, []).append(value)
            scalars[f"risk/{name}"] = value
        self._write(record.step, scalars)

    def evaluation(self, step: int, risks: Sequence[float]) -> None:
        """Records the risks on the eval split; NaN where it has no rows."""
        self._history.eval_steps.append(step)
        scalars = {}
        for name, value in zip(self._environments, risks, strict=True):
            known = not math.isnan(value)
            self._history.eval_risk.setdefault(name, []).append(
                value if known else None
            )
            if known:
                scalars[f"eval_risk/{name}"] = value
        self._write(step, scalars)

    def close(self) -> None:
        """Flushes TensorBoard's files."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        with self._writer.as_default(step=step):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
