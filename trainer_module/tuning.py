"""`tuner_fn`, the Tuner's entry point: trials that a rule chooses from.

KerasTuner's random search proposes hyperparameters; the first trial is the config as it
stands. Only the training environments are looked at; see selection.py.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine import base_tuner

from trainer_module import devices, selection
from trainer_module.checkpoints import folder_of
from trainer_module.data import Split, load_splits
from trainer_module.errors import SetupError
from trainer_module.features import Feature
from trainer_module.fit import fit
from trainer_module.keras3 import keras
from trainer_module.model import make_model
from trainer_module.scoring import Predictor
from trainer_module.settings import Columns, TrainSettings
from trainer_module.transform_graph import TransformGraph

RESULTS_FILE = "trials.json"

_LOG = logging.getLogger(__name__)


class Result(NamedTuple):
    """What TFX's Tuner takes from a `tuner_fn`."""

    tuner: Any
    fit_kwargs: dict[str, Any]


def tuner_fn(fn_args: Any) -> Result:
    """Makes the tuner; called by TFX's Tuner.

    Args:
      fn_args: as for `run_fn`; `custom_config["tune"]` has `trials`, `rule` and the
        ranges of `Space`.

    Raises:
      ValueError: the config or the data can't be trained with.
      SetupError: the devices can't do what is asked for, or the rule needs more
        environments.
    """
    config = dict(fn_args.custom_config or {})
    settings = TrainSettings.from_config(config)
    devices.use_devices(settings.engine.accelerators)
    graph = TransformGraph.open(fn_args.transform_graph_path, config)
    files = [fn_args.train_files, fn_args.eval_files]
    train, evaluation = load_splits(files, graph, settings)
    tune = dict(config["tune"])
    inputs = [fn_args.train_files, fn_args.eval_files, fn_args.transform_graph_path]
    root = config.get("checkpoints") or fn_args.working_dir
    tuner = InvarianceTuner(
        settings,
        graph.features,
        Space(**tune["space"]),
        trials=tune["trials"],
        rule=tune["rule"],
        folder=folder_of(root, "tuning", inputs, config),
    )
    return Result(tuner, {"train": train, "evaluation": evaluation})


@dataclasses.dataclass(frozen=True)
class Space:
    """Where hyperparameters are drawn from.

    Attributes:
      weight: smallest and largest factor of the penalties' weights; by its logarithm.
      anneal_steps: smallest and largest number of steps.
      learning_rate: smallest and largest; by its logarithm.
      width: factors of the hidden layers' units, one of which is taken.
    """

    weight: Sequence[float]
    anneal_steps: Sequence[int]
    learning_rate: Sequence[float]
    width: Sequence[float]

    def hyperparameters(self, settings: TrainSettings) -> keras_tuner.HyperParameters:
        """The space as KerasTuner has it; defaults are the settings as they stand."""
        found = keras_tuner.HyperParameters()
        for name, default in (
            ("weight", 1.0),
            ("anneal_steps", settings.anneal_steps),
            ("learning_rate", settings.learning_rate),
        ):
            low, high = getattr(self, name)
            if low == high:
                found.Fixed(name, low)
            elif name == "anneal_steps":
                found.Int(name, low, high, default=default)
            else:
                found.Float(name, low, high, sampling="log", default=default)
        widths = list(self.width)
        found.Choice("width", widths, default=1.0 if 1.0 in widths else widths[0])
        return found


def settings_of(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """The settings of a trial."""
    methods = [
        dataclasses.replace(method, weight=method.weight * values["weight"])
        for method in settings.methods
    ]
    hidden = tuple(
        max(1, round(units * values["width"])) for units in settings.model.hidden
    )
    return dataclasses.replace(
        settings,
        methods=tuple(methods),
        anneal_steps=int(values["anneal_steps"]),
        learning_rate=float(values["learning_rate"]),
        model=dataclasses.replace(settings.model, hidden=hidden),
    )


class _Oracle(keras_tuner.oracles.RandomSearchOracle):
    """Random search that begins with the defaults."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = super().populate_space(trial_id)
        if len(self.trials) == 0 and found.get("values"):
            space = self.get_space()
            found["values"] = {p.name: p.default for p in space.space}
        return found


class InvarianceTuner(base_tuner.BaseTuner):
    """Runs trials and names one by a rule.

    A killed search goes on after its last finished trial.

    Attributes:
      rule: of selection.RULES.
    """

    def __init__(
        self,
        settings: TrainSettings,
        features: Sequence[Feature],
        space: Space,
        trials: int,
        rule: str,
        folder: str,
    ) -> None:
        """Prepares a search.

        Args:
          settings: what the config says.
          features: the model's inputs.
          space: where hyperparameters are drawn from.
          trials: how many models are trained.
          rule: how one is chosen.
          folder: for what has to survive this process.

        Raises:
          ValueError: unknown rule.
          SetupError: one training environment, of which none can be left out, or a rule
            that the task does not have.
        """
        selection.figure(selection.Trial(()), rule)  # raises for an unknown one
        if rule == selection.INVARIANCE and settings.task != "binary":
            raise SetupError(
                f"{rule} compares the calibration slopes of a binary label, and the "
                f"task is {settings.task}: choose by {selection.LEAVE_ONE_OUT}"
            )
        names = settings.columns.environments
        if rule == selection.LEAVE_ONE_OUT and len(names) < 2:
            raise SetupError(
                f"{rule} needs at least two training environments; there is {names[0]}"
            )
        self.rule = rule
        self._settings = settings
        self._features = tuple(features)
        oracle = _Oracle(
            objective=keras_tuner.Objective("score", "min"),
            max_trials=trials,
            seed=settings.seed + 1,  # 0 would be none
            hyperparameters=space.hyperparameters(settings),
            allow_new_entries=False,
            tune_new_entries=False,
        )
        super().__init__(oracle, directory=folder, project_name="search")
        self._path = os.path.join(self.project_dir, "scores.json")
        self._records: dict[str, dict[str, Any]] = {}
        if tf.io.gfile.exists(self._path):
            with tf.io.gfile.GFile(self._path) as file:
                self._records = json.load(file)

    def run_trial(
        self, trial: Any, train: Split, evaluation: Split
    ) -> dict[str, float]:
        """Trains with a trial's hyperparameters and scores on the eval split."""
        settings = settings_of(self._settings, trial.hyperparameters.values)
        try:
            record = self._scored(settings, train, evaluation)
            error = None
        except RuntimeError as failure:  # the loss was not finite: a trial, no accident
            record, error = selection.Trial(()), str(failure)
        self._records[trial.trial_id] = {
            "hyperparameters": dict(trial.hyperparameters.values),
            "settings": {
                "weights": [method.weight for method in settings.methods],
                "anneal_steps": settings.anneal_steps,
                "learning_rate": settings.learning_rate,
                "hidden": list(settings.model.hidden),
            },
            "error": error,
            "scores": [dataclasses.asdict(score) for score in record.scores],
            "left_out": list(record.left_out),
        }
        with tf.io.gfile.GFile(self._path, "w") as file:
            json.dump(self._records, file)
        number = len(self._records)
        _LOG.info("Trial %d of %d done", number, self.oracle.max_trials)
        return {"score": selection.figure(record, self.rule)}

    def _scored(
        self, settings: TrainSettings, train: Split, evaluation: Split
    ) -> selection.Trial:
        model = self.train(settings, train, evaluation)
        predict = Predictor(model, train.layout)
        logits, labels, ids, weights = predict(evaluation)
        scores = []
        for index, name in enumerate(settings.columns.environments):
            rows = ids == index
            if not weights[rows].sum() > 0:
                raise ValueError(
                    f"Training environment {name!r} has no rows in the eval split, "
                    "by which models are chosen"
                )
            scores.append(_score(settings.task, rows, logits, labels, weights))
        left_out = []
        if self.rule == selection.LEAVE_ONE_OUT:
            for index in range(len(scores)):
                rest = _without(settings, index)
                parts = [split.without(index) for split in (train, evaluation)]
                model = self.train(rest, *parts)
                predict = Predictor(model, train.layout)
                logits, labels, ids, weights = predict(evaluation)
                rows = ids == index
                found = _score(settings.task, rows, logits, labels, weights)
                left_out.append(found.risk)
        return selection.Trial(scores, left_out)

    def train(
        self, settings: TrainSettings, train: Split, evaluation: Split
    ) -> keras.Model:
        """Trains a model, as `run_fn` would."""
        devices.seed_everything(settings.seed, settings.engine.deterministic)
        keras.backend.clear_session()
        strategy = devices.make_strategy()
        with strategy.scope():
            model = make_model(
                self._features,
                settings.model,
                settings.outputs,
                settings.engine.precision,
            )
        fit(model, [train, evaluation], settings, strategy=strategy)
        return model

    @property
    def results(self) -> dict[str, Any]:
        """The rule, the trials in the order they ran, and which of them it names."""
        records = list(self._records.values())
        trials = [
            selection.Trial(
                [selection.Score(**score) for score in record["scores"]],
                record["left_out"],
            )
            for record in records
        ]
        return {
            "rule": self.rule,
            "chosen": selection.choose(trials, self.rule),
            "environments": list(self._settings.columns.environments),
            "trials": [
                {
                    **record,
                    "counts": trial.counts,
                    "mean_risk": trial.mean_risk,
                    "worst_risk": trial.worst_risk,
                    "risk_gap": trial.risk_gap,
                    "slope_spread": trial.slope_spread,
                }
                for record, trial in zip(records, trials, strict=True)
            ],
        }

    def write_results(self, folder: str) -> None:
        """Writes `trials.json` into a folder, and drops what was for a restart."""
        path = os.path.join(folder, RESULTS_FILE)
        with tf.io.gfile.GFile(path, "w") as file:
            json.dump(self.results, file, indent=1)
        tf.io.gfile.rmtree(self.directory)

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Those of the trial that the rule names, or the defaults if it names none."""
        chosen = self.results["chosen"]
        if chosen is None:
            return [self.oracle.get_space()]
        trial_id = list(self._records)[chosen]
        return [self.oracle.get_trial(trial_id).hyperparameters]


def _score(task: str, rows: np.ndarray, *outputs: np.ndarray) -> selection.Score:
    """Of some of the rows that a `Predictor` gave logits, labels and weights of."""
    logits, labels, weights = (part[rows] for part in outputs)
    return selection.score(logits, labels, weights, task)


def _without(settings: TrainSettings, index: int) -> TrainSettings:
    """The settings for training without an environment."""
    names = list(settings.columns.environments)
    left = names.pop(index)
    columns: Columns = dataclasses.replace(settings.columns, environments=tuple(names))
    importance = settings.importance
    if importance is not None and importance.target == left:
        importance = dataclasses.replace(importance, target="pooled")
    return dataclasses.replace(settings, columns=columns, importance=importance)
