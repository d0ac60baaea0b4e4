"""The served model, asked as a server asks it: `serving_default`, serialized examples.

TensorFlow is imported when a model is loaded.
"""

import json
import os
from typing import Any

import numpy as np
import pyarrow as pa

from components import filesystem
from components.errors import DataError
from components.evaluator.settings import PREDICTIONS, SIGNATURE
from components.invariance_validator.metrics import MULTICLASS

COLUMNS_FILE = os.path.join("assets.extra", "raw_columns.json")
_BATCH = 4096


class ServedModel:
    """A version's SavedModel.

    Attributes:
      columns: column that the model takes -> its kind: int, float or bytes; {} where
        the model does not tell.
    """

    def __init__(self, path: str, task: str):
        """Loads it.

        Args:
          path: of the version.
          task: binary, multiclass or regression.

        Raises:
          DataError: it cannot be loaded, or has not the signature.
        """
        import tensorflow as tf

        self._path, self._task, self._tf = path, task, tf
        try:
            self._model = tf.saved_model.load(path)
        except (OSError, ValueError, tf.errors.OpError) as error:
            said = " ".join(str(error).split())[:200]
            raise DataError(
                f"the served model in {path} cannot be loaded ({said}); roll it back,"
                " or release it again"
            ) from error
        if SIGNATURE not in self._model.signatures:
            raise DataError(
                f"the served model in {path} has no signature {SIGNATURE!r}; release"
                " one that tfx-irm trained"
            )
        self._serve = self._model.signatures[SIGNATURE]
        self.columns = self._columns()

    def _columns(self) -> dict[str, str]:
        path = os.path.join(self._path, COLUMNS_FILE)
        if "raw" not in self._model.signatures or not filesystem.exists(path):
            return {}
        with filesystem.open_file(path) as file:
            names = json.loads(file.read())
        takes = self._model.signatures["raw"].structured_input_signature[1]
        return {
            column: self._kind(takes[argument].dtype)
            for argument, column in names.items()
            if argument in takes
        }

    def _kind(self, dtype: Any) -> str:
        if dtype == self._tf.string:
            return "bytes"
        return "float" if dtype.is_floating else "int"

    def __call__(self, examples: pa.BinaryArray) -> np.ndarray:
        """Predictions, [N] or of several classes [N, K].

        Raises:
          DataError: the model does not take the examples, or gives something else.
        """
        parts = []
        key = PREDICTIONS[self._task]
        for start in range(0, len(examples), _BATCH):
            batch = examples.slice(start, _BATCH).to_pylist()
            try:
                outputs = self._serve(examples=self._tf.constant(batch))
            except self._tf.errors.InvalidArgumentError as error:
                said = " ".join(str(error).split())[:300]
                raise DataError(
                    f"the served model does not take these examples ({said}); bring"
                    " the columns into the form of the training data"
                ) from error
            if key not in outputs:
                raise DataError(
                    f"the served model in {self._path} has no output {key!r}, only"
                    f" {', '.join(sorted(outputs))}; is `task` that of its training?"
                )
            parts.append(outputs[key].numpy().reshape(len(batch), -1))
        found = np.concatenate(parts) if parts else np.zeros((0, 1))
        if self._task == MULTICLASS:
            return found
        if found.shape[1] != 1:
            raise DataError(
                f"the served model in {self._path} gives {found.shape[1]} numbers for"
                f" an example, and task is {self._task}; is that of its training?"
            )
        return found.reshape(-1)
