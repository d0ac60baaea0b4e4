"""Reads the Evaluator's output, as plain values without TFX or TFMA types."""

import dataclasses
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.errors import DataError
from components.evaluator.distribution import SCORE_BINS
from components.evaluator.settings import BINARY, MULTICLASS, REGRESSION
from components.evaluator.tasks import (
    BLOCK_EXAMPLES,
    CLASS_EXAMPLES,
    POSITIVES,
    REPLICATES,
    SCORES,
)

_SPLIT = re.compile(r"^Split-(.+?)/?$")


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """A metric on a slice.

    Attributes:
      value: on all examples; NaN where undefined.
      replicates: [K] its values without each jackknife block. A block without examples
        of the slice repeats `value` exactly; NaN where undefined.
      noise: of a norm, which is never negative, what chance alone gives on average
        where the truth is 0, at most; else 0. See `components.norms`.
      reach: of a norm the standard error of its upper limit; else 0.
    """

    value: float
    replicates: np.ndarray
    noise: float = 0.0
    reach: float = 0.0

    @property
    def standard_error(self) -> float:
        """Delete-one-block jackknife: sqrt((K - 1) / K sum_k (r_k - mean r)^2).

        NaN if a replicate is undefined.
        """
        k = len(self.replicates)
        deviations = self.replicates - np.mean(self.replicates)
        return float(np.sqrt((k - 1) / k * np.sum(deviations**2)))


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """Examples whose prediction lies in [lower, upper); the last bin takes 1 as well.

    Attributes:
      lower: lower edge.
      upper: upper edge.
      weight: their total weight, > 0.
      mean_prediction: their weighted mean prediction.
      mean_label: their weighted mean label.
    """

    lower: float
    upper: float
    weight: float
    mean_prediction: float
    mean_label: float


@dataclasses.dataclass(frozen=True, eq=False)
class SliceResult:
    """One model on one slice of one split.

    Attributes:
      split: name of the split.
      slice: (feature, value) pairs in the order of the slicing spec; () is overall.
      model: `candidate`, `baseline`, or of the attacked candidate `Attack.model`.
      examples: number of examples, unweighted.
      positives: number of them with label 1; 0 of a task that has none.
      metrics: name -> estimate, the names of the task's `METRICS`.
      calibration: bins that hold examples, by rising prediction; of multiclass, by
        rising confidence; none of regression.
      block_examples: examples in each jackknife block.
      invalid_predictions: how many were NaN, outside [0, 1], no distribution over the
        classes, or of regression not finite.
      scores: float64 [1 + K, SCORE_BINS], distribution of the predictions of all and
        without each block, see `distribution.score_sketch`; of multiclass that of the
        confidence; or None.
      task: binary, multiclass or regression.
      class_examples: of multiclass the examples of each class; else ().
    """

    split: str
    slice: tuple[tuple[str, str], ...]
    model: str
    examples: int
    positives: int
    metrics: dict[str, Estimate]
    calibration: tuple[CalibrationBin, ...]
    block_examples: tuple[int, ...] = ()
    invalid_predictions: int = 0
    scores: np.ndarray | None = None
    task: str = "binary"
    class_examples: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """`overall`, or such as `environment=EWR,carrier=UA`."""
        if not self.slice:
            return "overall"
        return ",".join(f"{feature}={value}" for feature, value in self.slice)


def load_results(uri: str) -> list[SliceResult]:
    """Reads all splits, slices and models of an evaluation.

    Args:
      uri: of the `ModelEvaluation` artifact.

    Returns:
      Results ordered by split, slicing spec, slice and model.

    Raises:
      DataError: the folder holds no evaluation.
    """
    results = []
    for split in _splits(uri):
        results.extend(_load_split(os.path.join(uri, f"Split-{split}"), split))
    return results


def _splits(uri: str) -> list[str]:
    import tensorflow as tf

    splits = []
    if tf.io.gfile.isdir(uri):
        found = map(_SPLIT.match, tf.io.gfile.listdir(uri))
        splits = sorted(match.group(1) for match in found if match)
    if not splits:
        raise DataError(f"{uri} holds no evaluation: no Split-<name> folder in it")
    return splits


def evaluated_models(uri: str) -> dict[str, dict[str, str]]:
    """Which models were evaluated: split -> model name -> path of its SavedModel.

    Args:
      uri: of the `ModelEvaluation` artifact.

    Raises:
      DataError: the folder holds no evaluation.
    """
    from tensorflow_model_analysis.writers import eval_config_writer

    models = {}
    for split in _splits(uri):
        folder = os.path.join(uri, f"Split-{split}")
        config, _, _, locations = eval_config_writer.load_eval_run(folder)
        if config is None:
            raise DataError(
                f"{folder} holds no evaluation: eval_config.json is missing"
            )
        models[split] = dict(locations)
    return models


def _load_split(folder: str, split: str) -> list[SliceResult]:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.writers import eval_config_writer

    config, _, _, _ = eval_config_writer.load_eval_run(folder)
    if config is None:
        raise DataError(f"{folder} holds no evaluation: eval_config.json is missing")
    orders = [tuple(spec.feature_keys) for spec in config.slicing_specs]
    curves = {}
    for plots in tfma.load_plots(folder):
        key = _slice(plots.slice_key, orders)
        for entry in plots.plot_keys_and_values:
            buckets = entry.value.calibration_histogram_buckets.buckets
            curves[key, entry.key.model_name] = tuple(_bins(buckets))
    results = []
    for metrics in tfma.load_metrics(folder):
        key = _slice(metrics.slice_key, orders)
        models: dict[str, dict[str, Any]] = {}
        for entry in metrics.metric_keys_and_values:
            values = models.setdefault(entry.key.model_name, {})
            values[entry.key.name] = _value(entry.value)
        for model, values in models.items():
            results.append(
                _result(split, key, model, values, curves.get((key, model), ()))
            )
    return sorted(results, key=lambda result: _position(result, orders))


def _result(
    split: str,
    key: tuple[tuple[str, str], ...],
    model: str,
    values: dict[str, Any],
    curve: tuple[CalibrationBin, ...],
) -> SliceResult:
    estimates = {
        name: Estimate(
            values[name],
            values[name + REPLICATES],
            values.get(name + "_noise", 0.0),
            values.get(name + "_reach", 0.0),
        )
        for name in values
        if name + REPLICATES in values
    }
    scores = values.get(SCORES)
    return SliceResult(
        split=split,
        slice=key,
        model=model,
        examples=round(values["example_count"]),
        positives=round(values.get(POSITIVES, 0)),
        metrics=estimates,
        calibration=curve,
        block_examples=tuple(values[BLOCK_EXAMPLES].tolist()),
        invalid_predictions=round(values["invalid_predictions"]),
        scores=None if scores is None else scores.reshape(-1, SCORE_BINS),
        task=_task(values),
        class_examples=tuple(np.atleast_1d(values.get(CLASS_EXAMPLES, ())).tolist()),
    )


def _task(values: dict[str, Any]) -> str:
    """The task by what was written of it."""
    if POSITIVES in values:
        return BINARY
    return MULTICLASS if CLASS_EXAMPLES in values else REGRESSION


def _position(result: SliceResult, orders: list[tuple[str, ...]]) -> Any:
    features = tuple(feature for feature, _ in result.slice)
    spec = orders.index(features) if features in orders else len(orders)
    return spec, result.slice, result.model != "candidate", result.model


def _slice(proto: Any, orders: list[tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    """A slice key, its features in the order of the config."""
    pairs = {}
    for single in proto.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind) if kind else ""
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, float):
            value = np.float32(value)
        pairs[single.column] = str(value)
    order = next((o for o in orders if set(o) == set(pairs)), tuple(pairs))
    return tuple((feature, pairs[feature]) for feature in order)


def _value(proto: Any) -> Any:
    """A metric value: float, or an array."""
    if proto.WhichOneof("type") != "array_value":
        return proto.double_value.value
    array = proto.array_value
    integers = len(array.int64_values) > 0
    return np.array(array.int64_values if integers else array.float64_values)


def _bins(buckets: Any) -> Iterator[CalibrationBin]:
    """The bins that hold examples; what lies outside [0, 1) joins the bin beside it."""
    if len(buckets) < 3:
        return
    table = [
        [
            bucket.num_weighted_examples.value,
            bucket.total_weighted_refined_prediction.value,
            bucket.total_weighted_label.value,
        ]
        for bucket in buckets
    ]
    sums = np.array(table)
    sums[1] += sums[0]
    sums[-2] += sums[-1]
    for bucket, (weight, prediction, label) in zip(
        buckets[1:-1], sums[1:-1].tolist(), strict=True
    ):
        if weight > 0:
            yield CalibrationBin(
                bucket.lower_threshold_inclusive,
                bucket.upper_threshold_exclusive,
                weight,
                prediction / weight,
                label / weight,
            )
