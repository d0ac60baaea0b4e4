"""Keras 3 for models and Keras 2 for TFT, whatever was imported first."""

import os
import subprocess
import sys

import pytest

CHECK = """
from trainer_module.keras3 import keras, tft
import tensorflow as tf
assert keras.__version__.startswith("3"), keras.__version__
assert keras.backend.backend() == "tensorflow", keras.backend.backend()
assert tf.keras.Model.__module__.startswith("tf_keras"), tf.keras.Model.__module__
assert tft.TFTransformOutput
"""

FAKE_KERAS = """
import os
class backend:
    backend = staticmethod(lambda: os.environ.get("KERAS_BACKEND"))
__version__ = {version!r}
"""


def run(code, folder=".", **variables):
    """Runs code in a process whose modules may come from a folder first."""
    path = os.pathsep.join([str(folder), *sys.path])
    environment = os.environ | {"PYTHONPATH": path} | variables
    environment.pop("TF_USE_LEGACY_KERAS", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def fake(tmp_path):
    """Makes a folder with modules that only pretend, for they load at once."""

    def make(version):
        (tmp_path / "keras.py").write_text(FAKE_KERAS.format(version=version))
        (tmp_path / "tensorflow_transform.py").write_text("")
        return tmp_path

    return make


def test_it_is_settled_after_tensorflow_too():
    result = run("import tensorflow" + CHECK)
    assert result.returncode == 0, result.stderr[-2000:]


def test_the_backend_is_settled_against_the_environment(fake):
    code = "from trainer_module.keras3 import keras; print(keras.backend.backend())"
    result = run(code, fake("3.8.0"), KERAS_BACKEND="jax")
    assert result.stdout.strip() == "tensorflow", result.stderr


def test_an_earlier_choice_of_another_backend_is_named(fake):
    folder = fake("3.8.0")
    with open(folder / "keras.py", "a", encoding="utf-8") as file:
        file.write("backend.backend = staticmethod(lambda: 'jax')")
    result = run("import keras, trainer_module.keras3", folder)
    assert "with the backend 'jax'; set KERAS_BACKEND=tensorflow" in result.stderr


def test_an_older_keras_is_named(fake):
    result = run("import trainer_module.keras3", fake("2.15.0"))
    assert (
        "Keras 2.15.0 is installed, but trainer_module needs Keras 3" in result.stderr
    )
