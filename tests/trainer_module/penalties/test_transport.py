"""Transport against scipy and POT, pair by pair, in plain loops."""

import itertools

import numpy as np
import ot
import pytest
import scipy.stats
import tensorflow as tf

from trainer_module import penalties
from trainer_module.penalties import divergences

SIZES = (30, 17, 0, 45)  # the third environment is absent


def draw(width=1, classes=2, weighted=True, seed=0):
    """A batch as NumPy: outputs [B, width], labels, ids and weights."""
    random = np.random.default_rng(seed)
    ids = random.permutation(np.repeat(np.arange(len(SIZES)), SIZES))
    shift = 0.5 * ids[:, None] * np.linspace(1, -1, width)
    rows = len(ids)
    return {
        "outputs": (random.normal(size=(rows, width)) + shift).astype(np.float32),
        "labels": random.integers(0, classes, size=(rows, 1)),
        "ids": ids.astype(np.int32),
        "weights": random.uniform(0.2, 3, size=rows) if weighted else np.ones(rows),
    }


def value(arrays, task="binary", on="logits", environments=None, **options):
    logits = arrays["outputs"]
    representations = None
    if on == "representations":
        representations, logits = logits, logits[:, :1]
    batch = penalties.EnvironmentBatch(
        logits=tf.constant(logits),
        labels=tf.constant(arrays["labels"]),
        environment_ids=tf.constant(arrays["ids"]),
        num_environments=environments or len(SIZES),
        sample_weights=tf.constant(arrays["weights"], tf.float32),
        representations=representations,
        task=task,
    )
    return float(penalties.get("wasserstein", on=on, **options)(batch))


def looped(arrays, distance, pooled=False, conditional=False):
    """The mean over pairs, or to the pool, of a distance of weighted samples."""
    labels = arrays["labels"][:, 0] if conditional else np.zeros(len(arrays["ids"]))
    means = []
    for label in np.unique(labels):
        mine = labels == label

        def sample(rows):
            return arrays["outputs"][rows], arrays["weights"][rows]

        environments = np.unique(arrays["ids"][mine])
        parts = [sample(mine & (arrays["ids"] == e)) for e in environments]
        pairs = [(part, sample(mine)) for part in parts]
        if not pooled:
            pairs = list(itertools.combinations(parts, 2))
        means.append(np.mean([distance(*a, *b) for a, b in pairs]))
    return np.mean(means)


def on_the_line(order):
    def distance(x, a, y, b):
        if order == 1:
            return scipy.stats.wasserstein_distance(x[:, 0], y[:, 0], a, b)
        return ot.wasserstein_1d(
            x[:, 0].astype(float), y[:, 0].astype(float), a / a.sum(), b / b.sum(), p=2
        )

    return distance


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_the_line_is_scipys_and_pots(order, pooled, conditional, weighted):
    arrays = draw(weighted=weighted)
    found = value(
        arrays,
        order=order,
        reference="pooled" if pooled else "pairs",
        conditional=conditional,
    )
    expected = looped(arrays, on_the_line(order), pooled, conditional)
    assert found == pytest.approx(expected, rel=1e-5)


def test_ties_and_far_values_keep_the_precision():
    arrays = draw()
    arrays["outputs"] = np.round(arrays["outputs"], 1) + np.float32(1000)
    for order in (1, 2):
        expected = looped(arrays, on_the_line(order))
        assert value(arrays, order=order) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("environments", [2, 100])
def test_many_environments_are_a_mean_over_all_their_pairs(environments):
    random = np.random.default_rng(1)
    ids = random.integers(0, environments, size=1500)
    arrays = {
        "outputs": random.normal(size=(1500, 1)).astype(np.float32),
        "labels": np.zeros([1500, 1]),
        "ids": ids.astype(np.int32),
        "weights": np.ones(1500),
    }
    batch = penalties.EnvironmentBatch(
        logits=tf.constant(arrays["outputs"]),
        labels=tf.constant(arrays["labels"]),
        environment_ids=tf.constant(arrays["ids"]),
        num_environments=environments or len(SIZES),
    )
    for order in (1, 2):
        found = float(penalties.get("wasserstein", order=order)(batch))
        expected = looped(arrays, on_the_line(order))
        # Levels of the order 2 are sums of a thousand float32 shares.
        assert found == pytest.approx(expected, rel=1e-4 if order == 1 else 1e-3)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_slices_along_given_directions_are_pots(order, pooled):
    arrays = draw(width=3)
    random = np.random.default_rng(2)
    directions = random.normal(size=(3, 7))
    directions /= np.linalg.norm(directions, axis=0)

    def distance(x, a, y, b):
        root = ot.sliced_wasserstein_distance(
            x.astype(float),
            y.astype(float),
            a / a.sum(),
            b / b.sum(),
            projections=directions,
            p=order,
        )
        return root**order

    found = value(
        arrays,
        on="representations",
        solver="sliced",
        order=order,
        reference="pooled" if pooled else "pairs",
        projections=directions,
    )
    assert found == pytest.approx(looped(arrays, distance, pooled), rel=1e-5)


def test_random_directions_hang_on_the_seed_and_agree_when_there_are_many():
    arrays = draw(width=3)
    options = {"solver": "sliced", "order": 2, "on": "representations"}
    first, again = (value(arrays, seed=1, **options) for _ in range(2))
    assert first == again
    assert first != value(arrays, seed=2, **options)
    many = [value(arrays, projections=4000, seed=seed, **options) for seed in (1, 2)]
    assert many[0] == pytest.approx(many[1], rel=0.05)


def test_multiclass_logits_and_their_class_ids():
    arrays = draw(width=3, classes=3)
    directions = np.eye(3)
    found = value(
        arrays,
        task="multiclass",
        solver="sliced",
        projections=directions,
        conditional=True,
    )
    columns = [
        looped(
            arrays | {"outputs": arrays["outputs"][:, [k]]},
            on_the_line(1),
            conditional=True,
        )
        for k in range(3)
    ]
    assert found == pytest.approx(np.mean(columns), rel=1e-5)


def divergence(order, epsilon):
    """POT's debiased Sinkhorn: <P, C> of the three plans."""

    def cost(x, a, y, b):
        costs = ot.dist(x, y, "euclidean" if order == 1 else "sqeuclidean")
        plan = ot.sinkhorn(
            a / a.sum(),
            b / b.sum(),
            costs,
            epsilon,
            method="sinkhorn_log",
            numItermax=5000,
            stopThr=1e-12,
        )
        return np.sum(plan * costs)

    def distance(x, a, y, b):
        x, y = x.astype(float), y.astype(float)
        return max(0.0, cost(x, a, y, b) - cost(x, a, x, a) / 2 - cost(y, b, y, b) / 2)

    return distance


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("order", "epsilon"), [(1, 0.3), (2, 0.5), (2, 2.0)])
def test_sinkhorn_is_pots(order, epsilon, pooled):
    arrays = draw(width=2)
    found = value(
        arrays,
        on="representations",
        solver="sinkhorn",
        order=order,
        epsilon=epsilon,
        iterations=500,
        max_points=1000,
        reference="pooled" if pooled else "pairs",
    )
    expected = looped(arrays, divergence(order, epsilon), pooled)
    assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)


def test_sinkhorn_is_pots_own_divergence():
    arrays = draw(width=2, weighted=False)
    kept = np.isin(arrays["ids"], (0, 1))
    arrays = {key: part[kept] for key, part in arrays.items()}
    first, second = (
        arrays["outputs"][arrays["ids"] == e].astype(float) for e in (0, 1)
    )
    expected = ot.bregman.empirical_sinkhorn_divergence(
        first, second, 1.0, numIterMax=5000, stopThr=1e-12
    )
    found = value(
        arrays,
        on="representations",
        solver="sinkhorn",
        order=2,
        epsilon=1.0,
        iterations=500,
    )
    assert found == pytest.approx(float(expected), rel=2e-3)


def test_sinkhorn_with_little_entropy_is_transport():
    arrays = draw(width=2, weighted=False)

    def distance(x, a, y, b):
        costs = ot.dist(x.astype(float), y.astype(float))
        return ot.emd2(a / a.sum(), b / b.sum(), costs)

    found = value(
        arrays,
        on="representations",
        solver="sinkhorn",
        order=2,
        epsilon=0.02,
        iterations=3000,
    )
    assert found == pytest.approx(looped(arrays, distance), rel=0.03)


def test_a_tolerance_ends_where_more_iterations_change_nothing():
    arrays = draw(width=2)
    options = {"on": "representations", "solver": "sinkhorn", "order": 2}
    stopped = value(arrays, iterations=2000, tolerance=1e-6, epsilon=0.5, **options)
    whole = value(arrays, iterations=2000, epsilon=0.5, **options)
    early = value(arrays, iterations=1, epsilon=0.5, **options)
    assert stopped == pytest.approx(whole, rel=1e-3)
    assert early != pytest.approx(whole, rel=1e-3)


def test_of_a_large_batch_sinkhorn_sees_a_subset_that_order_does_not_change():
    random = np.random.default_rng(4)
    ids = np.repeat(np.arange(4), 400).astype(np.int32)
    outputs = random.normal(size=(1600, 1)) + ids[:, None]
    arrays = {
        "outputs": outputs.astype(np.float32),
        "labels": np.zeros([1600, 1]),
        "ids": ids,
        "weights": np.ones(1600),
    }
    order = random.permutation(1600)
    shuffled = {key: part[order] for key, part in arrays.items()}
    options = {"solver": "sinkhorn", "order": 2, "epsilon": 0.5, "iterations": 200}
    some = value(arrays, max_points=200, **options)
    assert some == pytest.approx(value(shuffled, max_points=200, **options), rel=1e-4)
    assert some == pytest.approx(value(arrays, max_points=1600, **options), rel=0.3)
    assert some != value(arrays, max_points=1600, **options)


def of_many(environments, shift):
    """Two rows of each environment, whose means are of a deviation `shift`."""
    random = np.random.default_rng(5)
    ids = np.repeat(np.arange(environments), 2).astype(np.int32)
    outputs = np.tile([-0.5, 1.0], environments)
    outputs += shift * random.normal(size=environments)[ids]
    return {
        "outputs": outputs.astype(np.float32)[:, None],
        "labels": np.zeros([len(ids), 1]),
        "ids": ids,
        "weights": np.ones(len(ids)),
    }


TO_POOL = {
    "solver": "sinkhorn",
    "reference": "pooled",
    "order": 2,
    "epsilon": 0.5,
    "iterations": 200,
}


def test_of_many_environments_some_make_up_sinkhorns_pool():
    options = {**TO_POOL, "environments": 60, "max_points": 100}
    arrays = of_many(60, 1.0)
    some = value(arrays, **options)
    of_all = value(arrays, **{**options, "max_points": 200})
    assert of_all == pytest.approx(looped(arrays, divergence(2, 0.5), True), rel=2e-3)
    assert some == pytest.approx(of_all, rel=0.25)
    assert some != pytest.approx(of_all, rel=1e-3)
    # Whichever they are, it is not by their names.
    names = np.random.default_rng(6).permutation(60).astype(np.int32)
    renamed = {**arrays, "ids": names[arrays["ids"]]}
    assert some == pytest.approx(value(renamed, **options), rel=1e-4)
    assert value(of_many(60, 0.0), **options) == pytest.approx(0.0, abs=1e-5)


def test_sinkhorns_pool_takes_as_many_environments_as_fit():
    every = [divergences._members(8, 8 * 8 + 64 + 8), divergences._members(500, 10**6)]
    assert every == [8, 500]
    for environments in (50, 200, 800):
        members = divergences._members(environments, 10_000)
        assert 16 <= members <= environments
        blocks = members * (environments + members) + environments
        assert members == 16 or blocks <= 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "representations"}, "3 columns; solver='exact_1d' expects 1: choose"),
        (
            {
                "on": "representations",
                "solver": "sliced",
                "projections": np.ones([2, 5]),
            },
            "projections|directions",
        ),
    ],
)
def test_outputs_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        value(draw(width=3), **options)


def test_a_regression_has_no_classes():
    with pytest.raises(ValueError, match="no classes to condition on"):
        value(draw(), task="regression", conditional=True)
