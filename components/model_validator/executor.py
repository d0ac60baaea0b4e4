"""Executor of ModelValidator: a probe in a process of its own, judged."""

import base64
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.artifact_files import write_text
from components.errors import DataError, tells_reason
from components.evaluator.sample import load_sample
from components.model_validator import judge
from components.model_validator.bounds import Bounds

MODEL_KEY = "model"
EVALUATION_KEY = "evaluation"
BOUNDS_KEY = "bounds"
BLESSING_KEY = "blessing"
RECORD_FILE = "load_check.json"
REQUESTS = 100
BATCH = 64
PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")
# What TFX's Pusher and its other validators look for.
_BLESSED = {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}
_MEASURED = (
    "signatures",
    "load_seconds",
    "latency_ms",
    "peak_mb",
    "warmup",
    "tensorflow",
)
_START_SECONDS = 300  # for TensorFlow's import, and all requests
# What a process needs to start, and to read a model from an object store.
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_KEPT_PREFIXES = ("AWS_", "GOOGLE_", "CLOUDSDK_", "GCE_", "STORAGE_")


class Executor(base_executor.BaseExecutor):
    """Loads the model where nothing of this project is, and compares its scores."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for inputs, outputs and properties.

        Raises:
          DataError: the evaluation holds no example to ask for.
        """
        bounds = Bounds(**json.loads(exec_properties[BOUNDS_KEY]))
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        path = path_utils.serving_model_path(
            model.uri, path_utils.is_old_model_artifact(model)
        )
        evaluation = artifact_utils.get_single_uri(input_dict[EVALUATION_KEY])
        sample = load_sample(evaluation)
        if not sample:
            raise DataError(
                f"the evaluation in {evaluation} holds no example with its scores, so"
                " the model's cannot be compared; make it with our Evaluator"
            )
        answer, problems = ask(path, sample, bounds)
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        record = _record(answer, problems, len(sample), bounds)
        write_text(blessing.uri, RECORD_FILE, json.dumps(record, indent=1))
        stale = os.path.join(blessing.uri, _BLESSED[bool(problems)])
        if fileio.exists(stale):
            fileio.remove(stale)
        write_text(blessing.uri, _BLESSED[not problems], "")
        blessing.set_int_custom_property("blessed", int(not problems))
        logging.info("Load check of %s: %s", path, problems or "fit to be served")


def _record(
    answer: dict[str, Any], problems: list[str], examples: int, bounds: Bounds
) -> dict[str, Any]:
    """What is kept of a load check."""
    ways = ("scores", "alone", "raw", "transformed")
    return {
        "blessed": not problems,
        "problems": problems,
        "examples": examples,
        "compared": [way for way in ways if answer.get(way) is not None],
        "bounds": dataclasses.asdict(bounds),
        **{key: answer.get(key) for key in _MEASURED},
    }


def ask(
    path: str, sample: list[tuple[bytes, dict[str, list[float]]]], bounds: Bounds
) -> tuple[dict[str, Any], list[str]]:
    """Runs the probe and judges its answer.

    Args:
      path: of the SavedModel.
      sample: of `load_sample`.
      bounds: to keep.

    Returns:
      The answer, empty where there is none, and what is wrong with the model.
    """
    request = {
        "model": path,
        "examples": [base64.b64encode(example).decode() for example, _ in sample],
        "requests": REQUESTS,
        "batch": BATCH,
    }
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = (os.path.join(folder, n) for n in ("request", "answer"))
        with open(asked, "w", encoding="utf-8") as file:
            json.dump(request, file)
        patience = _START_SECONDS + bounds.load_seconds
        try:
            done = subprocess.run(
                [sys.executable, "-I", PROBE, asked, answered],
                env=_environment(),
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {}, [f"has not answered a clean process in {patience:.0f} s"]
        logging.info("%s", done.stderr[-4_000:])
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            last = lines[-1].strip()[:400] if lines else "it said nothing"
            ended = f"exit {done.returncode}"
            if done.returncode < 0:
                ended = f"signal {-done.returncode}"
            return {}, [f"cannot be served by a clean process ({ended}): {last}"]
        with open(answered, encoding="utf-8") as file:
            answer = json.load(file)
    evaluated = {
        name: [scores.get(name, []) for _, scores in sample] for name in sample[0][1]
    }
    return answer, judge.problems(answer, evaluated, bounds)


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }
    # On the processor, as a server may have no GPU, and the Trainer's may be full.
    return {**kept, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
