"""Our metrics for stock TFMA: the Evaluator's code behind `tfma.metrics.Metric`.

    tfma.MetricsSpec(metrics=[
        tfma.MetricConfig(
            class_name="CalibrationSlope", module="components.evaluator.tfma_metrics"
        ),
    ])

or `tfma.metrics.specs_from_metrics([CalibrationSlope(), ...])`. Binary predictions as
probabilities, labels of 0 and 1. All of them share one combiner of sufficient
statistics. It runs where TFMA hands over an example at a time, so it is far slower than
our Evaluator, whose values it gives (to 1e-9), but for replicates: TFMA does not tell
which examples belong together.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.evaluator import measures
from components.evaluator import statistics as st

_SHARED = "_tfx_irm_measures"
_MOST_ROWS = 4_096


@dataclasses.dataclass
class _Accumulator:
    """Sums so far, and the rows that are not in them yet."""

    statistics: st.Statistics | None = None
    labels: list[float] = dataclasses.field(default_factory=list)
    predictions: list[Any] = dataclasses.field(default_factory=list)
    weights: list[float] = dataclasses.field(default_factory=list)

    def summed(self) -> st.Statistics | None:
        """Statistics of all rows; None where there is none."""
        if self.labels:
            number = len(self.labels)
            nothing = np.zeros(number, np.int64)
            rows = st.rows_of(
                np.array(self.labels),
                np.array(self.predictions),
                np.array(self.weights),
            )
            (found,) = st.group(rows, nothing, nothing, 1)
            parts = [self.statistics, found] if self.statistics else [found]
            self.statistics = st.merge(parts)
            self.labels, self.predictions, self.weights = [], [], []
        return self.statistics


class _MeasuresCombiner(beam.CombineFn):
    """Examples to the values of all our metrics."""

    def __init__(self, key: metric_types.MetricKey, eval_config: Any, weighted: bool):
        self._key = key
        self._eval_config = eval_config
        self._weighted = weighted

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator()

    def add_input(self, accumulator: _Accumulator, element: Any) -> _Accumulator:
        examples = metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=self._weighted,
        )
        for label, prediction, weight in examples:
            accumulator.labels.append(float(np.reshape(label, ())))
            accumulator.predictions.append(np.reshape(prediction, ()))
            accumulator.weights.append(float(np.reshape(weight, ())))
        if len(accumulator.labels) >= _MOST_ROWS:
            accumulator.summed()
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        parts = [part.summed() for part in accumulators]
        found = [part for part in parts if part is not None]
        return _Accumulator(st.merge(found) if found else None)

    def extract_output(self, accumulator: _Accumulator) -> dict[Any, Any]:
        statistics = accumulator.summed()
        if statistics is None:
            return {self._key: dict.fromkeys(measures.METRICS, float("nan"))}
        found = measures.measure(statistics)
        return {self._key: {name: value for name, (value, _) in found.items()}}


def _computations(measure: str) -> Callable[..., Any]:
    """TFMA's way to a metric: the shared sums, and what is derived from them."""

    def make(
        name: str = measure,
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
                    for of in (_SHARED, name)
                )
                combiner = _MeasuresCombiner(shared, eval_config, example_weighted)
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
    """A metric of `measures.METRICS`; see `measures.measure` for its formula."""

    MEASURE: str

    def __init__(self, name: str | None = None):
        """Makes the metric.

        Args:
          name: under which it is reported; default: as our Evaluator names it.
        """
        name = name or self.MEASURE
        super().__init__(_computations(self.MEASURE), name=name)


class CalibrationSlope(_Measure):
    """Slope of the logistic regression of the label on the log-odds; 1 is best."""

    MEASURE = "calibration_slope"


class CalibrationIntercept(_Measure):
    """Intercept of the logistic regression of the label on the log-odds; 0 is best."""

    MEASURE = "calibration_intercept"


class IrmGradient(_Measure):
    """Mean of (p - y) ln(p / (1 - p)): change of the risk in a dummy scale at 1."""

    MEASURE = "irm_gradient"


class IrmPenalty(_Measure):
    """Square of the gradient of the risk in a dummy scale: IRMv1's penalty."""

    MEASURE = "irm_penalty"


class ExpectedCalibrationError(_Measure):
    """Mean distance of forecast and outcome over deciles of the predictions."""

    MEASURE = "calibration_error"


class LossVariance(_Measure):
    """Variance of the log loss of an example."""

    MEASURE = "loss_variance"


METRICS = (
    CalibrationSlope,
    CalibrationIntercept,
    IrmGradient,
    IrmPenalty,
    ExpectedCalibrationError,
    LossVariance,
)
for _metric in METRICS:
    metric_types.register_metric(_metric)
