"""Settles which Keras this package uses, before anything else of it is imported.

Two packages fight over it: importing `tensorflow_transform` sets
`TF_USE_LEGACY_KERAS`, so that `tf.keras` becomes Keras 2 (TFT's own layer needs that),
while the models of this package are Keras 3, imported as `keras`. Both live side by
side as long as nobody here writes `tf.keras`. Every module that needs Keras takes it
from here, and TFT too:

    from trainer_module.keras3 import keras, tft
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402  (the environment must be set first)

if int(keras.__version__.split(".", 1)[0]) < 3:
    raise ImportError(
        f"Keras {keras.__version__} is installed, but trainer_module needs Keras 3: "
        "install keras>=3.8."
    )
if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"Keras was imported before trainer_module with the backend "
        f"{keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
    )

import tensorflow_transform as tft  # noqa: E402

__all__ = ["keras", "tft"]
