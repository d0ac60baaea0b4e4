"""moment_matching and coral against loops over environments and pairs in NumPy."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from trainer_module.penalties import EnvironmentBatch, coral, moment_matching, moments
from trainer_module.penalties.covariances import moments_of_cells

SIZE, WIDTH, ENVIRONMENTS = 150, 4, 6
REFERENCES = ("pairs", "pooled")

by_reference = pytest.mark.parametrize("reference", REFERENCES)
by_task = pytest.mark.parametrize("task", ["binary", "multiclass"])
many = pytest.mark.parametrize("most", [2**24, 0], ids=["side_by_side", "many"])


def draw(task="binary", size=SIZE, width=WIDTH, seed=0):
    """Five environments of unequal size, one of six absent, some rows left out."""
    random = np.random.default_rng(seed)
    ids = random.choice(
        [0, 1, 3, 4, 5, -1], size=size, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05]
    )
    weights = random.uniform(0.2, 2.0, size=size)
    weights[::17] = 0.0
    scale = 1.0 + 0.3 * ids[:, None]
    outputs = random.normal(size=(size, width)) * scale + 0.2 * ids[:, None]
    labels = random.integers(0, 3 if task == "multiclass" else 2, size=size)
    if task == "binary":
        labels = labels[:, None]
    return {
        "logits": outputs[:, :3] if task == "multiclass" else outputs[:, :1],
        "labels": labels,
        "environment_ids": ids,
        "sample_weights": weights,
        "representations": outputs,
    }


def batch_of(arrays, task="binary", size=ENVIRONMENTS):
    tensors = {
        key: tf.constant(array, tf.int32 if array.dtype == np.int64 else tf.float32)
        for key, array in arrays.items()
    }
    return EnvironmentBatch(**tensors, num_environments=size, task=task)


def populations(arrays, on, conditional):
    """For each class: (rows, weights) of each environment that is present."""
    kept = (arrays["environment_ids"] >= 0) & (arrays["sample_weights"] > 0)
    labels = np.ravel(arrays["labels"])
    result = []
    for label in np.unique(labels[kept]) if conditional else [None]:
        of_class = kept if label is None else kept & (labels == label)
        masks = [
            of_class & (arrays["environment_ids"] == index)
            for index in np.unique(arrays["environment_ids"][of_class])
        ]
        result.append([(arrays[on][m], arrays["sample_weights"][m]) for m in masks])
    return result


def naive(arrays, statistic, on, reference, conditional):
    """Mean squared difference of a statistic, by a loop over pairs."""
    by_class = []
    for cells in populations(arrays, on, conditional):
        values = [statistic(rows, weights) for rows, weights in cells]
        if reference == "pooled":
            rows, weights = map(np.concatenate, zip(*cells, strict=True))
            pooled = statistic(rows, weights)
            squares = [np.mean((value - pooled) ** 2) for value in values]
        else:
            squares = [
                np.mean((values[i] - values[j]) ** 2)
                for i in range(len(values))
                for j in range(i)
            ]
        by_class.append(np.mean(squares))
    return np.mean(by_class)


def moment(order):
    def statistic(rows, weights):
        mean = np.average(rows, axis=0, weights=weights)
        if order == 1:
            return mean
        return np.average((rows - mean) ** order, axis=0, weights=weights)

    return statistic


def covariance(rows, weights):
    return np.cov(rows.T, aweights=weights, ddof=0) if len(rows) > 1 else 0.0


def naive_coral(arrays, on="representations", reference="pairs", conditional=False):
    return sum(
        naive(arrays, statistic, on, reference, conditional)
        for statistic in (moment(1), covariance)
    )


@by_reference
@by_task
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("on", ["logits", "representations"])
def test_moments_are_those_of_a_loop_over_pairs(on, conditional, task, reference):
    arrays = draw(task)
    orders = (1, 2, 3, 4)
    expected = sum(
        naive(arrays, moment(order), on, reference, conditional) for order in orders
    )
    result = moment_matching(
        batch_of(arrays, task),
        orders=orders,
        on=on,
        reference=reference,
        conditional=conditional,
    )
    assert float(result) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_central_moments_are_scipys(order):
    arrays = draw()
    arrays["sample_weights"][:] = 1.0
    (cells,) = populations(arrays, "representations", False)
    values = [scipy.stats.moment(rows, order, axis=0) for rows, _ in cells[:2]]
    arrays["environment_ids"] = np.where(
        np.isin(arrays["environment_ids"], [0, 1]), arrays["environment_ids"], -1
    )
    result = moment_matching(batch_of(arrays), orders=(order,), on="representations")
    expected = np.mean((values[0] - values[1]) ** 2)
    assert float(result) == pytest.approx(expected, rel=2e-5)


def test_two_shifted_copies_differ_in_their_means_alone():
    rows = np.random.default_rng(1).normal(size=(40, 3))
    arrays = {
        "logits": np.concatenate([rows, rows + 0.5])[:, :1],
        "labels": np.zeros((80, 1)),
        "environment_ids": np.repeat([0, 1], 40),
        "representations": np.concatenate([rows, rows + [0.5, 1.0, 2.0]]),
    }
    batch = batch_of(arrays, size=2)
    by_order = [
        float(moment_matching(batch, orders=(order,), on="representations"))
        for order in (1, 2, 3)
    ]
    expected = (0.25 + 1.0 + 4.0) / 3
    assert by_order[0] == pytest.approx(expected, rel=1e-5)
    assert by_order[1:] == pytest.approx([0.0, 0.0], abs=1e-10)
    assert float(coral(batch)) == pytest.approx(expected, rel=1e-5)


def test_an_order_counts_once_and_orders_add_up():
    batch = batch_of(draw())
    one, three = (float(moment_matching(batch, orders=(o,))) for o in (1, 3))
    assert float(moment_matching(batch, orders=(3, 1, 3))) == pytest.approx(one + three)


def test_a_class_with_one_environment_adds_nothing_but_is_counted():
    # Class 0: environments 0 and 1 with means 0 and 2; class 1: only environment 0.
    logits = np.array([[0.0], [2.0], [7.0]])
    labels = np.array([[0], [0], [1]])
    batch = EnvironmentBatch(logits, labels, np.array([0, 1, 0]), 2)
    result = moment_matching(batch, orders=(1,), conditional=True)
    assert float(result) == pytest.approx(2.0**2 / 2)


@many
@by_reference
@by_task
@pytest.mark.parametrize("conditional", [False, True])
def test_coral_is_that_of_a_loop_over_pairs(
    conditional, task, reference, most, monkeypatch
):
    monkeypatch.setattr(moments, "MOST_ENTRIES", most)
    arrays = draw(task)
    expected = naive_coral(arrays, "representations", reference, conditional)
    result = coral(batch_of(arrays, task), reference=reference, conditional=conditional)
    assert float(result) == pytest.approx(expected, rel=2e-5)


@many
@by_reference
@pytest.mark.parametrize("skew", ["equal", "as_by_chance", "one_is_most", "tiny"])
def test_coral_of_any_sizes_of_environments(skew, reference, most, monkeypatch):
    """Each has its layout of rows in blocks, or in tiles."""
    monkeypatch.setattr(moments, "MOST_ENTRIES", most)
    size, environments = 360, 12
    random = np.random.default_rng(2)
    ids = {
        "equal": np.arange(size) % environments,
        "as_by_chance": random.integers(0, environments, size=size),
        "one_is_most": np.where(
            random.uniform(size=size) < 0.7, 5, np.arange(size) % 12
        ),
        "tiny": np.where(np.arange(size) < 300, -1, np.arange(size) % environments),
    }[skew]
    arrays = draw(size=size) | {"environment_ids": random.permutation(ids)}
    arrays["representations"] *= random.uniform(0.5, 2.0, size=12)[ids][:, None]
    result = coral(batch_of(arrays, size=environments), reference=reference)
    assert float(result) == pytest.approx(
        naive_coral(arrays, reference=reference), rel=2e-5
    )


def value_and_gradient(arrays, **options):
    """A function of the outputs, for `tf.function`; they may have an unknown size."""
    full = batch_of(arrays)

    def function(outputs):
        size = outputs.shape[0] or tf.shape(outputs)[0]
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            batch = EnvironmentBatch(
                outputs[:, :1],
                full.labels[:size],
                full.environment_ids[:size],
                ENVIRONMENTS,
                sample_weights=full.sample_weights[:size],
                representations=outputs,
            )
            value = coral(batch, **options)
        return value, tape.gradient(value, outputs)

    return function


@many
@pytest.mark.parametrize(("reference", "known"), [("pairs", False), ("pooled", True)])
def test_the_gradient_of_coral_is_that_of_its_formula(
    reference, known, most, monkeypatch
):
    """Against TensorFlow's own gradient of a loop over environments."""
    monkeypatch.setattr(moments, "MOST_ENTRIES", most)
    arrays = draw(size=300)
    outputs = tf.constant(arrays["representations"], tf.float32)
    weights = tf.constant(arrays["sample_weights"], tf.float32)

    def mean_and_covariance(mask):
        share = tf.where(mask, weights, 0.0)
        share = (share / tf.reduce_sum(share))[:, None]
        mean = tf.reduce_sum(share * outputs, axis=0)
        return mean, tf.matmul(share * (outputs - mean), outputs - mean, True)

    def distance(one, other):
        return sum(
            tf.reduce_mean(tf.square(a - b)) for a, b in zip(one, other, strict=True)
        )

    with tf.GradientTape() as tape:
        tape.watch(outputs)
        ids = arrays["environment_ids"]
        each = [mean_and_covariance(ids == index) for index in (0, 1, 3, 4, 5)]
        if reference == "pooled":
            pool = mean_and_covariance(ids >= 0)
            terms = [distance(one, pool) for one in each]
        else:
            terms = [distance(each[i], each[j]) for i in range(5) for j in range(i)]
        formula = tf.add_n(terms) / len(terms)
    expected = tape.gradient(formula, outputs)

    spec = tf.TensorSpec([300 if known else None, WIDTH])
    function = value_and_gradient(arrays, reference=reference)
    value, gradient = tf.function(function, input_signature=[spec])(outputs)
    assert float(value) == pytest.approx(float(formula), rel=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-7)


@many
def test_the_gradient_of_coral_is_the_same_with_xla(most, monkeypatch):
    monkeypatch.setattr(moments, "MOST_ENTRIES", most)
    arrays = draw(size=300)
    outputs = tf.constant(arrays["representations"], tf.float32)
    function = value_and_gradient(arrays)
    value, gradient = function(outputs)
    compiled = tf.function(function, jit_compile=True)(outputs)
    assert float(compiled[0]) == pytest.approx(float(value), rel=1e-4)
    np.testing.assert_allclose(compiled[1], gradient, rtol=1e-3, atol=1e-7)


def test_many_environments_take_no_matrix_each():
    """The covariances would be 164 MB."""
    arrays = draw(size=2048, width=200)
    arrays["environment_ids"] = np.arange(2048) % 1024
    batch = batch_of(arrays, size=1024)
    graph = tf.function(lambda: coral(batch)).get_concrete_function().graph
    sizes = [
        int(np.prod(output.shape))
        for function in [graph, *graph._functions.values()]
        for operation in getattr(function, "graph", function).get_operations()
        for output in operation.outputs
        if output.shape.is_fully_defined()
    ]
    assert max(sizes) < 1024 * 200 * 200 / 10


@pytest.mark.parametrize("function", [moment_matching, coral])
def test_large_outputs_stay_finite_and_accurate(function):
    random = np.random.default_rng(3)
    rows = 500.0 + random.normal(size=(60, 2)) * np.repeat([1.0, 2.0, 3.0], 20)[:, None]
    arrays = draw(size=60) | {
        "representations": rows,
        "environment_ids": np.repeat([0, 1, 2], 20),
    }
    options = {"orders": (2, 4), "on": "representations"}
    if function is coral:
        expected = naive_coral(arrays)
        result = coral(batch_of(arrays))
    else:
        expected = sum(
            naive(arrays, moment(order), "representations", "pairs", False)
            for order in (2, 4)
        )
        result = moment_matching(batch_of(arrays), **options)
    assert float(result) == pytest.approx(expected, rel=1e-3)


def test_fourth_moments_of_logits_at_500_have_finite_gradients():
    logits = tf.constant([[500.0], [-500.0], [500.0], [0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        batch = EnvironmentBatch(logits, tf.zeros([4, 1]), tf.constant([0, 0, 1, 1]), 2)
        value = moment_matching(batch, orders=(1, 2, 3, 4))
    # Means 0 and 250, c_2 500^2 and 250^2, c_3 0, c_4 500^4 and 250^4.
    expected = 250.0**2 + (500.0**2 - 250.0**2) ** 2 + (500.0**4 - 250.0**4) ** 2
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(tape.gradient(value, logits)).all()


def test_cells_without_rows_have_zeros():
    means, covariances = moments_of_cells(
        tf.ones([3, 2]), tf.constant([0.5, 0.5, 0.0]), tf.constant([1, 1, -1]), 3
    )
    np.testing.assert_array_equal(means, [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(covariances, np.zeros([3, 2, 2]))
