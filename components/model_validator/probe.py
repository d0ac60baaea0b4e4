"""Loads a SavedModel and asks it; run as a file, in a process with TensorFlow alone.

`python -I probe.py REQUEST.json ANSWER.json`. It imports nothing of this project, so
what a model needs of it is missing here as it is on a server. It judges nothing: see
`judge.py`.

The request: `model` (path of the SavedModel), `examples` (base64 of serialized
tf.Examples), `requests` (how many to time), `batch` (examples of a large request).
"""

import base64
import json
import os
import resource
import sys
import time
import traceback
from typing import Any

import numpy as np
import tensorflow as tf

ALONE = 16  # examples that are also asked one by one
COLUMNS_FILE = os.path.join("assets.extra", "raw_columns.json")
WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_LARGE_REQUESTS = 10


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """All that is asked of the model.

    Args:
      request: as above.

    Returns:
      `signatures` (names); `load_seconds`; `scores`, `alone`, `raw`, `transformed`
      (output -> [N, K] lists; of all examples in one request, of the first `ALONE` one
      by one, and of all by the other signatures; None where there is none of these);
      `warmup` (requests that the model carries) and `warmup_not_finite`; `latency_ms`
      (number of examples in a request -> median and 99th percentile); `peak_mb`, the
      most memory that the process has had.
    """
    started = time.perf_counter()
    model = tf.saved_model.load(request["model"])
    answer: dict[str, Any] = {
        "signatures": sorted(model.signatures),
        "load_seconds": time.perf_counter() - started,
        "tensorflow": tf.__version__,
    }
    if "serving_default" in model.signatures:
        examples = [base64.b64decode(text) for text in request["examples"]]
        answer |= _warmup(model, request["model"])
        answer |= _asked(model, request["model"], examples)
        answer["latency_ms"] = _latency(model, examples, request)
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer["peak_mb"] = peak / unit
    return answer


def _asked(model: Any, path: str, examples: list[bytes]) -> dict[str, Any]:
    serve, names = model.signatures["serving_default"], model.signatures
    answer: dict[str, Any] = {"scores": _scores(serve, examples)}
    alone = [_scores(serve, [example]) for example in examples[:ALONE]]
    answer["alone"] = {
        name: [row for one in alone for row in one[name]] for name in answer["scores"]
    }
    columns = os.path.join(path, COLUMNS_FILE)
    answer["raw"] = answer["transformed"] = None
    if "raw" in names and tf.io.gfile.exists(columns):
        with tf.io.gfile.GFile(columns) as file:
            tensors = _raw(names["raw"], json.load(file), examples)
        answer["raw"] = _lists(names["raw"](**tensors))
    if "transformed" in names and "transform_features" in names:
        features = names["transform_features"](examples=tf.constant(examples))
        answer["transformed"] = _lists(names["transformed"](**features))
    return answer


def _scores(serve: Any, examples: list[bytes]) -> dict[str, Any]:
    return _lists(serve(examples=tf.constant(examples)))


def _lists(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value.numpy().tolist() for name, value in outputs.items()}


def _raw(
    signature: Any, columns: dict[str, str], examples: list[bytes]
) -> dict[str, Any]:
    """The raw tensors of serialized examples; what is missing as `raw` wants it."""
    parsed = [tf.train.Example.FromString(text).features.feature for text in examples]
    tensors = {}
    for name, spec in signature.structured_input_signature[1].items():
        size = spec.shape[1] or 1
        if spec.dtype == tf.string:
            missing: Any = b""
        else:
            missing = np.nan if spec.dtype.is_floating else spec.dtype.min
        rows = []
        for features in parsed:
            found = features.get(columns[name], None)
            kind = found.WhichOneof("kind") if found is not None else None
            values = list(getattr(found, kind).value) if kind else []
            rows.append((values + [missing] * size)[:size])
        tensors[name] = tf.constant(rows, spec.dtype)
    return tensors


def _warmup(model: Any, path: str) -> dict[str, Any]:
    """Replays what TF Serving would."""
    from tensorflow_serving.apis import prediction_log_pb2

    found, bad = 0, 0
    file = os.path.join(path, WARMUP_FILE)
    if tf.io.gfile.exists(file):
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            signature = model.signatures[request.model_spec.signature_name]
            inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            outputs = signature(**{k: tf.constant(v) for k, v in inputs.items()})
            found += 1
            bad += not all(np.isfinite(v).all() for v in outputs.values())
    return {"warmup": found, "warmup_not_finite": bad}


def _latency(
    model: Any, examples: list[bytes], request: dict[str, Any]
) -> dict[str, list[float]]:
    serve = model.signatures["serving_default"]
    measured = {}
    for size, times in ((1, request["requests"]), (request["batch"], _LARGE_REQUESTS)):
        asked = [
            tf.constant([examples[(i + j) % len(examples)] for j in range(size)])
            for i in range(times)
        ]
        serve(examples=asked[0])
        seconds = []
        for one in asked:
            started = time.perf_counter()
            for output in serve(examples=one).values():
                output.numpy()
            seconds.append(time.perf_counter() - started)
        measured[str(size)] = (1e3 * np.percentile(seconds, [50, 99])).tolist()
    return measured


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as asked_file:
        try:
            result = probe(json.load(asked_file))
        except Exception as error:
            traceback.print_exc()
            said = " ".join(str(error).split())
            sys.exit(f"{type(error).__name__}: {said}")  # the last line is what is told
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(result, answer_file)
