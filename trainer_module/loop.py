"""The training loop: a `tf.function` around `strategy.run`.

The steps between two records run inside one call. Nothing of Keras' own loop is used;
layers, losses of layers and optimizers are.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module import objectives, penalties, schedules
from trainer_module.data import Rows, Split
from trainer_module.history import History, Record, Recorder
from trainer_module.keras3 import keras
from trainer_module.model import call_model
from trainer_module.optimizers import Restart, make_optimizer
from trainer_module.reweighting import Reweighting, fit_reweighting
from trainer_module.settings import TrainSettings

EVALUATIONS = 5

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one step tells; risks and largest logits are [E], the rest scalars."""

    risk: tf.Tensor
    largest_logit: tf.Tensor
    penalty: tf.Tensor
    weight: tf.Tensor
    loss: tf.Tensor

    def pack(self) -> tf.Tensor:
        """One vector [2 E + 3], to carry through a loop."""
        scalars = tf.stack([self.penalty, self.weight, self.loss])
        return tf.concat([self.risk, self.largest_logit, scalars], axis=0)

    @classmethod
    def unpack(cls, vector: Any) -> StepResult:
        """Undoes `pack`."""
        size = (len(vector) - 3) // 2
        return cls(vector[:size], vector[size : 2 * size], *vector[2 * size :])


class Trainer:
    """A model with its optimizer and objectives, and the functions that run them.

    Attributes:
      model: the network.
      optimizer: of the network's variables and the objectives'.
      objectives: one for each method of the sum.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Split,
        settings: TrainSettings,
        strategy: tf.distribute.Strategy | None = None,
        reweighting: Reweighting | None = None,
    ) -> None:
        """Makes the optimizer and the objectives.

        Args:
          model: takes features by name; see model.py. Made under the strategy's scope.
          train: the training split.
          settings: everything else.
          strategy: where to run; the current one by default.
          reweighting: of the rows, against covariate shift; or None.

        Raises:
          ValueError: unknown optimizer, method, option or schedule, or a method that
            needs what the model doesn't give.
        """
        self.model = model
        self._split = train
        self._layout = train.layout
        self._settings = settings
        self._strategy = strategy or tf.distribute.get_strategy()
        self._reweighting = reweighting
        self._size = len(settings.columns.environments)
        self._schedule = schedules.get(
            settings.schedule, settings.anneal_steps, settings.initial_weight
        )
        with self._strategy.scope():
            self.objectives = [
                objectives.get(method.name, **method.options)
                for method in settings.methods
            ]
            rows = self._row_of_zeros()
            shapes = self._shapes(rows)
            self._keep_pass = any(
                objective.starts_from_clean_pass for objective in self.objectives
            ) and objectives.modes_agree(self._forward, rows.features)
            for objective in self.objectives:
                objective.build(shapes)
            self._variables = list(model.trainable_variables)
            for objective in self.objectives:
                self._variables += objective.trainable_variables
            self.optimizer = make_optimizer(settings)
            self.optimizer.build(self._variables)
        self._run_steps = tf.function(self._steps)
        self._score = tf.function(
            self._score_batch, autograph=False, reduce_retracing=True
        )

    def checkpoint(self) -> tf.train.Checkpoint:
        """Everything that changes in training: model, optimizer, objectives."""
        return tf.train.Checkpoint(
            model=self.model, optimizer=self.optimizer, objectives=self.objectives
        )

    def train(self, evaluation: Split | None, recorder: Recorder) -> None:
        """Runs all steps.

        Args:
          evaluation: the eval split, scored `EVALUATIONS` times, or None.
          recorder: gets the records.

        Raises:
          ValueError: a training environment has no rows.
          RuntimeError: the loss is not finite. The message names the step, the
            environment and its largest logit.
        """
        settings = self._settings
        batches = self._split.balanced(settings.batch_size, settings.seed)
        iterator = iter(self._strategy.experimental_distribute_dataset(batches))
        restart = Restart(self.optimizer) if settings.reset_optimizer else None
        done = evaluated = 0
        while done < settings.steps:
            if restart is not None and done == settings.anneal_steps:
                restart()
            count = self._until_record(done)
            total, last, ran = self._run_steps(
                iterator, tf.constant(done, tf.int64), tf.constant(count, tf.int64)
            )
            done += int(ran)
            self._stop_unless_finite(done, last.numpy())
            recorder.train(_record(done, total.numpy() / int(ran), last.numpy()))
            if (
                evaluation is not None
                and done * EVALUATIONS // settings.steps > evaluated
            ):
                evaluated = done * EVALUATIONS // settings.steps
                recorder.evaluation(done, self.risks(evaluation).tolist())
                _LOG.info("Step %d of %d", done, settings.steps)

    def _until_record(self, done: int) -> int:
        """Steps until the next record, or until the optimizer starts anew."""
        settings = self._settings
        ends = [done + settings.log_every - done % settings.log_every, settings.steps]
        if settings.reset_optimizer and done < settings.anneal_steps:
            ends.append(settings.anneal_steps)
        return min(ends) - done

    def risks(self, split: Split) -> np.ndarray:
        """Risk of each environment on a whole split, [E]; NaN without rows."""
        losses = np.zeros(self._size)
        weights = np.zeros(self._size)
        for floats, ids in split.batches():
            mean, weight = self._score(floats, ids)
            losses += (mean * weight).numpy()
            weights += weight.numpy()
        with np.errstate(invalid="ignore"):
            return np.where(weights > 0, losses / weights, np.nan)

    def _steps(
        self, iterator: Any, first: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs `count` steps, fewer if the loss stops being finite.

        Returns:
          Sum of the packed results, the last one, and how many steps ran.
        """
        total = tf.zeros([2 * self._size + 3])
        last = tf.zeros([2 * self._size + 3])
        ran = tf.zeros([], tf.int64)
        while ran < count and tf.math.is_finite(tf.reduce_sum(last)):
            floats, ids = next(iterator)
            results = self._strategy.run(self._step, (first + ran, floats, ids))
            last = self._merge(results)
            total += last
            ran += 1
        return total, last, ran

    @tf.autograph.experimental.do_not_convert
    def _step(self, step: tf.Tensor, floats: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One step on one replica; the packed result."""
        rows = self._layout.unpack(floats, ids)
        methods = self._settings.methods
        with tf.GradientTape() as tape:
            logits, representations, pullback = objectives.clean_pass(
                self._forward, rows.features, self._keep_pass
            )
            decay = tf.add_n(self.model.losses) if self.model.losses else tf.zeros([])
            batch = self._batch(rows, logits, representations)
            if self._reweighting is not None:
                batch = self._reweighting.weigh(rows.features, batch)
            environments = penalties.group_by_environment(batch)
            risk = environments.mean(penalties.per_example_loss(batch))
            seen = objectives.Step(batch, rows.features, self._forward, step, pullback)
            values = [objective(seen) for objective in self.objectives]
            weights = [self._schedule(step, method.weight) for method in methods]
            loss = schedules.total_loss(
                environments.average(risk),
                decay,
                values,
                weights,
                [objective.replaces_risk for objective in self.objectives],
            )
            # Each replica sees all risks: its gradient is one of several to be summed.
            scaled = loss / self._strategy.num_replicas_in_sync
        self.optimizer.apply(tape.gradient(scaled, self._variables), self._variables)
        largest = tf.math.unsorted_segment_max(
            tf.reduce_max(tf.abs(tf.cast(logits, tf.float32)), axis=-1),
            rows.environment_ids,
            self._size,
        )
        weight = tf.add_n(weights)
        penalty = tf.add_n([w * v for w, v in zip(weights, values, strict=True)])
        penalty = tf.where(weight > 0, tf.math.divide_no_nan(penalty, weight), 0.0)
        return StepResult(risk, largest, penalty, weight, loss).pack()

    def _forward(
        self, features: Mapping[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        return call_model(self.model, features, training)

    def _row_of_zeros(self) -> Rows:
        return self._layout.unpack(
            tf.zeros([1, sum(width for _, width in self._layout.floats)]),
            tf.zeros([1, len(self._layout.ids)], tf.int32),
        )

    def _shapes(self, rows: Rows) -> objectives.Shapes:
        """What objectives may know before training; from a row of zeros."""
        _, representations = call_model(self.model, rows.features, False)
        return objectives.Shapes(
            num_environments=self._size,
            representations=None
            if representations is None
            else int(representations.shape[-1]),
            outputs=self._settings.outputs,
            task=self._settings.task,
            seed=self._settings.seed,
            environment_weights=tuple(float(count) for count in self._split.counts),
        )

    def _merge(self, results: Any) -> tf.Tensor:
        """The replicas' results as one: means, and the largest of the logits."""
        stacked = tf.stack(self._strategy.experimental_local_results(results))
        mean = StepResult.unpack(tf.unstack(tf.reduce_mean(stacked, axis=0)))
        most = StepResult.unpack(tf.unstack(tf.reduce_max(stacked, axis=0)))
        return dataclasses.replace(mean, largest_logit=most.largest_logit).pack()

    def _score_batch(
        self, floats: tf.Tensor, ids: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Risk and total weight of each environment in one batch, [E] each."""
        rows = self._layout.unpack(floats, ids)
        batch = self._batch(rows, *call_model(self.model, rows.features, False))
        environments = penalties.group_by_environment(batch)
        risk = environments.mean(penalties.per_example_loss(batch))
        return risk, environments.total_weight

    def _batch(
        self, rows: Rows, logits: tf.Tensor, representations: tf.Tensor | None
    ) -> penalties.EnvironmentBatch:
        return penalties.EnvironmentBatch(
            logits=logits,
            labels=rows.labels,
            environment_ids=rows.environment_ids,
            num_environments=self._size,
            sample_weights=rows.weights,
            representations=representations,
            task=self._settings.task,
        )

    def _stop_unless_finite(self, step: int, packed: np.ndarray) -> None:
        if np.isfinite(packed).all():
            return
        result = StepResult.unpack(packed)
        logits = np.nan_to_num(result.largest_logit, nan=np.inf)
        worst = int(np.argmax(np.where(np.isfinite(result.risk), logits, np.inf)))
        raise RuntimeError(
            f"Training stopped at step {step}: the loss is {result.loss:g}. "
            f"Environment {self._settings.columns.environments[worst]!r} has the risk "
            f"{result.risk[worst]:g} and the largest logit "
            f"{result.largest_logit[worst]:g}. Lower the learning rate or the "
            "penalty's weight, or look for extreme values in the features"
        )


def fit(
    model: keras.Model,
    splits: Sequence[Split],
    settings: TrainSettings,
    folder: str | None,
) -> History:
    """Trains a model in place and writes what happened.

    Args:
      model: the model.
      splits: the training split and, if there is one, the eval split.
      settings: everything else.
      folder: for `history.json` and TensorBoard's files, or None for neither.

    Returns:
      The history.

    Raises:
      ValueError: see `Trainer`.
      RuntimeError: the loss is not finite.
    """
    device = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    history = History(method=settings.method, device=device)
    recorder = Recorder(history, settings.columns.environments, folder)
    reweighting = fit_reweighting(splits[0], settings)
    trainer = Trainer(model, splits[0], settings, reweighting=reweighting)
    try:
        trainer.train(splits[1] if len(splits) > 1 else None, recorder)
    finally:
        recorder.close()
        if folder:
            history.save(folder)
    return history


def _record(step: int, mean: np.ndarray, last: np.ndarray) -> Record:
    """A record from the mean over a window and its last step."""
    result = StepResult.unpack(mean)
    return Record(
        step=step,
        risk=[float(value) for value in result.risk],
        penalty=float(result.penalty),
        weight=float(StepResult.unpack(last).weight),
        loss=float(result.loss),
    )
