"""What every objective must hold to: made by name, tracked, compiled, on replicas."""

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.objectives.steps import (
    ENVIRONMENTS,
    Linear,
    built,
    draw,
    make_shapes,
    make_step,
)
from trainer_module import objectives, penalties
from trainer_module.keras3 import keras
from trainer_module.methods import METHODS

OWN = [name for name, info in METHODS.items() if info.kind == "objective"]
VARIANTS = [
    ("adversarial", {}),
    ("adversarial", {"kind": "pgd", "steps": 3, "norm": "l2"}),
    ("adversarial", {"kind": "pgd", "steps": 11, "clip": [-2, 2]}),
    ("adversarial", {"environments": "worst"}),
    ("adversarial", {"discrepancy": "wasserstein"}),
    ("group_dro", {"step_size": 0.5, "adjustment": 1.0}),
    ("dann", {"hidden": [8, 4]}),
    ("cdann", {}),
]
# These draw random numbers, other ones on every replica.
RANDOM = [
    ("adversarial", {"discrepancy": "kl", "random_start": True}),
    ("adversarial", {"kind": "gaussian"}),
]


# Steps of an attack are taken on each replica by itself.
ON_REPLICAS = [v for v in VARIANTS if v[1].get("kind") != "pgd"] + RANDOM


def label(variant):
    name, options = variant
    return "-".join([name, *(f"{key}={value}" for key, value in options.items())])


every = pytest.mark.parametrize(
    "variant", VARIANTS + RANDOM, ids=map(label, VARIANTS + RANDOM)
)


def value_of(variant, arrays, task="binary", **changes):
    name, options = variant
    step = make_step(Linear(3 if task == "multiclass" else 1), arrays, task, **changes)
    return float(built(name, task, **options)(step))


def test_all_methods_are_named():
    assert objectives.names() == sorted(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_made_by_name(name):
    objective = objectives.get(name)
    assert objective.name == name
    assert objective.replaces_risk == METHODS[name].replaces_risk
    assert isinstance(objective, objectives.PenaltyObjective) == (name not in OWN)


@pytest.mark.parametrize("name", OWN)
def test_the_table_has_the_options_and_defaults_of_the_class(name):
    parameters = inspect.signature(type(objectives.get(name)).__init__).parameters
    options = list(parameters.values())[1:]
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in options)
    assert {o.name: o.default for o in options} == METHODS[name].defaults


@pytest.mark.parametrize("name", METHODS)
def test_unknown_and_illegal_options_are_refused_when_it_is_made(name):
    with pytest.raises(ValueError, match=", ".join(sorted(METHODS))):
        objectives.get(name + "_2")
    with pytest.raises(ValueError, match=f"{name!r} has no option 'ordre'.*options ar"):
        objectives.get(name, ordre=3)
    for option in METHODS[name].options:
        with pytest.raises(ValueError, match=f"{option!r} of method.*expected"):
            objectives.get(name, **{option: "nonsense"})


def test_a_class_refuses_what_its_name_does():
    with pytest.raises(ValueError, match="'epsilon' of .* -1; expected a number, at l"):
        objectives.Adversarial(epsilon=-1)
    with pytest.raises(ValueError, match="'step_size' of .* 0; expected a number abov"):
        objectives.GroupDro(step_size=0)
    with pytest.raises(ValueError, match=r"'hidden' of method 'cdann' is \(\); expec"):
        objectives.Cdann(hidden=())


def test_a_penalty_is_an_objective_of_the_batch_alone():
    objective = built("irm_v1", unbiased=True)
    step = make_step(Linear(), draw())
    expected = penalties.irm_v1(step.batch, unbiased=True)
    assert float(objective(step)) == float(expected)
    assert objective.variables == ()


def test_what_the_model_lacks_is_named_before_training():
    bare = make_shapes(representations=None)
    for name in ("dann", "cdann", "ib_erm"):
        with pytest.raises(ValueError, match=f"{name!r} works on representations"):
            objectives.get(name).build(bare)
    objectives.get("ib_erm", on="logits").build(bare)
    objectives.get("group_dro").build(bare)
    objectives.get("adversarial").build(bare)
    for name, options in (("cdann", {}), ("moment_matching", {"conditional": True})):
        with pytest.raises(ValueError, match="not defined for the task 'regression'"):
            objectives.get(name, **options).build(make_shapes("regression"))


@pytest.mark.parametrize("name", ["irm_v1", *OWN])
def test_one_that_was_not_built_says_so(name):
    step = make_step(Linear(), draw())
    with pytest.raises(RuntimeError, match=r"called before it was built: call build\("):
        objectives.get(name)(step)


@every
def test_the_value_is_a_float32_scalar_that_absent_rows_do_not_change(variant):
    arrays = draw()
    expected = value_of(variant, arrays)
    if variant not in RANDOM:  # whose draws hang on the number of rows
        more = {key: np.concatenate([a, a[:2]]) for key, a in arrays.items()}
        more["features"][-2:] = 3.0
        more["environment_ids"][-2:] = -1, 2
        more["sample_weights"][-2:] = 1.0, 0.0
        assert value_of(variant, more) == pytest.approx(expected, rel=1e-5)
    step = make_step(Linear(), arrays)
    value = built(variant[0], **variant[1])(step)
    assert value.dtype == tf.float32
    assert value.shape == ()
    assert np.isfinite(value)
    nothing = arrays | {"sample_weights": np.zeros_like(arrays["sample_weights"])}
    assert value_of(variant, nothing) == 0.0


@pytest.mark.parametrize(
    ("variant", "task"),
    [(variant, "binary") for variant in VARIANTS + RANDOM]
    + [
        (RANDOM[0], "multiclass"),
        (RANDOM[0], "regression"),
        (VARIANTS[4], "multiclass"),
    ],
    ids=str,
)
def test_xla_gives_the_same_value_and_gradient_in_one_trace(variant, task):
    model = Linear(3 if task == "multiclass" else 1)
    traces = []

    def make():
        objective = built(variant[0], task, **variant[1])

        def run(arrays, number):
            traces.append(1)
            variables = [model.kernel, *objective.trainable_variables]
            with tf.GradientTape() as tape:
                value = objective(make_step(model, arrays, task, number))
            return value, tape.gradient(value, variables, unconnected_gradients="zero")

        return run

    compiled = tf.function(make(), jit_compile=True, autograph=False)
    plain = make()
    for number in range(3):
        arrays = {key: tf.constant(array) for key, array in draw(task, number).items()}
        step = tf.constant(number, tf.int64)
        expected = tf.nest.flatten(plain(arrays, step))
        found = tf.nest.flatten(compiled(arrays, step))
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
    assert len(traces) == 1 + 3


@every
def test_gradients_are_finite_at_extreme_outputs(variant):
    name, options = variant
    for scale in (0.0, 500.0):
        model = Linear()
        model.kernel.assign(scale * tf.sign(model.kernel))
        objective = built(name, **options)
        with tf.GradientTape() as tape:
            value = objective(make_step(model, draw()))
        gradients = tape.gradient(
            value, [model.kernel], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        assert np.isfinite(value)
        assert np.isfinite(gradients[0]).all()


@pytest.mark.parametrize("name", OWN)
def test_a_checkpoint_holds_every_variable(name, tmp_path):
    first, second = built(name), built(name)
    for objective in (first, second):
        objective(make_step(Linear(), draw()))
    for index, variable in enumerate(first.variables):
        variable.assign_add(tf.ones_like(variable) * (index + 1))
    path = tf.train.Checkpoint(objective=first).save(f"{tmp_path}/checkpoint")
    status = tf.train.Checkpoint(objective=second).restore(path)
    status.assert_existing_objects_matched().assert_consumed()
    assert len(first.variables) == {"adversarial": 0, "group_dro": 1}.get(name, 4)
    for left, right in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(left, right)
    values = [float(o(make_step(Linear(), draw(seed=1)))) for o in (first, second)]
    assert values[0] == values[1]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("name", ["dann", "cdann"])
def test_the_optimizer_of_the_model_updates_the_variables(name, optimizer):
    objective, model = built(name), Linear()
    optimizer = keras.optimizers.get(optimizer)
    variables = [model.kernel, *objective.trainable_variables]
    optimizer.build(variables)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            value = objective(make_step(model, draw()))
        gradients = tape.gradient(value, variables[1:])
        optimizer.apply([tf.ones_like(model.kernel), *gradients], variables)
        return value

    first = float(update())
    for _ in range(30):
        last = float(update())
    assert last < first


@pytest.fixture(scope="module")
def two_replicas():
    """Output of an own process: devices are split before TensorFlow starts."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = os.path.join(os.path.dirname(__file__), "replicas.py")
    cases = [[label(v), *v, v in RANDOM] for v in ON_REPLICAS]
    return subprocess.run(
        [sys.executable, script, json.dumps(cases)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize("variant", ON_REPLICAS, ids=map(label, ON_REPLICAS))
def test_two_replicas_agree_with_one_and_draw_their_own_numbers(variant, two_replicas):
    found = two_replicas.stdout
    assert f"[{label(variant)}] agrees" in found, two_replicas.stderr[-3000:]


@pytest.mark.parametrize("name", OWN)
def test_the_docstring_has_formula_and_source(name):
    text = inspect.getdoc(type(objectives.get(name)))
    assert "References:" in text
    assert " = " in text
    assert inspect.getdoc(type(objectives.get(name)).__init__).count("Args:") <= 1


def test_environments_are_as_many_as_it_was_built_for():
    step = make_step(Linear(), draw(), num_environments=ENVIRONMENTS + 1)
    for name in ("group_dro", "dann"):
        with pytest.raises(ValueError, match="5 environments; expected .*4"):
            built(name)(step)
