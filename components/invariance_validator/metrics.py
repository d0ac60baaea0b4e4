"""The metrics that checks may name, by task, and what is known of them beforehand.

Imports neither TFX nor NumPy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
CALIBRATION_SLOPE = "calibration_slope"
CALIBRATION_ERROR = "calibration_error"
SCORE_DISTANCE = "score_distance"
RISK_VARIANCE = "risk_variance"


@dataclass(frozen=True)
class Metric:
    """What is known of a metric before it is measured.

    Attributes:
      lower: end of its range.
      upper: the other end.
      better: which end is the better one, higher or lower, or None.
      scale: on which its confidence limits are formed: identity, inverse (a ratio
        whose denominator is an estimate), logit, loss (a mean without an upper end),
        root (of a loss) or explained (1 less a loss); see `scales`.
      share_of: what it is a share of: examples; pairs of a positive and a negative
        (then it is as certain as a share of the rarer class, at least); or classes,
        each of which counts the same (then as a share of as many examples of each as
        the rarest has). None if it is no share, and then says nothing with fewer than
        20 examples of a class.
    """

    lower: float
    upper: float
    better: str | None = None
    scale: str = "identity"
    share_of: str | None = None


_ANY = Metric(-math.inf, math.inf)
_LOSS = Metric(0.0, math.inf, "lower")
_SHARE = Metric(0.0, 1.0, "higher", share_of="examples")
_NORMS = {
    CALIBRATION_ERROR: Metric(0.0, 1.0, "lower"),
    SCORE_DISTANCE: Metric(0.0, 1.0, "lower"),
    RISK_VARIANCE: Metric(0.0, math.inf, "lower"),
}


@dataclass(frozen=True)
class Task:
    """What checks may name in a task.

    Attributes:
      name: of `TASKS`.
      metrics: what the config may name, as worst, gap, ...
      norms: never negative, and too large on average: only kinds of their own judge
        these.
      risk: the metric that is the mean loss; risk_variance is that of it.
      score: the mean of what score_distance compares, a metric of the Evaluator; None
        where there is no such check.
      shown: metrics that the report shows whatever is checked.
    """

    name: str
    metrics: Mapping[str, Metric]
    norms: Mapping[str, Metric]
    risk: str
    score: str | None
    shown: tuple[str, ...]

    @property
    def instead(self) -> dict[str, str]:
        """Metric that no check can name -> what to write instead."""
        kinds = {
            name: f"it is a check of its own, checks.{name}: {{max: ...}}"
            for name in self.norms
        }
        return {
            **kinds,
            "irm_penalty": "bound irm_gradient, of which it is the square, by min and"
            " max",
            "irm_penalty_unbiased": "bound irm_gradient by min and max",
        }

    def info(self, metric: str) -> Metric:
        """Of a metric or norm; any number may be of one that the task has not."""
        return self.metrics.get(metric) or self.norms.get(metric) or _ANY


_TASKS = (
    Task(
        BINARY,
        {
            "auc": Metric(0.0, 1.0, "higher", "logit", "pairs"),
            "log_loss": _LOSS,
            "accuracy": _SHARE,
            "calibration": Metric(0.0, math.inf, scale="inverse"),
            CALIBRATION_SLOPE: _ANY,
            "calibration_intercept": _ANY,
            "mean_label": Metric(0.0, 1.0, share_of="examples"),
            "mean_prediction": Metric(0.0, 1.0),
            "loss_variance": Metric(0.0, math.inf),
            "irm_gradient": _ANY,
        },
        _NORMS,
        risk="log_loss",
        score="mean_prediction",
        shown=("auc", "log_loss"),
    ),
    Task(
        MULTICLASS,
        {
            "accuracy": _SHARE,
            "balanced_accuracy": Metric(0.0, 1.0, "higher", share_of="classes"),
            "log_loss": _LOSS,
            CALIBRATION_SLOPE: _ANY,
            "mean_confidence": Metric(0.0, 1.0),
            "loss_variance": Metric(0.0, math.inf),
            "irm_gradient": _ANY,
        },
        _NORMS,
        risk="log_loss",
        score="mean_confidence",
        shown=("accuracy", "log_loss"),
    ),
    Task(
        REGRESSION,
        {
            "mean_squared_error": Metric(0.0, math.inf, "lower", "loss"),
            "root_mean_squared_error": Metric(0.0, math.inf, "lower", "root"),
            "mean_absolute_error": Metric(0.0, math.inf, "lower", "loss"),
            "r_squared": Metric(-math.inf, 1.0, "higher", "explained"),
            CALIBRATION_SLOPE: _ANY,
            "calibration_intercept": _ANY,
            "mean_label": _ANY,
            "mean_prediction": _ANY,
            "loss_variance": Metric(0.0, math.inf, scale="loss"),
            "irm_gradient": _ANY,
        },
        # Predictions without bounds have no bins in which their distributions could be
        # kept, and so neither a distance nor a calibration error.
        {RISK_VARIANCE: _NORMS[RISK_VARIANCE]},
        risk="mean_squared_error",
        score=None,
        shown=("mean_squared_error", "r_squared"),
    ),
)
TASKS = {task.name: task for task in _TASKS}
# Of any task.
NAMES = tuple(dict.fromkeys(name for task in _TASKS for name in task.metrics))


def of(task: str) -> Task:
    """The task of a name.

    Raises:
      ValueError: there is none.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} is unknown; legal are {', '.join(TASKS)}")
    return TASKS[task]
