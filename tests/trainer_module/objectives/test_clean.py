"""An attack that starts from the step's own forward pass is the same attack."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.objectives.steps import (
    SIZE,
    WIDTH,
    Linear,
    built,
    draw,
    make_step,
)
from trainer_module import objectives
from trainer_module.keras3 import keras

ATTACKS = [
    {"kind": "fgsm"},
    {"kind": "fgsm", "norm": "l2", "step_size": 1.0},
    {"kind": "pgd", "steps": 3},
    {"kind": "pgd", "steps": 12},
    {"kind": "fgsm", "discrepancy": "wasserstein"},
]


def network(*layers):
    """A small network of `dense_x`, with these layers inside."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((WIDTH,), name="dense_x")
    hidden = keras.layers.Dense(7, activation="tanh")(inputs)
    for layer in layers:
        hidden = layer(hidden)
    model = keras.Model({"dense_x": inputs}, (keras.layers.Dense(1)(hidden), hidden))
    return lambda features, training: model(features, training=training)


def both(step):
    """The step without and with a way back through its forward pass."""
    _, _, pullback = objectives.clean_pass(step.forward, step.features, keep=True)
    return step, dataclasses.replace(step, pullback=pullback)


@pytest.mark.parametrize("options", ATTACKS, ids=str)
def test_the_value_and_its_gradient_are_those_of_an_attack_from_afresh(options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(7, "tanh"), keras.layers.Dense(1)])
    model.build((None, WIDTH))

    def forward(features, training):
        return model(features["dense_x"], training=training), None

    results = []
    for step in both(make_step(forward, draw())):
        with tf.GradientTape() as tape:
            value = built("adversarial", epsilon=0.4, **options)(step)
        slopes = tape.gradient(value, model.trainable_variables)
        results.append([value.numpy(), *(slope.numpy() for slope in slopes)])
    for afresh, reused in zip(*results, strict=True):
        np.testing.assert_allclose(reused, afresh, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({"kind": "fgsm"}, 1),
        ({"kind": "pgd", "steps": 3}, 1),
        ({"kind": "pgd", "steps": 3, "random_start": True}, 0),
        ({"kind": "fgsm", "discrepancy": "kl"}, 0),  # which starts beside
        ({"kind": "gaussian"}, 0),
    ],
)
def test_a_forward_pass_is_saved_where_the_attack_starts_clean(options, saved):
    calls = []
    for step in both(make_step(Linear(), draw())):
        step.forward.calls[False] = 0
        built("adversarial", **options)(step)
        calls.append(step.forward.calls[False])
    assert calls[0] - calls[1] == saved


def test_there_is_no_way_back_unless_it_is_asked_for():
    step = make_step(Linear(), draw())
    *_, pullback = objectives.clean_pass(step.forward, step.features, keep=False)
    assert pullback is None
    assert not built("group_dro").starts_from_clean_pass
    assert built("adversarial").starts_from_clean_pass


def test_what_has_no_part_in_the_logits_stays():
    plain = make_step(Linear(), draw())
    features = plain.features | {"numeric_idle": tf.ones([SIZE, 1])}
    seen = []

    def forward(inputs, training):
        seen.append(inputs["numeric_idle"].numpy())
        return plain.forward(inputs, training)

    _, _, pullback = objectives.clean_pass(forward, features, keep=True)
    built("adversarial")(
        dataclasses.replace(
            plain, features=features, forward=forward, pullback=pullback
        )
    )
    np.testing.assert_array_equal(seen[-1], 1.0)


def test_a_loss_of_nothing_that_moves_is_refused():
    plain = make_step(Linear(), draw())
    step = dataclasses.replace(plain, pullback=lambda _: {"dense_x": None})
    with pytest.raises(ValueError, match="does not depend on .* dense_x"):
        built("adversarial")(step)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], True),
        ([keras.layers.LayerNormalization()], True),
        ([keras.layers.Dropout(0.5)], False),
        ([keras.layers.GaussianNoise(0.1)], False),
        ([keras.layers.BatchNormalization()], False),
    ],
    ids=["dense", "layer_norm", "dropout", "noise", "batch_norm"],
)
def test_modes_agree_unless_a_layer_knows_training(layers, expected):
    features = {"dense_x": tf.zeros([1, WIDTH])}
    assert objectives.modes_agree(network(*layers), features) is expected
