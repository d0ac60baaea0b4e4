"""Exports the plain model: its signatures over one network, and warm-up requests.

| signature            | takes                                  | for            |
|----------------------|----------------------------------------|----------------|
| `serving_default`    | `examples`: [N] serialized tf.Examples | TF Serving,    |
|                      |                                        | TFMA           |
| `raw`                | a [N, 1] tensor for each raw column    | plain callers  |
| `transformed`        | a [N, width] tensor for each feature   | gradients,     |
|                      |                                        | robustness     |
| `transform_features` | `examples`: [N] serialized tf.Examples | what           |
|                      |                                        | `transformed`  |
|                      |                                        | takes          |

The first three give the same scores. Binary: `logits` [N, 1] and `probabilities`
[N, 1]; multiclass: `logits` and `probabilities` [N, K]; regression: `predictions`
[N, 1], in the label's own unit. The fourth gives features by name. Which of them an
attack may move is in `assets.extra/perturbable.json`: feature -> {"missing": its
indicator or null}.

In `raw` a missing value is NaN, the empty string or the smallest int64, by dtype. Names
of columns are those of features.py's `argument_name`; `assets.extra/raw_columns.json`
says which column each stands for. Penalties, label, weight and environment are not part
of what is exported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from trainer_module.features import Feature, argument_name
from trainer_module.keras3 import keras
from trainer_module.labels import LabelScale
from trainer_module.model import call_model
from trainer_module.perturbations import INDICATOR, MOVABLE
from trainer_module.preprocessing import is_missing
from trainer_module.transform_graph import ParseSpec, TransformGraph

WARMUP_EXAMPLES = 8
WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
COLUMNS_FILE = os.path.join("assets.extra", "raw_columns.json")
PERTURBABLE_FILE = os.path.join("assets.extra", "perturbable.json")


class ServedModel(tf.Module):
    """The network behind the transform graph; tracks both, so that both are saved."""

    def __init__(
        self,
        model: keras.Model,
        graph: TransformGraph,
        task: str,
        scale: LabelScale | None = None,
    ) -> None:
        """Joins a trained network and the graph that its features came from.

        Args:
          model: takes features by name.
          graph: the transform graph.
          task: "binary", "multiclass" or "regression".
          scale: what a regression's labels were standardised by, or None.
        """
        super().__init__()
        self.model = model
        self.trackables = graph.trackables()
        self._graph = graph
        self._task = task
        self._scale = scale or LabelScale()

    def score_transformed(
        self, features: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Scores of transformed features."""
        inputs = {
            feature.name: features[feature.name]
            if feature.cardinality is None
            else tf.cast(features[feature.name], tf.int32)
            for feature in self._graph.features
        }
        logits = tf.cast(call_model(self.model, inputs, False)[0], tf.float32)
        if self._task == "regression":
            return {"predictions": self._scale.undo(logits)}
        squash = tf.sigmoid if self._task == "binary" else tf.nn.softmax
        return {"logits": logits, "probabilities": squash(logits)}

    def score_raw(self, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scores of dense raw columns, by argument name."""
        return self._score_parsed(
            {
                name: _as_parsed(columns[argument_name(name)], spec)
                for name, spec in self._graph.feature_spec.items()
            }
        )

    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores of serialized tf.Examples, [N] string."""
        return self._score_parsed(
            tf.io.parse_example(examples, self._graph.feature_spec)
        )

    def transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Transformed features of serialized tf.Examples, [N] string."""
        parsed = tf.io.parse_example(examples, self._graph.feature_spec)
        features = self._graph.apply(parsed)
        return {
            feature.name: tf.ensure_shape(features[feature.name], [None, feature.width])
            for feature in self._graph.features
        }

    def signatures(self) -> dict[str, Any]:
        """The four signatures, traced for any number of rows."""
        examples = tf.TensorSpec([None], tf.string, name="examples")
        raw = {}
        for column, spec in self._graph.feature_spec.items():
            size = tf.TensorShape(getattr(spec, "shape", ())).num_elements() or 1
            name = argument_name(column)
            raw[name] = tf.TensorSpec([None, size], spec.dtype, name=name)
        transformed = {
            feature.name: tf.TensorSpec(
                [None, feature.width], feature.dtype, name=feature.name
            )
            for feature in self._graph.features
        }

        # AutoGraph would spend seconds on rewriting TFT's Python.
        def trace(function: Callable, spec: Any) -> Any:
            return tf.function(function, autograph=False).get_concrete_function(spec)

        return {
            "serving_default": trace(self.score_examples, examples),
            "raw": trace(self.score_raw, raw),
            "transformed": trace(self.score_transformed, transformed),
            "transform_features": trace(self.transform, examples),
        }

    def _score_parsed(self, parsed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.score_transformed(self._graph.apply(parsed))


def export_model(
    model: keras.Model,
    graph: TransformGraph,
    task: str,
    examples: Iterable[bytes],
    folder: str,
    scale: LabelScale | None = None,
) -> None:
    """Writes a SavedModel with its warm-up requests and what an attack may move.

    Args:
      model: the trained network.
      graph: the transform graph that made its features.
      task: "binary", "multiclass" or "regression".
      examples: some real serialized tf.Examples, for the warm-up.
      folder: where to write, local or remote.
      scale: what a regression's labels were standardised by, or None.
    """
    served = ServedModel(model, graph, task, scale)
    tf.saved_model.save(served, folder, signatures=served.signatures())
    write_warmup(examples, graph.feature_spec, folder)
    write_perturbable(graph.features, folder)
    columns = {argument_name(column): column for column in graph.feature_spec}
    with tf.io.gfile.GFile(os.path.join(folder, COLUMNS_FILE), "w") as file:
        file.write(json.dumps(columns, indent=1))


def write_perturbable(features: Iterable[Feature], folder: str) -> None:
    """Writes which features an attack may move: those that training's may.

    Args:
      features: the transformed features.
      folder: the SavedModel's.
    """
    known = {feature.name: feature for feature in features}
    found = {}
    for name, feature in known.items():
        if feature.cardinality is None and name.startswith(MOVABLE):
            indicator = INDICATOR + name.partition("_")[2]
            found[name] = {"missing": indicator if indicator in known else None}
    path = os.path.join(folder, PERTURBABLE_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(found, indent=1))


def write_warmup(
    examples: Iterable[bytes], columns: Iterable[str], folder: str
) -> None:
    """Writes the requests that TF Serving replays before it answers the first caller.

    They hold feature columns alone: label and excluded columns of the examples stay
    where they are.

    Args:
      examples: serialized tf.Examples; the first `WARMUP_EXAMPLES` are used, one by one
        and together.
      columns: names of the feature columns.
      folder: the SavedModel's.
    """
    wanted = set(columns)
    kept = []
    for _, serialized in zip(range(WARMUP_EXAMPLES), examples, strict=False):
        example = tf.train.Example.FromString(serialized)
        for name in set(example.features.feature) - wanted:
            del example.features.feature[name]
        kept.append(example.SerializeToString())
    path = os.path.join(folder, WARMUP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for batch in [*([one] for one in kept), kept]:
            writer.write(_request(batch).SerializeToString())


def _request(examples: list[bytes]) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    request.inputs["examples"].CopyFrom(
        tf.make_tensor_proto(examples, dtype=tf.string, shape=[len(examples)])
    )
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log)


def _as_parsed(tensor: tf.Tensor, spec: ParseSpec) -> tf.Tensor | tf.SparseTensor:
    """A dense raw column as `parse_example` would give it: sparse where optional."""
    if isinstance(spec, tf.io.FixedLenFeature):
        shape = tf.TensorShape(spec.shape).as_list()
        return tf.reshape(tensor, [-1, *shape])
    present = tf.logical_not(is_missing(tensor))
    return tf.SparseTensor(
        indices=tf.where(present),
        values=tf.boolean_mask(tensor, present),
        dense_shape=tf.shape(tensor, out_type=tf.int64),
    )
