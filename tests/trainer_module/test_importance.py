"""Importance weights against known densities and scikit-learn's posteriors."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from trainer_module.importance import fit_density_ratio

RANDOM = np.random.default_rng(0)
# Two normals with the means 0 and 1, three to one: log p_1 / p_0 = x - 1/2.
NORMALS = RANDOM.normal(size=(8000, 1)) + np.repeat([0, 1], [6000, 2000])[:, None]
NORMAL_IDS = np.repeat([0, 1], [6000, 2000])
# Three environments in the plane, of unequal size.
CENTERS = np.array([[0.0, 0.0], [0.8, -0.3], [-0.2, 0.6]])
SIZES = [900, 500, 1600]
PLANE = np.repeat(CENTERS, SIZES, axis=0) + RANDOM.normal(size=(3000, 2))
PLANE_IDS = np.repeat([0, 1, 2], SIZES)


@pytest.fixture(scope="module")
def to_second():
    return fit_density_ratio(NORMALS, NORMAL_IDS, 2, target=1, clip=50.0)


@pytest.fixture(scope="module")
def to_pool():
    return fit_density_ratio(PLANE, PLANE_IDS, 3, clip=1000.0)


def test_two_normals_have_the_ratio_that_is_known(to_second):
    points = np.linspace(-1.5, 2.5, 9)[:, None]
    ratios = to_second.clipped_ratios(points, np.zeros(9, int))
    np.testing.assert_allclose(np.log(ratios), points[:, 0] - 0.5, atol=0.1)
    # The target's own rows keep their weight.
    np.testing.assert_allclose(to_second(points, np.ones(9, int)), 1.0, rtol=1e-5)


def test_the_pool_counts_each_environment_alike():
    # p_0 = p and p_1 = p r in equal parts make p (1 + r) / 2, whatever the sizes.
    ratio = fit_density_ratio(NORMALS, NORMAL_IDS, 2, clip=50.0)
    points = np.linspace(-1.5, 2.5, 9)[:, None]
    expected = (1 + np.exp(points[:, 0] - 0.5)) / 2
    found = ratio.clipped_ratios(points, np.zeros(9, int))
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_a_hidden_layer_finds_what_a_line_cannot():
    # The same mean, deviations 1 and 2: log p_1 / p_0 = 3/8 x^2 - log 2.
    random = np.random.default_rng(1)
    rows = np.concatenate([random.normal(0, 1, 4000), random.normal(0, 2, 4000)])
    ids = np.repeat([0, 1], 4000)
    points = np.linspace(-2, 2, 9)[:, None]
    expected = 3 / 8 * points[:, 0] ** 2 - np.log(2)
    errors = []
    for hidden in ((), (32,)):
        ratio = fit_density_ratio(rows[:, None], ids, 2, target=1, hidden=hidden)
        found = np.log(ratio.clipped_ratios(points, np.zeros(9, int)))
        errors.append(np.abs(found - expected).max())
    assert errors[1] < 0.3
    assert errors[0] > 0.6


@pytest.mark.parametrize("target", ["pooled", 2])
def test_it_is_bayes_rule_on_the_posteriors_of_logistic_regression(target):
    ratio = fit_density_ratio(
        PLANE, PLANE_IDS, 3, target=target, clip=1000.0, l2=0.0, steps=800
    )
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(PLANE, PLANE_IDS)
    posteriors = model.predict_proba(PLANE)
    priors = np.array(SIZES) / 3000
    expected = np.empty(3000)
    for row, own in enumerate(PLANE_IDS):
        densities = posteriors[row] / priors  # but for p(x)
        wanted = densities.mean() if target == "pooled" else densities[target]
        expected[row] = wanted / densities[own]
    for index in range(3):
        mine = index == PLANE_IDS
        expected[mine] /= expected[mine].mean()
    np.testing.assert_allclose(ratio(PLANE, PLANE_IDS), expected, rtol=0.05)


def test_l2_is_that_of_logistic_regression():
    # Kernels k and -k make the slope s = 2 k: l2 (k^2 + k^2) is l2 s^2 / 2, where
    # scikit-learn has s^2 / (2 C N).
    rows = (NORMALS - NORMALS.mean()) / NORMALS.std()
    model = LogisticRegression(C=1 / (0.5 * len(rows)), tol=1e-8)
    model.fit(rows, NORMAL_IDS)
    ratio = fit_density_ratio(rows, NORMAL_IDS, 2, l2=0.5)
    kernel, _ = ratio.layers[0]
    assert kernel[0, 1] - kernel[0, 0] == pytest.approx(model.coef_[0, 0], rel=0.02)


def test_weighted_means_are_those_of_the_target(to_pool):
    weights = to_pool(PLANE, PLANE_IDS).numpy()
    pooled = CENTERS.mean(axis=0)
    for index in range(3):
        mine = index == PLANE_IDS
        before = PLANE[mine].mean(axis=0) - pooled
        after = np.average(PLANE[mine], axis=0, weights=weights[mine]) - pooled
        assert np.abs(after).max() < 0.12
        assert np.linalg.norm(after) < 0.5 * np.linalg.norm(before)


def test_every_environment_has_the_mean_weight_one(to_pool, to_second):
    for ratio, rows, ids in (
        (to_pool, PLANE, PLANE_IDS),
        (to_second, NORMALS, NORMAL_IDS),
    ):
        weights = ratio(rows, ids).numpy()
        for index in np.unique(ids):
            assert weights[ids == index].mean() == pytest.approx(1.0, rel=1e-4)


def test_the_effective_size_is_the_squared_sum_over_the_sum_of_squares(to_pool):
    weights = to_pool(PLANE, PLANE_IDS).numpy().astype(np.float64)
    for index, size in enumerate(SIZES):
        mine = weights[index == PLANE_IDS]
        expected = mine.sum() ** 2 / np.sum(mine**2) / size
        assert to_pool.effective_sizes[index] == pytest.approx(expected, rel=1e-4)
        assert 0 < expected < 1


def test_without_a_shift_the_weights_are_about_one():
    rows = np.random.default_rng(5).normal(size=(4000, 3))
    ratio = fit_density_ratio(rows, np.arange(4000) % 4, 4)
    assert ratio(rows, np.arange(4000) % 4).numpy().std() < 0.1
    assert ratio.effective_sizes.min() > 0.98


def test_ratios_are_clipped_before_they_are_scaled():
    rows = np.concatenate([NORMALS[:500], 20 + NORMALS[:500]])
    ids = np.repeat([0, 1], 500)
    ratio = fit_density_ratio(rows, ids, 2, target=1, clip=4.0)
    ratios = ratio.clipped_ratios(np.array([[-50.0], [70.0]]), [0, 0])
    np.testing.assert_allclose(ratios, [1 / 4, 4], rtol=1e-5)
    # All rows of environment 0 are at the bound, so that scaled they count alike.
    np.testing.assert_allclose(ratio(rows, ids), 1.0, rtol=1e-4)
    same = fit_density_ratio(NORMALS, NORMAL_IDS, 2, target=1, clip=1.0, steps=5)
    np.testing.assert_allclose(same(NORMALS, NORMAL_IDS), 1.0, rtol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_constant_in_a_function_and_lets_no_gradient_through(to_pool, compiled):
    rows, ids = tf.constant(PLANE[:64], tf.float32), tf.constant(PLANE_IDS[:64])

    @tf.function(jit_compile=compiled)
    def weigh(rows, ids):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            weights = to_pool(rows, ids)
        assert tape.gradient(weights, rows) is None
        return weights

    weights = weigh(rows, ids)
    assert weights.dtype == tf.float32
    np.testing.assert_allclose(weights, to_pool(PLANE[:64], PLANE_IDS[:64]), rtol=1e-5)


def test_rows_of_no_environment_weigh_nothing_and_teach_nothing(to_pool):
    ids = PLANE_IDS.copy()
    np.testing.assert_array_equal(to_pool(PLANE[:2], [-1, 0]).numpy() > 0, [0, 1])
    more = np.concatenate([PLANE, [[np.nan, 1e9]]])
    ratio = fit_density_ratio(more, np.append(ids, -1), 3, clip=1000.0)
    np.testing.assert_allclose(ratio(PLANE, ids), to_pool(PLANE, ids), rtol=1e-4)


def test_the_seed_settles_the_result():
    fits = [
        fit_density_ratio(PLANE, PLANE_IDS, 3, hidden=(4,), steps=20, seed=seed)
        for seed in (3, 3, 4)
    ]
    first, again, other = (fit(PLANE, PLANE_IDS).numpy() for fit in fits)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_a_constant_column_and_a_single_environment_are_no_trouble():
    rows = np.column_stack([np.full(3000, 7.0), PLANE])
    ratio = fit_density_ratio(rows, PLANE_IDS, 3, steps=50)
    assert np.isfinite(ratio(rows, PLANE_IDS)).all()
    alone = fit_density_ratio(PLANE, np.zeros(3000, int), 1, steps=5)
    np.testing.assert_allclose(alone(PLANE, np.zeros(3000, int)), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 0.5}, "clip .* is 0.5; expected a finite number, at least 1"),
        ({"target": "north"}, "'north'; expected 'pooled' or .* 0 to 2"),
        ({"target": 3}, "is 3; expected 'pooled'"),
        ({"target": True}, "is True; expected 'pooled'"),
        ({"steps": 0}, "0 and 0.0001; expected at least 1 step"),
        ({"l2": -1.0}, "expected at least 1 step and a finite l2"),
        ({"num_environments": 4}, "Environment 3 has no rows"),
        ({"num_environments": 2}, "id 2 is out of range: expected 0 to 1"),
        ({"features": PLANE[:, 0]}, r"shape \(3000,\).*expected \[N, D\]"),
        ({"features": PLANE[:9]}, "there are 3000 environment ids"),
        ({"features": np.where(PLANE > 2, np.nan, PLANE)}, "Column 0 .* holds NaN"),
    ],
)
def test_mistakes_are_named(change, message):
    arguments = {
        "features": PLANE,
        "environment_ids": PLANE_IDS,
        "num_environments": 3,
    }
    with pytest.raises(ValueError, match=message):
        fit_density_ratio(**(arguments | change))
