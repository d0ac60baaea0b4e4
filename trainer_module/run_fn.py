"""`run_fn`, the Trainer's entry point: config -> data -> model -> train -> export."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from trainer_module.data import load_split, read_examples
from trainer_module.export import WARMUP_EXAMPLES, export_model
from trainer_module.keras3 import keras
from trainer_module.loop import fit
from trainer_module.model import make_model
from trainer_module.settings import TrainSettings
from trainer_module.transform_graph import TransformGraph

_LOG = logging.getLogger(__name__)


def run_fn(fn_args: Any) -> None:
    """Trains a model and exports it; called by TFX's Trainer.

    Args:
      fn_args: read are `custom_config` (see settings.py), `train_files` and
        `eval_files` (lists of file patterns), `transform_graph_path`,
        `serving_model_dir` (gets the SavedModel) and `model_run_dir` (gets
        TensorBoard's files and `history.json`).

    Raises:
      ValueError: the config or the data can't be trained with.
      RuntimeError: the loss stopped being finite.
    """
    started = time.monotonic()
    settings = TrainSettings.from_config(fn_args.custom_config or {})
    use_devices()
    keras.utils.set_random_seed(settings.seed)
    graph = TransformGraph.open(fn_args.transform_graph_path, fn_args.custom_config)
    splits = [
        load_split(patterns, graph, settings.columns)
        for patterns in (fn_args.train_files, fn_args.eval_files)
        if patterns
    ]
    _LOG.info("Data loaded after %.1f s", time.monotonic() - started)
    model = make_model(graph.features, settings.model, settings.outputs)
    fit(model, splits, settings, fn_args.model_run_dir)
    _LOG.info("Trained after %.1f s", time.monotonic() - started)
    export_model(
        model,
        graph,
        settings.task,
        _some_examples(fn_args.train_files),
        fn_args.serving_model_dir,
    )
    _LOG.info("Exported after %.1f s", time.monotonic() - started)


def use_devices() -> str:
    """Uses the GPU where one is visible, with memory growth, and logs the device.

    Returns:
      "GPU" or "CPU".
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow has already started with it
            _LOG.info("Memory growth of %s can no longer be set", gpu.name)
    device = "GPU" if gpus else "CPU"
    _LOG.info("Training on %s", ", ".join(gpu.name for gpu in gpus) or device)
    return device


def _some_examples(patterns: Sequence[str]) -> Iterator[bytes]:
    return read_examples(patterns).take(WARMUP_EXAMPLES).as_numpy_iterator()
