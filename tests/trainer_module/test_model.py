"""The default network and own ones."""

import numpy as np
import pytest

from trainer_module import model
from trainer_module.features import Feature
from trainer_module.keras3 import keras
from trainer_module.settings import ModelSettings

FEATURES = (
    Feature("numeric_a"),
    Feature("dense_b", width=3),
    Feature("bucket_c", cardinality=4),
    Feature("categorical_d", cardinality=model.ONE_HOT_UP_TO + 1),
)
INPUTS = {
    "numeric_a": np.ones((2, 1), np.float32),
    "dense_b": np.ones((2, 3), np.float32),
    "bucket_c": np.array([[0], [3]], np.int32),
    "categorical_d": np.array([[0], [model.ONE_HOT_UP_TO]], np.int32),
}


def one_logit(features, settings, outputs):
    """An own network without representations."""
    inputs = {f.name: keras.Input((f.width,), name=f.name) for f in features}
    return keras.Model(inputs, keras.layers.Dense(outputs)(inputs["numeric_a"]))


def nothing(features, settings, outputs):
    """Not a network."""
    return None


@pytest.fixture
def own(monkeypatch):
    """Makes this file importable by a name, as a user's module is."""
    import sys
    import types

    module = types.ModuleType("own_model")
    module.one_logit, module.nothing, module.number = one_logit, nothing, 3
    monkeypatch.setitem(sys.modules, "own_model", module)


def test_shapes_of_logits_and_representations():
    network = model.make_model(FEATURES, ModelSettings(hidden=(7, 5)), outputs=3)
    logits, representations = model.call_model(network, INPUTS, training=False)
    assert logits.shape == (2, 3)
    assert representations.shape == (2, 5)


def test_few_ids_are_one_hot_and_many_are_embedded():
    network = model.make_model(FEATURES, ModelSettings(hidden=(5,), embedding_dim=6))
    first = next(
        layer for layer in network.layers if isinstance(layer, keras.layers.Dense)
    )
    assert first.kernel.shape == (1 + 3 + 4 + 6, 5)
    embeddings = [
        layer for layer in network.layers if layer.name.startswith("embedding")
    ]
    assert [layer.embeddings.shape for layer in embeddings] == [(33, 6)]


def test_without_hidden_layers_it_is_a_linear_model_of_one_hot_rows():
    network = model.make_model(FEATURES[:3], ModelSettings(hidden=()))
    kernel = network.get_layer("logits").kernel.numpy()
    inputs = {name: INPUTS[name] for name in ("numeric_a", "dense_b", "bucket_c")}
    logits, _ = model.call_model(network, inputs, training=False)
    rows = np.array([[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 1]])
    np.testing.assert_allclose(logits, rows @ kernel, rtol=1e-5)


def test_l2_is_the_factor_of_the_squared_weights_without_biases():
    network = model.make_model(FEATURES, ModelSettings(hidden=(5,), l2=0.1))
    squares = sum(
        np.square(weight).sum() for weight in network.get_weights() if weight.ndim > 1
    )
    np.testing.assert_allclose(sum(network.losses), 0.1 * squares, rtol=1e-5)
    assert not model.make_model(FEATURES, ModelSettings(hidden=(5,))).losses


def test_dropout_acts_in_training_alone():
    network = model.make_model(FEATURES, ModelSettings(hidden=(50,), dropout=0.5))
    training = [model.call_model(network, INPUTS, True)[0].numpy() for _ in range(2)]
    serving = [model.call_model(network, INPUTS, False)[0].numpy() for _ in range(2)]
    assert (training[0] != training[1]).any()
    assert (serving[0] == serving[1]).all()


def test_an_own_network_is_found_by_its_path(own):
    network = model.make_model(FEATURES, ModelSettings(build="own_model.one_logit"), 2)
    logits, representations = model.call_model(network, INPUTS, training=False)
    assert logits.shape == (2, 2)
    assert representations is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_model.absent", "'own_model.absent' can't be imported"),
        ("no_such_module.build", "can't be imported.*no_such_module"),
        ("build", "can't be imported"),
        ("own_model.number", "is not a function"),
        ("own_model.nothing", "returned NoneType; expected a Keras 3 model"),
    ],
)
def test_paths_that_lead_nowhere_are_named(own, path, message):
    with pytest.raises(ValueError, match=message):
        model.make_model(FEATURES, ModelSettings(build=path))
