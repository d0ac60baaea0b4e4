"""A few examples of a split, kept with the scores that the candidate gave to them.

Whoever serves the model can ask for the same and see whether the scores are the same.
"""

import base64
import heapq
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.extractors import extractor
from tfx.dsl.io import fileio

from components.artifact_files import write_text
from components.evaluator.settings import CANDIDATE

SAMPLE_FILE = "sample.json"
KEPT = 64
_KEY = "sample"
_LOOKED_AT = KEPT  # of each batch, so that nearly nothing is spent

Item = tuple[int, str, dict[str, list[float]]]


def make_evaluator(models: Mapping[str, str]) -> tfma.evaluators.Evaluator:
    """TFMA evaluator that keeps the `KEPT` examples of the smallest hashes.

    Args:
      models: those that are evaluated: name -> key of its predictions.
    """
    return tfma.evaluators.Evaluator(
        stage_name="Sample",
        run_after=extractor.LAST_EXTRACTOR_STAGE_NAME,
        ptransform=_Sample(len(models) > 1, models[CANDIDATE]),
    )


def make_writer(folder: str) -> tfma.writers.Writer:
    """TFMA writer of `SAMPLE_FILE` into a split's folder."""
    return tfma.writers.Writer(stage_name="WriteSample", ptransform=_Write(folder))


def load_sample(uri: str) -> list[tuple[bytes, dict[str, list[float]]]]:
    """The examples that an evaluation kept.

    Args:
      uri: of the `ModelEvaluation`.

    Returns:
      (serialized tf.Example, output -> [K] scores) of each, over all splits.
    """
    found = []
    for path in sorted(
        map(str, fileio.glob(os.path.join(uri, "Split-*", SAMPLE_FILE)))
    ):
        with fileio.open(path, "rb") as file:
            listed = json.loads(file.read())
        found += [(base64.b64decode(one["example"]), one["scores"]) for one in listed]
    return found


class _Sample(beam.PTransform):
    """Batched extracts to `{"sample": ...}`."""

    def __init__(self, several: bool, key: str):
        super().__init__()
        self._several, self._key = several, key

    def expand(self, extracts: beam.PCollection) -> dict[str, Any]:
        return {
            _KEY: extracts
            | "Pick" >> beam.FlatMap(_pick, self._several, self._key)
            | "Smallest" >> beam.CombineGlobally(_SmallestFn())
        }


def _pick(extracts: Mapping[str, Any], several: bool, key: str) -> Iterable[Item]:
    """The first examples of a batch, with their hashes."""
    serialized = np.asarray(extracts[tfma.INPUT_KEY]).reshape(-1)
    outputs = extracts[tfma.PREDICTIONS_KEY]
    if several:
        outputs = outputs[CANDIDATE]
    if not isinstance(outputs, dict):  # TFMA unwraps an output that is the only one
        outputs = {key: outputs}
    for i in range(min(_LOOKED_AT, len(serialized))):
        example = bytes(serialized[i])
        scores = {
            name: np.asarray(values[i], float).reshape(-1).tolist()
            for name, values in outputs.items()
        }
        yield zlib.crc32(example), base64.b64encode(example).decode(), scores


class _SmallestFn(beam.CombineFn):
    """The `KEPT` smallest items, without repeats."""

    def create_accumulator(self) -> list[Item]:
        return []

    def add_input(self, accumulator: list[Item], element: Item) -> list[Item]:
        accumulator.append(element)
        return accumulator if len(accumulator) < 8 * KEPT else _least(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Item]]) -> list[Item]:
        return _least([item for part in accumulators for item in part])

    def extract_output(self, accumulator: list[Item]) -> list[Item]:
        return _least(accumulator)


def _least(items: list[Item]) -> list[Item]:
    distinct = {(code, example): scores for code, example, scores in items}
    return [(*key, distinct[key]) for key in heapq.nsmallest(KEPT, distinct)]


class _Write(beam.PTransform):
    """Writes the sample; other outputs of the evaluation it leaves alone."""

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, evaluation: dict[str, beam.PCollection]) -> Any:
        return evaluation[_KEY] | "Write" >> beam.Map(_write, folder=self._folder)


def _write(items: list[Item], folder: str) -> None:
    listed = [{"example": example, "scores": scores} for _, example, scores in items]
    write_text(folder, SAMPLE_FILE, json.dumps(listed))
