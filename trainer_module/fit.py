"""A training run: steps, records, evaluations, checkpoints, and when to end."""

from __future__ import annotations

import dataclasses
import fractions
import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from trainer_module import constraint
from trainer_module.checkpoints import Checkpoints
from trainer_module.data import Split
from trainer_module.devices import is_chief
from trainer_module.feeding import feed
from trainer_module.history import History, Record, Recorder
from trainer_module.keras3 import keras
from trainer_module.loop import StepResult, Trainer
from trainer_module.optimizers import Restart
from trainer_module.reweighting import fit_reweighting
from trainer_module.settings import ConstraintSettings, TrainSettings
from trainer_module.stopping import EarlyStopping

EVALUATIONS, CHECKPOINTS = 5, 10

_LOG = logging.getLogger(__name__)


def fit(
    model: keras.Model,
    splits: Sequence[Split],
    settings: TrainSettings,
    folder: str | None = None,
    checkpoints: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> History:
    """Trains a model in place and writes what happened.

    Args:
      model: the model, made under the strategy's scope.
      splits: the training split and, if there is one, the eval split.
      settings: everything else.
      folder: for `history.json` and TensorBoard's files, or None for neither.
      checkpoints: a folder for this run's checkpoints, or None for none. Where it has
        some, the run goes on from the last one, to the same weights.
      strategy: where to run; the current one by default.

    Returns:
      The history.

    Raises:
      ValueError: see `Trainer` and `feed`; or early stopping without an eval split.
      SetupError: the devices can't do what is asked for.
      RuntimeError: the loss is not finite.
    """
    strategy = strategy or tf.distribute.get_strategy()
    reweighting = fit_reweighting(splits[0], settings)
    trainer = Trainer(model, splits[0], settings, strategy, reweighting)
    evaluation = splits[1] if len(splits) > 1 else None
    run = _Run(trainer, splits[0], evaluation, settings, strategy)
    if checkpoints is not None:
        run.keep_in(checkpoints)
    if not is_chief(strategy):
        folder = None
    recorder = Recorder(run.history, settings.columns.environments, folder)
    try:
        run.to_the_end(recorder)
    finally:
        recorder.close()
        if folder:
            run.history.save(folder)
    return run.history


class _Run:
    """One run, from the start or from a checkpoint, to its end.

    Attributes:
      history: what has happened so far.
    """

    def __init__(
        self,
        trainer: Trainer,
        train: Split,
        evaluation: Split | None,
        settings: TrainSettings,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._trainer = trainer
        self._train = train
        self._evaluation = evaluation
        self._settings = settings
        self._strategy = strategy
        device = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        self.history = History(settings.method, device, settings.task)
        if settings.task == "regression":
            self.history.label_scale = dataclasses.asdict(train.layout.scale)
        if settings.constraint is not None:
            self.history.bounds = settings.constraint.bounds
        self._done = 0
        self._ended = False
        self._checkpoints: Checkpoints | None = None
        self._restart = None
        if settings.reset_optimizer:
            self._restart = Restart(trainer.optimizer)
        constant = settings.schedule == "constant"
        self._full_weight = 0 if constant else settings.anneal_steps
        self._stopping = None
        for key in ("early_stopping", "constraint"):
            if evaluation is None and getattr(settings, key) is not None:
                raise ValueError(f"train.{key} needs an eval split, and there is none")
        if settings.early_stopping is not None:
            with strategy.scope():
                self._stopping = EarlyStopping(
                    settings.early_stopping, trainer.model, self._full_weight
                )

    def keep_in(self, folder: str) -> None:
        """Saves checkpoints into a folder from now on, and takes the last one there."""
        state = self._trainer.state
        if self._stopping is not None:
            state["best"] = self._stopping.kept
        chief = is_chief(self._strategy)
        self._checkpoints = Checkpoints(folder, chief, **state)
        notes = self._checkpoints.restore()
        if notes is None:
            return
        self._done, self._ended = notes["done"], notes["ended"]
        self.history = History(**notes["history"])
        if self._stopping is not None:
            self._stopping.resume(notes["stopping"])
        _LOG.info("%d steps were done before", self._done)

    def to_the_end(self, recorder: Recorder) -> None:
        """Runs what is left."""
        settings = self._settings
        batches = feed(
            self._train,
            settings.batch_size,
            settings.seed,
            self._strategy,
            start=self._done,
        )
        while self._done < settings.steps and not self._ended:
            if self._restart is not None and self._done == settings.anneal_steps:
                self._restart()
            before = self._done
            ran, mean, last = self._trainer.run(batches, before, self._until_record())
            self._done += ran
            recorder.train(_record(self._done, mean, last))
            if self._evaluation is not None and self._is_due(
                before, settings.eval_every, EVALUATIONS
            ):
                self._evaluate(recorder)
            if settings.constraint is not None and self._done >= self._full_weight:
                every = settings.constraint.every or settings.log_every
                if self._is_due(before, every, 1):
                    self._constrain(settings.constraint, recorder)
            if self._is_due(before, settings.checkpoint_every, CHECKPOINTS):
                self._save()
        if self._stopping is not None:
            self._stopping.restore_best()
            self.history.best_step = self._stopping.best_step

    def _evaluate(self, recorder: Recorder) -> None:
        assert self._evaluation is not None
        risks = self._trainer.risks(self._evaluation).tolist()
        recorder.evaluation(self._done, risks)
        _LOG.info("Step %d of %d", self._done, self._settings.steps)
        if self._stopping is not None and self._stopping.see(self._done, risks):
            self._ended = True
            _LOG.info("Stopped early: no better since %d", self._stopping.best_step)

    def _constrain(self, settings: ConstraintSettings, recorder: Recorder) -> None:
        """Looks at what the constraint bounds, and moves the multiplier."""
        assert self._evaluation is not None
        values = {}
        if settings.risk_gap is not None:
            values["risk_gap"] = constraint.risk_gap(
                self._trainer.risks(self._evaluation)
            )
        if settings.calibration_slope_spread is not None:
            logits, labels, ids, weights = self._trainer.outputs(self._evaluation)
            values["calibration_slope_spread"] = constraint.slope_spread(
                logits[:, 0], labels, ids, weights
            )
        same = self._trainer.same_everywhere(np.array(list(values.values())))
        values = dict(zip(values, same.tolist(), strict=True))
        multiplier = constraint.updated(
            float(self._trainer.multiplier.numpy()), values, settings
        )
        if self._done < self._settings.steps:  # the last look is only to be recorded
            self._trainer.multiplier.assign(multiplier)
        recorder.constraint(self._done, values, multiplier)

    def _save(self) -> None:
        if self._checkpoints is None:
            return
        notes = {
            "done": self._done,
            "ended": self._ended,
            "history": dataclasses.asdict(self.history),
            "stopping": self._stopping and self._stopping.notes(),
        }
        self._checkpoints.save(self._done, notes)

    def _until_record(self) -> int:
        """Steps until the next record, or until the optimizer starts anew."""
        settings, done = self._settings, self._done
        ends = [done + settings.log_every - done % settings.log_every, settings.steps]
        if settings.reset_optimizer and done < settings.anneal_steps:
            ends.append(settings.anneal_steps)
        return min(ends) - done

    def _is_due(self, before: int, every: int | None, times: int) -> bool:
        """Whether something is, that comes every so many steps or so many times."""
        if self._ended or self._done == self._settings.steps:
            return True
        period = every or fractions.Fraction(self._settings.steps, times)
        return self._done // period > before // period


def _record(step: int, mean: StepResult, last: StepResult) -> Record:
    """A record from the mean over a window and its last step."""
    return Record(
        step=step,
        risk=[float(value) for value in mean.risk],
        penalty=float(mean.penalty),
        weight=float(last.weight),
        loss=float(mean.loss),
    )
