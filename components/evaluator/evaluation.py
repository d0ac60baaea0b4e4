"""The Beam side: TFMA reads, infers and writes; between them, our evaluator.

Stock TFMA takes each batch apart after inference and combines an example at a time.
Here a bundle's batches are kept together, summed with NumPy, and only the sums are
combined.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from apache_beam.transforms import window
from tensorflow_model_analysis.extractors import extractor
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.errors import DataError
from components.evaluator import (
    attacks,
    blocks,
    columns,
    measures,
    reading,
    sample,
    summarize,
    tasks,
)
from components.evaluator.settings import CANDIDATE, Options

CURVE = "calibration_plot"
# Sums are taken when this many examples of a bundle have come together, or predictions.
_MOST_ROWS = 100_000
_MOST_NUMBERS = 4_000_000
# And sums of so many parts of a slice are added up.
_MOST_PARTS = 8
_SENTENCE = re.compile(r"DataError: (.+)")
_WHERE = " [while running"


@dataclasses.dataclass(frozen=True)
class Job:
    """What is the same for all splits.

    Attributes:
      options: the component's options.
      config: `tfma.EvalConfig` for the models that are there, see
        `settings.models_of`.
      models: model name -> path of its SavedModel.
      layout: of the examples, see `reading.look`.
      attacker: of the candidate, or None.
    """

    options: Options
    config: Any
    models: dict[str, str]
    layout: reading.Layout
    attacker: attacks.Attacker | None = None


class EvaluateSplit(beam.PTransform):
    """Reads a split, runs the models, evaluates, and writes TFMA's output folder."""

    def __init__(
        self,
        job: Job,
        split: str,
        patterns: list[str],
        slicing: summarize.Slicing,
        output: str,
    ):
        """Makes the transform.

        Args:
          job: what is the same for all splits.
          split: its name.
          patterns: file patterns of its TFRecords.
          slicing: its slices.
          output: folder to write to; it must exist.
        """
        super().__init__(label=f"Evaluate[{split}]")
        self._job = job
        self._split = split
        self._patterns = patterns
        self._slicing = slicing
        self._output = output

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Applies TFMA's own stages around `make_evaluator`."""
        job = self._job
        record = reading.tfxio(self._patterns, job.layout)
        models = [
            tfma.default_eval_shared_model(
                path, model_name=name, eval_config=job.config
            )
            for name, path in job.models.items()
        ]
        extractors = tfma.default_extractors(
            eval_shared_model=models,
            eval_config=job.config,
            tensor_adapter_config=reading.adapter_config(record),
        )
        keys = {spec.name: spec.prediction_key for spec in job.config.model_specs}
        evaluator = make_evaluator(
            job.options, job.config, self._slicing, self._split, job.attacker
        )
        return (
            pipeline
            | "Read" >> record.BeamSource(job.layout.batch_size)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models,
                eval_config=job.config,
                # Without the last two: they unbatch and find slice keys.
                extractors=extractors[:-2],
                evaluators=[evaluator, sample.make_evaluator(keys)],
                writers=_writers(job, self._output, self._patterns),
            )
        )


def _writers(job: Job, output: str, patterns: list[str]) -> list[tfma.writers.Writer]:
    parts = (tfma.METRICS_KEY, tfma.PLOTS_KEY)
    return [
        tfma.writers.EvalConfigWriter(
            output,
            eval_config=job.config,
            data_location=",".join(patterns),
            data_file_format="tfrecords",
            model_locations=job.models,
        ),
        tfma.writers.MetricsPlotsAndValidationsWriter(
            output_paths={part: os.path.join(output, part) for part in parts},
            eval_config=job.config,
            add_metrics_callbacks=[],
            output_file_format="tfrecord",
        ),
        sample.make_writer(output),
    ]


def data_error(error: BaseException) -> DataError | None:
    """The `DataError` that a worker raised, as it was raised.

    Beam adds to the sentence where it ran; and most runners hand on a worker's
    exception as text only.
    """
    sentence = str(error)
    if not isinstance(error, DataError):
        found = _SENTENCE.search(sentence)
        if found is None:
            return None
        sentence = found.group(1)
    return DataError(sentence.split(_WHERE)[0].strip())


def make_evaluator(
    options: Options,
    config: Any,
    slicing: summarize.Slicing,
    split: str,
    attacker: attacks.Attacker | None = None,
) -> tfma.evaluators.Evaluator:
    """TFMA evaluator that combines by batch and slice.

    Args:
      options: the component's options.
      config: `tfma.EvalConfig` for the models that are there, see
        `settings.models_of`.
      slicing: slices of the split.
      split: name of the split, for messages.
      attacker: of the candidate, or None.

    Returns:
      An evaluator to run after the last extractor.
    """
    return tfma.evaluators.Evaluator(
        stage_name="EvaluateBySliceAndBlock",
        run_after=extractor.LAST_EXTRACTOR_STAGE_NAME,
        ptransform=_Evaluate(options, config, slicing, split, attacker),
    )


class _Evaluate(beam.PTransform):
    """Batched extracts to `{"metrics": ..., "plots": ...}`."""

    def __init__(
        self,
        options: Options,
        config: Any,
        slicing: summarize.Slicing,
        split: str,
        attacker: attacks.Attacker | None,
    ):
        super().__init__()
        names = {spec.name: spec.prediction_key for spec in config.model_specs}
        self._summarize = _SummarizeDoFn(options, names, slicing, split, attacker)
        self._task = tasks.of(options)
        self._weighted = options.weight is not None

    def expand(self, extracts: beam.PCollection) -> Any:
        measured = (
            extracts
            | "Summarize" >> beam.ParDo(self._summarize)
            | "Merge" >> beam.CombinePerKey(_MergeFn(self._task))
            | "Measure" >> beam.Map(_measure, self._task, self._weighted)
        )
        return {
            tfma.METRICS_KEY: measured | "Metrics" >> beam.MapTuple(_metrics),
            tfma.PLOTS_KEY: measured | "Plots" >> beam.MapTuple(_plots),
        }


class _SummarizeDoFn(beam.DoFn):
    """Sums up the batches of a bundle, by slice."""

    def __init__(
        self,
        options: Options,
        models: dict[str, str],
        slicing: summarize.Slicing,
        split: str,
        attacker: attacks.Attacker | None = None,
    ):
        self._options = options
        self._task = tasks.of(options)
        self._models = models
        self._slicing = slicing
        self._split = split
        self._attacker = attacker
        self._batches: list[summarize.Batch] = []

    def start_bundle(self) -> None:
        self._batches = []

    def process(self, extracts: Any) -> Iterator[tuple[Any, Any]]:
        self._batches.append(self._batch(extracts))
        rows = sum(map(len, self._batches))
        numbers = sum(batch.numbers for batch in self._batches)
        if rows >= _MOST_ROWS or numbers >= _MOST_NUMBERS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        for pair in self._flush():
            yield window.GlobalWindows.windowed_value(pair)

    def _flush(self) -> Iterator[tuple[Any, Any]]:
        batches, self._batches = self._batches, []
        if batches:
            whole = summarize.concatenate(batches)
            yield from summarize.summarize(whole, self._slicing, self._task).items()

    def _batch(self, extracts: Any) -> summarize.Batch:
        features = extracts[tfma.FEATURES_KEY]
        serialized = np.asarray(extracts[tfma.INPUT_KEY]).reshape(-1)
        rows, options = len(serialized), self._options

        def column(name: str) -> np.ndarray:
            return columns.dense(features.get(name), rows, name, self._split)

        keys = [column(name) for name in options.cluster_by] or [serialized]
        weights = np.ones(rows)
        if options.weight is not None:
            weights = columns.weights(
                column(options.weight), options.weight, self._split
            )
        labels = self._task.labels(column(options.label), options.label, self._split)
        predictions = self._task.predictions(
            extracts[tfma.PREDICTIONS_KEY], self._models, rows
        )
        if self._attacker is not None:
            predictions |= self._attacker.predictions(
                serialized, labels, predictions[CANDIDATE], self._models[CANDIDATE]
            )
        return summarize.Batch(
            labels=labels,
            weights=weights,
            blocks=blocks.assign(keys),
            predictions=predictions,
            values={
                name: self._sliced_by(name, column(name))
                for name in self._slicing.features
            },
        )

    def _sliced_by(self, name: str, column: np.ndarray) -> np.ndarray:
        edges = self._options.buckets.get(name)
        if edges is None:
            return column
        return columns.buckets(column, edges, name, self._split)


class _MergeFn(beam.CombineFn):
    """Adds up the statistics of one slice."""

    def __init__(self, task: tasks.Task):
        self._task = task

    def create_accumulator(self) -> list[dict[str, Any]]:
        return []

    def add_input(self, accumulator: list[Any], element: Any) -> list[Any]:
        parts = [*accumulator, element]
        return parts if len(parts) < _MOST_PARTS else self.compact(parts)

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        parts = [part for accumulator in accumulators for part in accumulator]
        return [summarize.merge(parts, self._task)] if parts else []

    def compact(self, accumulator: list[Any]) -> list[Any]:
        return self.merge_accumulators([accumulator])

    def extract_output(self, accumulator: list[Any]) -> dict[str, Any]:
        return summarize.merge(accumulator, self._task)


def _measure(
    element: tuple[summarize.SliceKey, dict[str, Any]], task: tasks.Task, weighted: bool
) -> tuple[summarize.SliceKey, dict[Any, Any], dict[Any, Any]]:
    """All that TFMA is to write about a slice: key, metrics, plots."""
    key, models = element
    metrics, plots = {}, {}
    for model, statistics in sorted(models.items()):
        for name, value in task.values(statistics).items():
            metric = tfma.metrics.MetricKey(
                name, model_name=model, example_weighted=weighted
            )
            metrics[metric] = value
        if task.curve is None:
            continue
        plot = tfma.metrics.PlotKey(CURVE, model_name=model, example_weighted=weighted)
        plots[plot] = _curve_proto(task.curve(statistics))
    return key, metrics, plots


def _curve_proto(curve: measures.Curve) -> Any:
    proto = metrics_for_slice_pb2.CalibrationHistogramBuckets()
    edges = zip(curve.edges[:-1], curve.edges[1:], curve.sums, strict=True)
    for low, high, sums in edges:
        weight, label, prediction = sums.tolist()
        proto.buckets.add(
            lower_threshold_inclusive=low,
            upper_threshold_exclusive=high,
            num_weighted_examples={"value": weight},
            total_weighted_label={"value": label},
            total_weighted_refined_prediction={"value": prediction},
        )
    return proto


def _metrics(key: Any, metrics: Any, plots: Any) -> tuple[Any, Any]:
    del plots
    return key, metrics


def _plots(key: Any, metrics: Any, plots: Any) -> tuple[Any, Any]:
    del metrics
    return key, plots
