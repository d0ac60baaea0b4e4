"""The protocol of Colored MNIST: who sees what, and how often it is wrong."""

import numpy as np
import pytest

from benchmarks import colored_mnist
from trainer_module.methods import check_methods


@pytest.fixture(scope="module")
def environments():
    random = np.random.default_rng(0)
    pictures = np.zeros((60_000, 28, 28), np.uint8)
    pictures[:, ::2, ::2] = random.integers(1, 256, size=(60_000, 1, 1))
    digits = random.integers(0, 10, size=60_000)
    return colored_mnist.make_environments((pictures, digits), seed=1)


@pytest.mark.parametrize(
    ("name", "rows", "noise"),
    [("train_20", 25_000, 0.2), ("train_10", 25_000, 0.1), ("test", 10_000, 0.9)],
)
def test_the_colour_is_wrong_as_often_as_the_paper_says(
    environments, name, rows, noise
):
    pixels, labels = environments[name]
    assert pixels.shape == (rows, 392)
    assert 0 < pixels.min() + pixels.max() <= 1
    colours = pixels.reshape(rows, 2, 196).sum(axis=2) > 0
    assert (colours.sum(axis=1) == 1).all()  # every picture has one colour
    wrong = np.mean(colours[:, 1] != (labels > 0))
    assert wrong == pytest.approx(noise, abs=0.015)


def test_every_setting_names_methods_with_legal_options():
    for setting in colored_mnist.SETTINGS.values():
        check_methods([{"name": n, "options": o} for n, o in setting.methods.items()])
