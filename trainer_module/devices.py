"""Where training runs: one device, all local ones, or those of several machines."""

from __future__ import annotations

import json
import logging
import os

import tensorflow as tf

from trainer_module.errors import SetupError
from trainer_module.keras3 import keras

_LOG = logging.getLogger(__name__)


def use_devices(accelerators: int = 0) -> str:
    """Uses the GPUs where some are visible, with memory growth, and logs what it found.

    Args:
      accelerators: how many GPUs must be there.

    Returns:
      "GPU" or "CPU".

    Raises:
      SetupError: fewer GPUs are visible.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < accelerators:
        raise SetupError(
            f"train.accelerators asks for {accelerators} GPU(s), but TensorFlow "
            f"{tf.__version__} sees {len(gpus)}: look at nvidia-smi, install the CUDA "
            "libraries (make venv GPU=1), or remove the key to train on what is there"
        )
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow has already started with it
            _LOG.info("Memory growth of %s can no longer be set", gpu.name)
    device = "GPU" if gpus else "CPU"
    _LOG.info("Training on %s", ", ".join(gpu.name for gpu in gpus) or device)
    return device


def make_strategy() -> tf.distribute.Strategy:
    """The strategy that takes every device which there is.

    Several workers in `TF_CONFIG`: a replica on each GPU of each worker, or on each
    worker's CPU. Several local devices: one on each. Otherwise the only device.

    Raises:
      SetupError: `TF_CONFIG` is no JSON, or doesn't say which worker this is.
    """
    if workers() > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            return tf.distribute.get_strategy()
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    _LOG.info("Training on %d replicas", strategy.num_replicas_in_sync)
    return strategy


def workers() -> int:
    """How many workers train together, by `TF_CONFIG`; 1 without it."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 1
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster") or {}, config.get("task") or {}
        names = [*cluster.get("chief", []), *cluster.get("worker", [])]
        if len(names) > 1 and (task.get("type") not in cluster or "index" not in task):
            raise ValueError("its task is none of its cluster's")
    except (ValueError, AttributeError, TypeError) as error:
        raise SetupError(
            f"TF_CONFIG is {text[:80]!r}, which can't be read ({error}): expected JSON "
            "with a cluster of workers and the task of this one"
        ) from error
    return len(names)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes what all have in common."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type or workers() == 1:
        return True
    if resolver.task_type == "chief":
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "worker" and not resolver.task_id and not has_chief


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has come as far; at once where there is but one."""
    if workers() > 1:
        strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.constant(1.0)
            )
        )


def seed_everything(seed: int, deterministic: bool) -> None:
    """Makes every random choice hang on the seed.

    Args:
      seed: of Python, NumPy, Keras and TensorFlow.
      deterministic: kernels of a GPU that add in whatever order threads come give way
        to those that repeat themselves, of which some are slower. Those of a CPU do.
    """
    keras.utils.set_random_seed(seed)
    if deterministic and tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
