"""`run_fn`, the Trainer's entry point: config -> data -> model -> train -> export."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from trainer_module import devices
from trainer_module.checkpoints import folder_of, remove
from trainer_module.data import load_splits, read_examples
from trainer_module.export import WARMUP_EXAMPLES, export_model
from trainer_module.fit import fit
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
      SetupError: the devices can't do what is asked for.
      RuntimeError: the loss stopped being finite.
    """
    started = time.monotonic()
    config = fn_args.custom_config or {}
    settings = TrainSettings.from_config(config)
    device = devices.use_devices(settings.engine.accelerators)
    devices.seed_everything(settings.seed, settings.engine.deterministic)
    strategy = devices.make_strategy()
    graph = TransformGraph.open(fn_args.transform_graph_path, config)
    files = [f for f in (fn_args.train_files, fn_args.eval_files) if f]
    splits = load_splits(files, graph, settings)
    _LOG.info("Data loaded after %.1f s", time.monotonic() - started)
    with strategy.scope():
        model = make_model(
            graph.features, settings.model, settings.outputs, settings.engine.precision
        )
    checkpoints = None
    if root := config.get("checkpoints"):
        inputs = [fn_args.train_files, fn_args.eval_files, fn_args.transform_graph_path]
        replicas = strategy.num_replicas_in_sync
        checkpoints = folder_of(root, inputs, config, device, replicas)
    fit(model, splits, settings, fn_args.model_run_dir, checkpoints, strategy)
    _LOG.info("Trained after %.1f s", time.monotonic() - started)
    examples = _some_examples(fn_args.train_files)
    chief = devices.is_chief(strategy)
    folder = fn_args.serving_model_dir if chief else tempfile.mkdtemp()
    scale = splits[0].layout.scale
    export_model(model, graph, settings.task, examples, folder, scale)
    devices.wait_for_all(strategy)  # Trainer looks for the model in every worker
    _LOG.info("Exported after %.1f s", time.monotonic() - started)
    if chief and checkpoints is not None:
        remove(checkpoints)


def _some_examples(patterns: Sequence[str]) -> Iterator[bytes]:
    return read_examples(patterns).take(WARMUP_EXAMPLES).as_numpy_iterator()
