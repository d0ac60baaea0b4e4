"""What every registered penalty must hold to, and what it declares besides."""

import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.penalties.variants import VARIANTS, label
from trainer_module import penalties
from trainer_module.methods import METHODS

SIZE = 24
ENVIRONMENTS = 4  # of which one is absent
TASKS = ("binary", "multiclass", "regression")

per_variant = pytest.mark.parametrize("variant", VARIANTS, ids=map(label, VARIANTS))
per_case = pytest.mark.parametrize(
    ("variant", "task"),
    [
        pytest.param(variant, task, id=f"{label(variant)}-{task}")
        for variant in VARIANTS
        for task in penalties.info(variant[0], **variant[1]).tasks
    ],
)


def draw(task, seed=0):
    """Keyword arguments of a batch with three environments present, as NumPy."""
    random = np.random.default_rng(seed)
    classes = 5 if task == "multiclass" else 1
    labels = {
        "binary": random.integers(0, 2, size=(SIZE, 1)),
        "multiclass": random.integers(0, classes, size=(SIZE,)),
        "regression": random.normal(size=(SIZE, 1)),
    }
    ids = random.permutation(np.repeat([0, 1, 3], SIZE // 3))
    return {
        "logits": random.normal(size=(SIZE, classes)).astype(np.float32),
        "labels": labels[task],
        "environment_ids": ids.astype(np.int32),
        "sample_weights": random.uniform(0.5, 2, size=SIZE).astype(np.float32),
        "representations": random.normal(size=(SIZE, 6)).astype(np.float32),
    }


def value(variant, task, arrays, size=ENVIRONMENTS):
    name, options = variant
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    batch = penalties.EnvironmentBatch(**tensors, num_environments=size, task=task)
    return float(penalties.get(name, **options)(batch))


def close(expected):
    return pytest.approx(expected, rel=1e-4, abs=2e-6)


def declared(variant):
    name, options = variant
    return penalties.info(name, **options)


@per_case
def test_the_order_of_examples_does_not_matter_where_it_says_so(variant, task):
    arrays = draw(task)
    order = np.random.default_rng(1).permutation(SIZE)
    shuffled = {key: array[order] for key, array in arrays.items()}
    same = value(variant, task, shuffled) == close(value(variant, task, arrays))
    assert same == declared(variant).order_invariant


@per_case
def test_the_names_of_environments_do_not_matter_where_it_says_so(variant, task):
    arrays = draw(task)
    renamed = np.array([2, 3, 0, 1], np.int32)[arrays["environment_ids"]]
    expected = value(variant, task, arrays)
    same = value(variant, task, arrays | {"environment_ids": renamed})
    assert (same == close(expected)) != declared(variant).names_matter


@per_case
def test_a_row_of_weight_zero_changes_nothing(variant, task):
    arrays = draw(task)
    more = {key: np.concatenate([array, array[:1]]) for key, array in arrays.items()}
    more["logits"][-1] = 300.0
    more["representations"][-1] = 300.0
    more["sample_weights"][-1] = 0.0
    for environment in (0, 2):  # one that is there, and one that would be new
        more["environment_ids"][-1] = environment
        assert value(variant, task, more) == close(value(variant, task, arrays))


@per_case
def test_a_row_of_no_environment_changes_nothing(variant, task):
    arrays = draw(task)
    more = {key: np.concatenate([array, array[:1]]) for key, array in arrays.items()}
    more["logits"][-1] = 30.0
    more["representations"][-1] = 30.0
    more["environment_ids"][-1] = -1
    assert value(variant, task, more) == close(value(variant, task, arrays))


@per_case
def test_an_absent_environment_changes_nothing(variant, task):
    arrays = draw(task)
    packed = np.array([0, 1, -1, 2], np.int32)[arrays["environment_ids"]]
    if declared(variant).names_matter:
        packed = arrays["environment_ids"]
        assert value(variant, task, arrays, size=7) == close(
            value(variant, task, arrays)
        )
    else:
        without = value(variant, task, arrays | {"environment_ids": packed}, size=3)
        assert value(variant, task, arrays, size=7) == close(without)


@per_case
def test_an_empty_batch_and_a_single_environment_are_finite(variant, task):
    arrays = draw(task)
    nothing = {"sample_weights": np.zeros(SIZE, np.float32)}
    alone = {"environment_ids": np.full(SIZE, 1, np.int32)}
    for change in (nothing, alone):
        assert np.isfinite(value(variant, task, arrays | change))
    if declared(variant).zero_where_equal:
        assert value(variant, task, arrays | alone) == pytest.approx(0.0, abs=1e-6)


@per_case
@pytest.mark.parametrize("scale", [0.0, 500.0, -500.0])
def test_gradients_are_finite_at_extreme_outputs(variant, task, scale):
    name, options = variant
    arrays = draw(task)
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    inputs = [
        tf.constant(np.where(arrays[key] > 0, scale, -scale).astype(np.float32))
        for key in ("logits", "representations")
    ]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        tensors |= {"logits": inputs[0], "representations": inputs[1]}
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        result = penalties.get(name, **options)(batch)
    gradients = tape.gradient(result, inputs, unconnected_gradients="zero")
    assert np.isfinite(float(result))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@per_case
def test_the_gradient_is_that_of_finite_differences(variant, task):
    """In a random direction of the outputs, by central differences."""
    name, options = variant
    arrays = draw(task, seed=3)
    random = np.random.default_rng(4)
    keys = ("logits", "representations")
    directions = {
        key: random.normal(size=arrays[key].shape).astype(np.float32) for key in keys
    }
    inputs = [tf.constant(arrays[key]) for key in keys]
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        tensors |= dict(zip(keys, inputs, strict=True))
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        result = penalties.get(name, **options)(batch)
    gradients = tape.gradient(result, inputs, unconnected_gradients="zero")
    slope = sum(
        float(tf.reduce_sum(gradient * directions[key]))
        for key, gradient in zip(keys, gradients, strict=True)
    )

    def moved(step):
        return value(
            variant,
            task,
            arrays | {key: arrays[key] + step * directions[key] for key in keys},
        )

    step = 1e-3
    numeric = (moved(step) - moved(-step)) / (2 * step)
    if declared(variant).exact_gradient:
        assert slope == pytest.approx(numeric, rel=2e-2, abs=2e-2)


@per_case
def test_one_trace_serves_many_batches_and_xla_agrees(variant, task):
    traces = []
    name, options = variant

    def penalty(tensors):
        traces.append(tensors)
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        return penalties.get(name, **options)(batch)

    compiled = tf.function(penalty, jit_compile=True)
    for seed in range(3):
        arrays = draw(task, seed)
        tensors = {key: tf.constant(array) for key, array in arrays.items()}
        assert float(compiled(tensors)) == close(value(variant, task, arrays))
    assert len(traces) == 1


@per_case
def test_a_batch_of_unknown_size_gives_the_same_value(variant, task):
    name, options = variant
    arrays = draw(task)
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    free = {
        key: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
        for key, tensor in tensors.items()
    }

    @tf.function(input_signature=[free])
    def penalty(tensors):
        batch = penalties.EnvironmentBatch(
            **tensors, num_environments=ENVIRONMENTS, task=task
        )
        return penalties.get(name, **options)(batch)

    assert float(penalty(tensors)) == close(value(variant, task, arrays))


@per_case
def test_it_computes_in_float32_whatever_comes_in(variant, task):
    name, options = variant
    arrays = draw(task)
    tensors = {key: tf.constant(array) for key, array in arrays.items()}
    for key in ("logits", "representations", "sample_weights"):
        tensors[key] = tf.cast(tensors[key], tf.bfloat16)
    batch = penalties.EnvironmentBatch(
        **tensors, num_environments=ENVIRONMENTS, task=task
    )
    rounded = {
        key: tf.cast(tensor, tf.float32).numpy()
        if tensor.dtype == tf.bfloat16
        else tensor.numpy()
        for key, tensor in tensors.items()
    }
    result = penalties.get(name, **options)(batch)
    assert result.dtype == tf.float32
    assert result.shape == ()
    assert float(result) == close(value(variant, task, rounded))


@per_case
def test_it_is_never_negative_where_it_says_so(variant, task):
    if declared(variant).non_negative:
        lowest = min(value(variant, task, draw(task, seed)) for seed in range(20))
        assert lowest >= 0.0


@per_case
def test_identical_environments_give_zero_where_it_says_so(variant, task):
    arrays = draw(task)
    same = {key: np.concatenate([array[:8]] * 3) for key, array in arrays.items()}
    same["environment_ids"] = np.repeat([0, 1, 3], 8).astype(np.int32)
    is_zero = value(variant, task, same) == pytest.approx(0.0, abs=1e-6)
    assert is_zero == declared(variant).zero_where_equal


@per_case
def test_groups_stand_in_for_environments(variant, task):
    arrays = draw(task)
    random = np.random.default_rng(5)
    other = random.integers(0, 2, size=SIZE).astype(np.int32)
    by_group = {
        **arrays,
        "environment_ids": other,
        "group_ids": arrays["environment_ids"],
    }
    name, options = variant
    batch = penalties.EnvironmentBatch(
        **{key: tf.constant(array) for key, array in by_group.items()},
        num_environments=2,
        num_groups=ENVIRONMENTS,
        task=task,
    )
    result = float(penalties.get(name, **options)(batch))
    assert result == close(value(variant, task, arrays))


@per_case
def test_the_same_batch_gives_the_same_value_where_it_says_so(variant, task):
    values = {value(variant, task, draw(task)) for _ in range(3)}
    assert (len(values) == 1) == declared(variant).deterministic


@per_variant
def test_representations_are_asked_for_where_they_are_needed(variant):
    name, options = variant
    arrays = draw("binary")
    del arrays["representations"]
    if declared(variant).needs_representations:
        with pytest.raises(ValueError, match="has none: let the model return"):
            value(variant, "binary", arrays)
    else:
        assert np.isfinite(value(variant, "binary", arrays))


@per_variant
def test_the_table_has_the_defaults_of_the_function(variant):
    name, _ = variant
    function = penalties.info(name).function
    parameters = list(inspect.signature(function).parameters.values())[1:]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters)
    assert {p.name: p.default for p in parameters} == METHODS[name].defaults


@pytest.mark.parametrize("name", penalties.names())
def test_unknown_names_and_hyperparameters_are_refused_with_the_legal_ones(name):
    with pytest.raises(ValueError, match=", ".join(sorted(METHODS))):
        penalties.get(name + "_2")
    with pytest.raises(ValueError, match=f"{name!r} has no option 'ordre'"):
        penalties.get(name, ordre=3)


@pytest.mark.parametrize("name", penalties.names())
def test_illegal_values_are_refused_when_it_is_made(name):
    for option, spec in METHODS[name].options.items():
        with pytest.raises(ValueError, match=f"{option!r} of method.*expected"):
            penalties.get(name, **{option: "nonsense"})
        assert spec.accepts(spec.default)


@pytest.mark.parametrize("name", penalties.names())
def test_the_docstring_has_formula_arguments_range_and_source(name):
    text = inspect.getdoc(penalties.info(name).function)
    for part in (" = ", "Args:", "Returns:", "References:"):
        assert part in text, f"{name}: {part}"
    assert "Scalar" in text


@pytest.fixture(scope="module")
def two_replicas():
    """Output of an own process: devices are split before TensorFlow starts."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = os.path.join(os.path.dirname(__file__), "replicas.py")
    cases = [[label(variant), *variant] for variant in VARIANTS]
    return subprocess.run(
        [sys.executable, script, json.dumps(cases)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@per_variant
def test_two_replicas_agree_with_one(variant, two_replicas):
    found = two_replicas.stdout
    assert f"[{label(variant)}] agrees" in found, two_replicas.stderr[-2000:]
