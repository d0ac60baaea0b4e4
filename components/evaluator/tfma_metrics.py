"""Our metrics for stock TFMA: the Evaluator's code behind `tfma.metrics.Metric`.

    tfma.MetricsSpec(metrics=[
        tfma.MetricConfig(
            class_name="CalibrationSlope", module="components.evaluator.tfma_metrics"
        ),
    ])

or `tfma.metrics.specs_from_metrics([CalibrationSlope(), ...])`. Predictions and labels
are those of the `task` (`config='{"task": "regression"}'`): binary, the default, takes
a probability and a label of 0 or 1; multiclass K probabilities and a class's number;
regression a number of each. All of a task share one combiner of sufficient statistics.
It runs where TFMA hands over an example at a time, so it is far slower than our
Evaluator, whose values it gives (to 1e-9), but for replicates: TFMA does not tell which
examples belong together.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.evaluator import measures, multiclass, regression
from components.evaluator import statistics as st

_SHARED = "_tfx_irm_measures"
_MOST_ROWS = 4_096


@dataclasses.dataclass(frozen=True)
class _Task:
    """Where its statistics are: `rows_of`, `group`, `merge`; `METRICS`, `measure`."""

    sums: Any
    metrics: Any


_TASKS = {
    "binary": _Task(st, measures),
    "multiclass": _Task(multiclass, multiclass),
    "regression": _Task(regression, regression),
}


@dataclasses.dataclass
class _Accumulator:
    """Sums so far, and the rows that are not in them yet, of a task."""

    task: str
    statistics: Any = None
    labels: list[float] = dataclasses.field(default_factory=list)
    predictions: list[Any] = dataclasses.field(default_factory=list)
    weights: list[float] = dataclasses.field(default_factory=list)

    def summed(self) -> Any:
        """Statistics of all rows; None where there is none."""
        if self.labels:
            sums, number = _TASKS[self.task].sums, len(self.labels)
            nothing = np.zeros(number, np.int64)
            labels = np.array(self.labels)
            if self.task == "multiclass":
                labels = labels.astype(np.int64)
            rows = sums.rows_of(
                labels, np.array(self.predictions), np.array(self.weights)
            )
            (found,) = sums.group(rows, nothing, nothing, 1)
            parts = [self.statistics, found] if self.statistics else [found]
            self.statistics = sums.merge(parts)
            self.labels, self.predictions, self.weights = [], [], []
        return self.statistics


class _MeasuresCombiner(beam.CombineFn):
    """Examples to the values of all our metrics."""

    def __init__(
        self,
        key: metric_types.MetricKey,
        eval_config: Any,
        weighted: bool,
        task: str = "binary",
    ):
        self._key = key
        self._task = task
        self._eval_config = eval_config
        self._weighted = weighted

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator(self._task)

    def add_input(self, accumulator: _Accumulator, element: Any) -> _Accumulator:
        examples = metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=self._weighted,
            flatten=False,
        )
        shape = (-1,) if self._task == "multiclass" else ()
        for label, prediction, weight in examples:
            accumulator.labels.append(float(np.reshape(label, ())))
            accumulator.predictions.append(np.reshape(prediction, shape))
            accumulator.weights.append(float(np.reshape(weight, ())))
        if len(accumulator.labels) >= _MOST_ROWS:
            accumulator.summed()
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        parts = [part.summed() for part in accumulators]
        found = [part for part in parts if part is not None]
        sums = _TASKS[self._task].sums
        return _Accumulator(self._task, sums.merge(found) if found else None)

    def extract_output(self, accumulator: _Accumulator) -> dict[Any, Any]:
        # By name: modules cannot be pickled.
        metrics, statistics = _TASKS[self._task].metrics, accumulator.summed()
        if statistics is None:
            return {self._key: dict.fromkeys(metrics.METRICS, float("nan"))}
        found = metrics.measure(statistics)
        return {self._key: {name: value for name, (value, _) in found.items()}}


def _computations(measure: str) -> Callable[..., Any]:
    """TFMA's way to a metric: the shared sums, and what is derived from them."""

    def make(
        name: str = measure,
        task: str = "binary",
        eval_config: Any = None,
        model_names: list[str] | None = None,
        output_names: list[str] | None = None,
        example_weighted: bool = False,
    ) -> list[Any]:
        made: list[Any] = []
        for model in model_names or [""]:
            for output in output_names or [""]:
                shared, key = (
                    metric_types.MetricKey(
                        name=of,
                        model_name=model,
                        output_name=output,
                        example_weighted=example_weighted,
                    )
                    for of in (f"{_SHARED}_{task}", name)
                )
                combiner = _MeasuresCombiner(
                    shared, eval_config, example_weighted, task
                )
                made.append(
                    metric_types.MetricComputation(
                        keys=[shared], preprocessors=None, combiner=combiner
                    )
                )
                made.append(
                    metric_types.DerivedMetricComputation(
                        keys=[key], result=_picker(shared, key, measure)
                    )
                )
        return made

    return make


def _picker(shared: Any, key: Any, measure: str) -> Callable[..., Any]:
    return lambda metrics: {key: metrics[shared][measure]}


class _Measure(tfma.metrics.Metric):
    """A metric of a task; see `measure` in measures, multiclass or regression."""

    MEASURE: str

    def __init__(self, name: str | None = None, task: str | None = None):
        """Makes the metric.

        Args:
          name: under which it is reported; default: as our Evaluator names it.
          task: binary, multiclass or regression; default: the first that has it.

        Raises:
          ValueError: no such task, or it has no such metric.
        """
        have = [
            known for known, of in _TASKS.items() if self.MEASURE in of.metrics.METRICS
        ]
        task = task or have[0]
        if task not in have:
            raise ValueError(
                f"{type(self).__name__} is no metric of task {task!r}, only of"
                f" {' and '.join(have)}"
            )
        name = name or self.MEASURE
        super().__init__(_computations(self.MEASURE), name=name, task=task)


class CalibrationSlope(_Measure):
    """Slope of label on log-odds, logits or predictions, by task; 1 is best."""

    MEASURE = "calibration_slope"


class CalibrationIntercept(_Measure):
    """Intercept of the regression of the label; 0 is best. Not of multiclass."""

    MEASURE = "calibration_intercept"


class IrmGradient(_Measure):
    """Change of the risk in a dummy scale at 1: binary, mean (p - y) ln(p/(1 - p))."""

    MEASURE = "irm_gradient"


class IrmPenalty(_Measure):
    """Square of the gradient of the risk in a dummy scale: IRMv1's penalty."""

    MEASURE = "irm_penalty"


class ExpectedCalibrationError(_Measure):
    """Mean distance of forecast and outcome over deciles. Not of regression."""

    MEASURE = "calibration_error"


class LossVariance(_Measure):
    """Variance of the loss of an example."""

    MEASURE = "loss_variance"


class BalancedAccuracy(_Measure):
    """Mean recall of the classes that are there. Of multiclass alone."""

    MEASURE = "balanced_accuracy"


class RSquared(_Measure):
    """1 - squared error / variance of the label. Of regression alone."""

    MEASURE = "r_squared"


METRICS = (
    CalibrationSlope,
    CalibrationIntercept,
    IrmGradient,
    IrmPenalty,
    ExpectedCalibrationError,
    LossVariance,
    BalancedAccuracy,
    RSquared,
)
for _metric in METRICS:
    metric_types.register_metric(_metric)
