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
      task: "binary", "multiclass" or "regression". Risks are log losses in nats; of a
        regression squared errors in variances of the label, so that 1 is the risk of
        its mean.
      label_scale: mean and deviation that a regression's label was standardised by;
        risk * deviation^2 is the mean squared error in the label's own unit. None for
        the other tasks.
      steps: steps done when a record was made.
      penalty: mean penalty since the record before, without its weight. Of several,
        the mean by weight, so that weight * penalty is what the loss held.
      weight: sum of the penalties' weights at the last of these steps.
      loss: mean of what was minimised since the record before.
      risk: environment -> mean risk on the batches since the record before.
      eval_steps: steps done when the eval split was scored.
      eval_risk: environment -> risk on the whole eval split; None without rows there.
      bounds: the constraint's, by name of what they bound.
      constraint_steps: steps done when the constraint was looked at.
      constraint: what it bounds -> its value then; None where there was none.
      multiplier: what the weights were multiplied by from then on.
      best_step: steps done by the weights that early stopping chose, or None.
    """

    method: str
    device: str
    task: str = "binary"
    label_scale: dict[str, float] | None = None
    steps: list[int] = dataclasses.field(default_factory=list)
    penalty: list[float] = dataclasses.field(default_factory=list)
    weight: list[float] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    risk: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    eval_steps: list[int] = dataclasses.field(default_factory=list)
    eval_risk: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)
    bounds: dict[str, float] = dataclasses.field(default_factory=dict)
    constraint_steps: list[int] = dataclasses.field(default_factory=list)
    constraint: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)
    multiplier: list[float] = dataclasses.field(default_factory=list)
    best_step: int | None = None

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
          history: filled in place. What it has already goes to TensorBoard again.
          environments: names, in the order of the ids.
          folder: for TensorBoard's files, or None for none.
        """
        self._history = history
        self._environments = tuple(environments)
        self._writer = tf.summary.create_file_writer(folder) if folder else None
        for i, step in enumerate(history.steps):
            self._write(step, self._scalars(i))
        for i, step in enumerate(history.eval_steps):
            self._write(step, self._eval_scalars(i))
        for i, step in enumerate(history.constraint_steps):
            self._write(step, self._constraint_scalars(i))

    def train(self, record: Record) -> None:
        """Records a window of training."""
        history = self._history
        history.steps.append(record.step)
        history.penalty.append(record.penalty)
        history.weight.append(record.weight)
        history.loss.append(record.loss)
        for name, value in zip(self._environments, record.risk, strict=True):
            history.risk.setdefault(name, []).append(value)
        self._write(record.step, self._scalars(-1))

    def evaluation(self, step: int, risks: Sequence[float]) -> None:
        """Records the risks on the eval split; NaN where it has no rows."""
        self._history.eval_steps.append(step)
        for name, value in zip(self._environments, risks, strict=True):
            known = None if math.isnan(value) else value
            self._history.eval_risk.setdefault(name, []).append(known)
        self._write(step, self._eval_scalars(-1))

    def constraint(
        self, step: int, values: Mapping[str, float], multiplier: float
    ) -> None:
        """Records what a constraint bounds, NaN if unknown, and its multiplier."""
        history = self._history
        history.constraint_steps.append(step)
        history.multiplier.append(multiplier)
        for name, value in values.items():
            known = None if math.isnan(value) else value
            history.constraint.setdefault(name, []).append(known)
        self._write(step, self._constraint_scalars(-1))

    def _constraint_scalars(self, index: int) -> dict[str, float]:
        history = self._history
        values = {n: value[index] for n, value in history.constraint.items()}
        return {"multiplier": history.multiplier[index]} | {
            f"constraint/{n}": v for n, v in values.items() if v is not None
        }

    def _scalars(self, index: int) -> dict[str, float]:
        history = self._history
        return {
            "penalty": history.penalty[index],
            "weight": history.weight[index],
            "loss": history.loss[index],
            **{f"risk/{name}": risk[index] for name, risk in history.risk.items()},
        }

    def _eval_scalars(self, index: int) -> dict[str, float]:
        risks = {n: risk[index] for n, risk in self._history.eval_risk.items()}
        return {f"eval_risk/{n}": r for n, r in risks.items() if r is not None}

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
