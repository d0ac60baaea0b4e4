"""Checkpoints of a training run, so that one that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

KEPT = 2

_LOG = logging.getLogger(__name__)


class Notes(tf.train.experimental.PythonState):
    """Plain values inside a checkpoint: how far training was, and its history."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.values: dict[str, Any] = {}

    def serialize(self) -> str:
        """As JSON; floats come back to the bit."""
        return json.dumps(self.values)

    def deserialize(self, text: str | bytes) -> None:
        """Undoes `serialize`."""
        self.values = json.loads(text)


class Checkpoints:
    """The last checkpoints of a run, in a folder.

    A checkpoint appears as a whole or not at all: a process that is killed while it
    writes leaves the one before.
    """

    def __init__(self, folder: str, chief: bool = True, **state: Any) -> None:
        """Looks at a folder, which need not be there.

        Args:
          folder: of this run alone, local or remote. All workers share it.
          chief: whether this worker's checkpoints are kept. All must write, and the
            others do so in folders of their own.
          state: what to save, by name: models, optimizers, variables.
        """
        self.folder = folder
        self._notes = Notes()
        self._checkpoint = tf.train.Checkpoint(notes=self._notes, **state)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, folder, KEPT, checkpoint_name="step"
        )
        self._chief = chief

    def restore(self) -> dict[str, Any] | None:
        """Puts the state back to the last checkpoint.

        Returns:
          The notes saved with it, or None where there is none.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return None
        self._checkpoint.restore(latest).assert_existing_objects_matched()
        _LOG.info("Going on from the checkpoint %s", latest)
        return self._notes.values

    def save(self, step: int, notes: Mapping[str, Any]) -> None:
        """Writes a checkpoint.

        Args:
          step: steps done.
          notes: plain values to save with it.
        """
        self._notes.values = dict(notes)
        if self._chief:
            self._manager.save(checkpoint_number=step)
            return
        path = os.path.join(self.folder, f"worker-{os.getpid()}", "step")
        written = self._checkpoint.write(path)
        tf.io.gfile.rmtree(os.path.dirname(written))


def remove(folder: str) -> None:
    """Removes a run's checkpoints, once nothing is left to go on with."""
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)


def folder_of(root: str, *parts: Any) -> str:
    """The folder for checkpoints of a run that hangs on these plain values alone.

    Args:
      root: of all runs' checkpoints.
      parts: config, code, inputs: whatever else would make other weights.
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return os.path.join(root, digest)
