"""mmd against loops over environments and pairs, with scikit-learn's kernel."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from trainer_module.penalties import EnvironmentBatch, kernels, mmd
from trainer_module.penalties.batch import group_by_environment

SIZE, WIDTH, ENVIRONMENTS = 90, 3, 6
BANDWIDTHS = [0.5, 2.0]

by_reference = pytest.mark.parametrize("reference", ["pairs", "pooled"])


def draw(task="binary", size=SIZE, seed=0):
    """Five environments of unequal size, one of six absent, some rows left out."""
    random = np.random.default_rng(seed)
    ids = random.choice(
        [0, 1, 3, 4, 5, -1], size=size, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1]
    )
    weights = random.uniform(0.2, 2.0, size=size)
    weights[::17] = 0.0
    outputs = random.normal(size=(size, WIDTH)) + 0.3 * ids[:, None]
    labels = random.integers(0, 3 if task == "multiclass" else 2, size=(size, 1))
    return {
        "logits": outputs if task == "multiclass" else outputs[:, :1],
        "labels": labels,
        "environment_ids": ids,
        "sample_weights": weights,
        "representations": outputs,
    }


def batch_of(arrays, task="binary"):
    tensors = {
        key: tf.constant(array, tf.int32 if array.dtype == np.int64 else tf.float32)
        for key, array in arrays.items()
    }
    return EnvironmentBatch(**tensors, num_environments=ENVIRONMENTS, task=task)


def kept(arrays):
    return (arrays["environment_ids"] >= 0) & (arrays["sample_weights"] > 0)


def median_bandwidth(arrays, on="representations"):
    return [np.sqrt(np.median(pdist(arrays[on][kept(arrays)], "sqeuclidean")))]


def discrepancy(one, other, bandwidths):
    """MMD^2 of two weighted samples: the V-statistic."""
    (x, v), (y, w) = one, other
    v, w = v / v.sum(), w / w.sum()

    def kernel(a, b):
        return np.mean([rbf_kernel(a, b, 1 / (2 * s**2)) for s in bandwidths], axis=0)

    return v @ kernel(x, x) @ v - 2 * v @ kernel(x, y) @ w + w @ kernel(y, y) @ w


def naive(
    arrays, bandwidths, on="representations", reference="pairs", conditional=False
):
    by_class = []
    labels = np.ravel(arrays["labels"])
    for label in np.unique(labels) if conditional else [None]:
        of_class = kept(arrays) & (True if label is None else labels == label)
        ids = arrays["environment_ids"]
        masks = [of_class & (ids == index) for index in np.unique(ids[of_class])]
        cells = [(arrays[on][m], arrays["sample_weights"][m]) for m in masks]
        if reference == "pooled":
            pool = arrays[on][of_class], arrays["sample_weights"][of_class]
            terms = [discrepancy(cell, pool, bandwidths) for cell in cells]
        else:
            terms = [
                discrepancy(cells[i], cells[j], bandwidths)
                for i in range(len(cells))
                for j in range(i)
            ]
        by_class.append(np.mean(terms))
    return np.mean(by_class)


@by_reference
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("on", ["logits", "representations"])
@pytest.mark.parametrize("bandwidths", [None, BANDWIDTHS], ids=["median", "list"])
def test_it_is_that_of_a_loop_over_pairs(bandwidths, on, task, conditional, reference):
    arrays = draw(task)
    result = mmd(
        batch_of(arrays, task),
        bandwidths=bandwidths,
        on=on,
        conditional=conditional,
        reference=reference,
    )
    expected = naive(
        arrays, bandwidths or median_bandwidth(arrays, on), on, reference, conditional
    )
    assert float(result) == pytest.approx(expected, rel=2e-5)


def test_two_points_have_a_closed_form():
    # k(x, x) - 2 k(x, y) + k(y, y) at distance 1 with s = 1.
    batch = EnvironmentBatch(
        np.array([[0.0], [1.0]]), np.zeros([2, 1]), np.array([0, 1]), 2
    )
    result = mmd(batch, on="logits", bandwidths=[1.0])
    assert float(result) == pytest.approx(2 - 2 * np.exp(-0.5))


@by_reference
@pytest.mark.parametrize("conditional", [False, True])
def test_random_features_are_exact_on_average(conditional, reference):
    """Over 64 seeds, to four standard errors, which are a twentieth of the value."""
    arrays = draw()
    options = {"reference": reference, "conditional": conditional}
    expected = naive(arrays, BANDWIDTHS, **options)
    batch = batch_of(arrays)

    @tf.function
    def approximate(seed):
        return mmd.__wrapped__(
            batch,
            bandwidths=BANDWIDTHS,
            estimator="random_features",
            random_features=64,
            seed=seed,
            **options,
        )

    values = [float(approximate(tf.constant(s, tf.int64))) for s in range(64)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 4 * error
    assert 0 < error < expected / 20
    assert min(values) >= 0


def test_the_error_falls_with_the_number_of_features_as_said():
    """Like the root: with 16 times the features it is a fourth."""
    arrays = draw()
    expected = naive(arrays, BANDWIDTHS)
    batch = batch_of(arrays)

    def error(features):
        @tf.function
        def approximate(seed):
            return mmd.__wrapped__(
                batch,
                bandwidths=BANDWIDTHS,
                estimator="random_features",
                random_features=features,
                seed=seed,
            )

        values = [float(approximate(tf.constant(s, tf.int64))) for s in range(100)]
        return np.sqrt(np.mean((np.array(values) - expected) ** 2))

    few, more = error(32), error(512)
    assert 2.5 < few / more < 6.5
    assert few < 2 / np.sqrt(32 / 2)
    assert more < 0.1 * expected


@by_reference
def test_auto_is_exact_for_few_rows_and_approximate_for_many(reference, monkeypatch):
    arrays = draw()
    batch = batch_of(arrays)
    options = {"reference": reference, "bandwidths": BANDWIDTHS}
    exact, features = (
        float(mmd(batch, estimator=estimator, **options))
        for estimator in ("exact", "random_features")
    )
    assert exact != pytest.approx(features, rel=1e-5)
    free = {
        key: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
        for key, tensor in batch_arguments(batch).items()
    }
    for most, expected in ((SIZE, exact), (SIZE - 1, features)):
        monkeypatch.setattr(kernels, "EXACT_UP_TO", most)
        assert float(mmd(batch, **options)) == pytest.approx(expected, rel=1e-6)

        @tf.function(input_signature=[free])
        def of_any_size(arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments["representations"])
                value = mmd(
                    EnvironmentBatch(**arguments, num_environments=ENVIRONMENTS),
                    **options,
                )
            return value, tape.gradient(value, arguments["representations"])

        value, gradient = of_any_size(batch_arguments(batch))
        assert float(value) == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def batch_arguments(batch):
    names = (
        "logits",
        "labels",
        "environment_ids",
        "sample_weights",
        "representations",
    )
    return {name: getattr(batch, name) for name in names}


@pytest.mark.parametrize("size", [90, 400], ids=["all_rows", "some_rows"])
def test_the_median_rule_is_numpys(size):
    arrays = draw(size=size)
    batch = batch_of(arrays)
    environments = group_by_environment(batch)
    result = float(
        kernels.squared_bandwidths(environments, batch.representations, None)[0]
    )
    expected = median_bandwidth(arrays)[0] ** 2
    exact = size <= kernels.MEDIAN_OF_ROWS
    assert result == pytest.approx(expected, rel=1e-5 if exact else 0.15)
    order = np.random.default_rng(1).permutation(size)
    shuffled = batch_of({key: array[order] for key, array in arrays.items()})
    again = kernels.squared_bandwidths(
        group_by_environment(shuffled), shuffled.representations, None
    )
    assert float(again[0]) == pytest.approx(result, rel=1e-6)


def test_the_median_rule_takes_no_row_without_weight():
    arrays = draw(size=400)
    arrays["sample_weights"][40:] = 0.0
    arrays["representations"][40:] = 1e4
    batch = batch_of(arrays)
    result = kernels.squared_bandwidths(
        group_by_environment(batch), batch.representations, None
    )
    assert float(result[0]) == pytest.approx(median_bandwidth(arrays)[0] ** 2, rel=1e-5)


def test_the_median_rule_survives_equal_rows():
    outputs = np.zeros([10, 1])
    batch = EnvironmentBatch(outputs, outputs, np.arange(10) % 2, 2)
    environments = group_by_environment(batch)

    def variance(rows):
        rows = tf.constant(rows, tf.float32)
        return float(kernels.squared_bandwidths(environments, rows, None)[0])

    assert variance(outputs) == 1.0
    outputs[0] = 3.0  # of 45 pairs nine are at distance 3
    assert variance(outputs) == pytest.approx(9 * 9 / 45)


@pytest.mark.parametrize("estimator", ["exact", "random_features"])
def test_the_gradient_is_that_at_a_constant_bandwidth(estimator):
    arrays = draw()
    gradients = []
    for bandwidths in (None, [float(s) for s in median_bandwidth(arrays)]):
        batch = batch_of(arrays)
        with tf.GradientTape() as tape:
            tape.watch(batch.representations)
            value = mmd(batch, bandwidths=bandwidths, estimator=estimator)
        gradients.append(tape.gradient(value, batch.representations))
    np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-7)


def test_the_gradient_of_distances_is_that_of_finite_differences():
    random = np.random.default_rng(2)
    rows, upstream = random.normal(size=(5, 3)), random.normal(size=(5, 5))
    variable = tf.constant(rows, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(
            kernels.squared_distances(variable, tf.fill([5], True))
            * upstream.astype(np.float32)
        )
    gradient = tape.gradient(total, variable)

    def value(rows):
        differences = rows[:, None] - rows
        return np.sum(np.sum(differences**2, axis=2) * upstream)

    for index in np.ndindex(5, 3):
        step = np.zeros((5, 3))
        step[index] = 1e-4
        numeric = (value(rows + step) - value(rows - step)) / 2e-4
        assert float(gradient[index]) == pytest.approx(numeric, rel=1e-3, abs=1e-4)


def test_far_from_the_origin_little_is_lost():
    arrays = draw()
    expected = naive(arrays, BANDWIDTHS)
    arrays["representations"] = arrays["representations"] + 500.0
    result = mmd(batch_of(arrays), bandwidths=BANDWIDTHS)
    assert float(result) == pytest.approx(expected, rel=1e-3)
