"""Tuner: hyperparameters chosen by what the training environments say."""

from tfx.components.tuner import component as tfx_tuner
from tfx.dsl.components.base import executor_spec

from components.tuner import executor


class Tuner(tfx_tuner.Tuner):
    """TFX's Tuner whose output `tuner_results` also has `trials.json`.

    TFX's own keeps one score a trial, and names the trial with the best one. A rule
    that compares environments needs all of their figures, and so does who checks it.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
