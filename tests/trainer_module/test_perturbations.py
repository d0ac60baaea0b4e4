"""Perturbed features, against closed forms for logistic regression and NumPy loops."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from trainer_module.perturbations import perturb_data

EPSILON = 0.1
KERNEL = np.array([0.7, -1.3, 0.0, 2.0], np.float32)
CLEAN = np.random.default_rng(0).uniform(-0.2, 1.2, size=(30, 4)).astype(np.float32)
SIGNS = np.random.default_rng(1).choice([-1.0, 1.0], size=(30, 1)).astype(np.float32)
MATRIX = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)


def logistic(features):
    """Losses [B] of a logistic regression, log(1 + exp(-y w x))."""
    scores = tf.linalg.matvec(tf.cast(features, tf.float32), KERNEL)
    return tf.nn.softplus(-SIGNS[:, 0] * scores)


def quadratic(features):
    """Half of x M x of each row, [B], with a symmetric M: its gradient is M x."""
    product = features @ tf.constant(MATRIX + MATRIX.T, features.dtype)
    return 0.5 * tf.reduce_sum(features * product, axis=1)


def climb(clean, start, steps, size, norm, clip=None):
    """PGD on `quadratic` the naive way, a row and a step at a time."""
    result = np.array(start, np.float64)
    for row, origin in zip(result, clean.astype(np.float64), strict=True):
        for _ in range(steps):
            gradient = (MATRIX + MATRIX.T) @ row
            if norm == "linf":
                row += size * np.sign(gradient)
                row[:] = np.minimum(np.maximum(row, origin - EPSILON), origin + EPSILON)
            else:
                row += size * gradient / np.linalg.norm(gradient)
                length = np.linalg.norm(row - origin)
                if length > EPSILON:
                    row[:] = origin + (row - origin) * EPSILON / length
            if clip is not None:
                low, high = np.minimum(clip[0], origin), np.maximum(clip[1], origin)
                row[:] = np.minimum(np.maximum(row, low), high)
    return result


@pytest.mark.parametrize("options", [{}, {"kind": "pgd"}, {"kind": "pgd", "steps": 30}])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_loss_of_a_logistic_regression_is_raised_as_far_as_can_be(norm, options):
    moved = perturb_data(CLEAN, EPSILON, loss=logistic, norm=norm, **options).numpy()
    way = {"linf": np.sign(KERNEL), "l2": KERNEL / np.linalg.norm(KERNEL)}[norm]
    np.testing.assert_allclose(moved, CLEAN - EPSILON * SIGNS * way, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({"kind": "fgsm", "step_size": 0.03, "steps": 9}, 0.03),
        ({"kind": "fgsm", "step_size": 0.3}, EPSILON),
        ({"kind": "pgd", "step_size": 0.02, "steps": 3}, 0.06),
        ({"kind": "pgd", "step_size": 0.02, "steps": 12}, EPSILON),
        ({"kind": "pgd", "steps": 1}, EPSILON),
    ],
)
def test_steps_are_as_long_and_as_many_as_asked_for(options, reached, norm):
    moved = perturb_data(CLEAN, EPSILON, loss=logistic, norm=norm, **options).numpy()
    order = {"linf": np.inf, "l2": 2}[norm]
    lengths = np.linalg.norm(moved - CLEAN, ord=order, axis=1)
    np.testing.assert_allclose(lengths, reached, atol=1e-6)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 4, 13])
def test_pgd_is_that_of_a_numpy_loop(steps, norm, clip):
    options = {"steps": steps, "norm": norm, "clip": clip}
    moved = perturb_data(CLEAN, EPSILON, "pgd", loss=quadratic, **options).numpy()
    expected = climb(CLEAN, CLEAN, steps, 2.5 * EPSILON / steps, norm, clip)
    np.testing.assert_allclose(moved, expected, atol=2e-5)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["gaussian", "fgsm", "pgd"])
def test_it_stays_in_the_ball_and_in_the_range(kind, norm, random_start, clip):
    for seed in range(4):
        random = np.random.default_rng(seed)
        epsilon = float(10 ** random.uniform(-3, 0.5))
        features = {
            "numeric_a": random.normal(size=(30, 1)).astype(np.float32),
            "dense_b": random.normal(size=(30, 3)).astype(np.float32),
        }

        def loss(moved):
            joined = tf.concat([moved["numeric_a"], moved["dense_b"]], axis=1)
            return quadratic(joined)

        moved = perturb_data(
            features,
            epsilon,
            kind,
            loss=loss,
            norm=norm,
            random_start=random_start,
            clip=clip,
            step_size=epsilon * float(random.uniform(0.1, 5)),
            seed=seed,
        )
        clean = np.concatenate(list(features.values()), axis=1)
        moved = np.concatenate([moved[name] for name in features], axis=1)
        order = {"linf": np.inf, "l2": 2}[norm]
        lengths = np.linalg.norm(moved - clean, ord=order, axis=1)
        assert lengths.max() <= epsilon * (1 + 1e-5) + 1e-6
        assert lengths.max() > 0.1 * epsilon
        if clip is not None:
            # One that is outside moves no farther away.
            assert (moved >= np.minimum(clip[0], clean)).all()
            assert (moved <= np.maximum(clip[1], clean)).all()


@pytest.mark.parametrize("kind", ["gaussian", "fgsm", "pgd"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_ball_of_radius_zero_is_the_clean_features(kind, norm):
    moved = perturb_data(CLEAN, 0, kind, loss=logistic, norm=norm, random_start=True)
    np.testing.assert_allclose(moved, CLEAN, atol=1e-7)


def test_noise_is_normal_and_cut_off_at_one_standard_deviation():
    moved = (
        perturb_data(np.zeros((2000, 50), np.float32), 0.5, "gaussian").numpy() / 0.5
    )
    normal = scipy.stats.norm
    assert moved.mean() == pytest.approx(0, abs=0.01)
    assert moved.var() == pytest.approx(1 - 2 * normal.pdf(1), abs=0.01)
    assert np.mean(np.abs(moved) == 1) == pytest.approx(2 * normal.sf(1), abs=0.01)
    inner = moved[np.abs(moved) < 1]
    assert scipy.stats.kstest(inner, scipy.stats.truncnorm(-1, 1).cdf).pvalue > 0.01


def test_a_random_start_is_uniform_in_the_ball():
    clean = np.zeros((4000, 3), np.float32)

    def start(norm, seed):
        return perturb_data(
            clean,
            2.0,
            loss=lambda features: tf.reduce_sum(features, axis=1),
            step_size=1e-9,
            random_start=True,
            norm=norm,
            seed=seed,
        ).numpy()

    box = start("linf", 0)
    uniform = scipy.stats.uniform(-2, 4)
    assert all(
        scipy.stats.kstest(column, uniform.cdf).pvalue > 0.01 for column in box.T
    )
    ball = start("l2", 0)
    volumes = (np.linalg.norm(ball, axis=1) / 2) ** 3
    assert scipy.stats.kstest(volumes, "uniform").pvalue > 0.01
    np.testing.assert_allclose(ball.mean(axis=0), 0, atol=0.05)
    assert (start("l2", 1) != ball).all()
    np.testing.assert_array_equal(start("l2", 0), ball)
    np.testing.assert_array_equal(start("l2", tf.constant([0, 0])), ball)


FEATURES = {
    "numeric_a": np.float32([[0.1], [0.2], [0.3]]),
    "numeric_b": np.float32([[0.0], [1.0], [0.0]]),
    "missing_b": np.float32([[1.0], [0.0], [1.0]]),
    "dense_c": np.float32([[0, 0], [0, 0], [1, 2]]),
    "missing_c": np.float32([[1.0], [1.0], [0.0]]),
    "categorical_d": np.int32([[1], [2], [3]]),
    "bucket_a": np.int32([[1], [2], [3]]),
    "other": np.float32([[1], [2], [3]]),
}
# What may move: a always, b and c where they are not missing.
FREE = {
    "numeric_a": np.array([[True], [True], [True]]),
    "numeric_b": np.array([[False], [True], [False]]),
    "dense_c": np.array([[False, False], [False, False], [True, True]]),
}


def total(features):
    """Sum of all features, a row: its gradient is 1 everywhere; [B]."""
    return tf.add_n(
        [tf.reduce_sum(tf.cast(f, tf.float32), axis=1) for f in features.values()]
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["gaussian", "fgsm", "pgd"])
def test_only_numbers_that_are_there_move(kind, norm):
    options = {"loss": total, "norm": norm, "random_start": True, "clip": (0.05, 9)}
    moved = perturb_data(FEATURES, EPSILON, kind, **options)
    assert list(moved) == list(FEATURES)
    for name, clean in FEATURES.items():
        changed = moved[name].numpy() != clean
        np.testing.assert_array_equal(changed, FREE.get(name, np.zeros_like(changed)))
        assert moved[name].dtype == clean.dtype


def test_the_euclidean_ball_is_over_all_features_that_move_together():
    moved = perturb_data(FEATURES, EPSILON, loss=total, norm="l2")
    lengths = np.sqrt([1, 2, 3])[:, None]  # a; a and b; a and both of c
    for name, free in FREE.items():
        expected = FEATURES[name] + free * EPSILON / lengths
        np.testing.assert_allclose(moved[name], expected, atol=1e-6)


def test_frozen_features_stay_and_movable_ones_are_as_named():
    moved = perturb_data(FEATURES, EPSILON, loss=total, frozen=["numeric_a"])
    np.testing.assert_array_equal(moved["numeric_a"], FEATURES["numeric_a"])
    assert (moved["dense_c"].numpy() != FEATURES["dense_c"]).any()
    moved = perturb_data(FEATURES, EPSILON, loss=total, movable=["other"])
    np.testing.assert_allclose(moved["other"], FEATURES["other"] + EPSILON)
    for name in FREE:
        np.testing.assert_array_equal(moved[name], FEATURES[name])


def test_what_does_not_move_is_not_copied():
    clean = {name: tf.constant(value) for name, value in FEATURES.items()}
    moved = perturb_data(clean, EPSILON, loss=total, frozen=["numeric_a"])
    for name in ("numeric_a", "missing_b", "categorical_d", "bucket_a", "other"):
        assert moved[name] is clean[name]


def test_no_gradient_flows_through_what_moved():
    features = tf.Variable(CLEAN)
    with tf.GradientTape() as tape:
        moved = perturb_data(features, EPSILON, "pgd", loss=logistic)
    assert tape.gradient(moved, features) is None


def test_the_gradient_of_a_confident_model_is_not_lost():
    # exp(-80) fits in float32, its square does not.
    def loss(features):
        return tf.nn.softplus(tf.linalg.matvec(features, KERNEL) - 80.0)

    zeros = np.zeros((2, 4), np.float32)
    moved = perturb_data(zeros, EPSILON, loss=loss, norm="l2").numpy()
    expected = EPSILON * KERNEL / np.linalg.norm(KERNEL)
    np.testing.assert_allclose(moved, np.tile(expected, (2, 1)), atol=1e-6)


def test_no_gradient_is_no_move():
    for norm in ("linf", "l2"):
        moved = perturb_data(
            CLEAN,
            EPSILON,
            loss=lambda features: tf.reduce_sum(0.0 * features, axis=1),
            norm=norm,
        )
        np.testing.assert_array_equal(moved, CLEAN)


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16, tf.float64])
@pytest.mark.parametrize("kind", ["gaussian", "fgsm", "pgd"])
def test_other_kinds_of_floats_stay_what_they_are(kind, dtype):
    clean = tf.cast(CLEAN, dtype)
    moved = perturb_data(clean, EPSILON, kind, loss=logistic)
    assert moved.dtype == dtype
    exact = perturb_data(tf.cast(clean, tf.float32), EPSILON, kind, loss=logistic)
    rounding = {tf.bfloat16: 2**-8, tf.float16: 2**-11}.get(dtype, 1e-6)
    np.testing.assert_allclose(
        tf.cast(moved, tf.float32), exact, rtol=rounding, atol=rounding
    )
    way = tf.cast(moved, tf.float64) - tf.cast(clean, tf.float64)
    assert np.abs(way).max() <= EPSILON + 2**-7


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", ["gaussian", "fgsm", "pgd"])
def test_xla_and_an_unknown_batch_size_give_the_same(kind, norm):
    def perturb(features, seed):
        return perturb_data(
            features,
            EPSILON,
            kind,
            loss=quadratic,
            norm=norm,
            random_start=True,
            clip=(0, 1),
            steps=11,
            seed=seed,
        )

    seed = tf.constant([2**40 + 3, 7], tf.int64)
    expected = perturb(CLEAN, seed)
    compiled = tf.function(perturb, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(CLEAN, seed), expected, atol=1e-5)
    free = [tf.TensorSpec([None, 4]), tf.TensorSpec([2], tf.int64)]
    traced = tf.function(perturb, input_signature=free, autograph=False)
    np.testing.assert_allclose(traced(CLEAN, seed), expected, atol=1e-5)


def test_a_mean_loss_moves_as_losses_do():
    for norm in ("linf", "l2"):
        one = perturb_data(CLEAN, EPSILON, loss=logistic, norm=norm)
        other = perturb_data(
            CLEAN, EPSILON, loss=lambda f: tf.reduce_mean(logistic(f)), norm=norm
        )
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1}, "epsilon of a perturbation is -1; expected a number, at le"),
        ({"epsilon": float("nan")}, "epsilon .* nan; expected a number, at least 0"),
        ({"kind": "fsgm"}, "kind .* 'fsgm'; expected one of fgsm, pgd, gaussian"),
        ({"steps": 0}, "steps .* 0; expected a whole number, at least 1"),
        ({"step_size": 0}, "step_size .* 0; expected a number above 0, or null"),
        ({"random_start": 1}, "random_start .* 1; expected true or false"),
        ({"norm": "l1"}, "norm .* 'l1'; expected one of linf, l2"),
        ({"clip": (1, 0)}, r"clip .* \(1, 0\); expected a list of 2 numbers.*lower"),
        ({"clip": (0, 1, 2)}, "clip .*; expected a list of 2 numbers"),
        ({"frozen": "numeric_a"}, "frozen .* 'numeric_a'; expected a list of names"),
        ({"movable": "numeric_a"}, "movable .* 'numeric_a'; expected a list of names"),
        ({"frozen": ["a"]}, "frozen names the feature 'a', but .* bucket_a, cat"),
        ({"movable": ["a"]}, "movable names the feature 'a', but .* bucket_a, cat"),
        ({"movable": ["bucket_a"]}, "'bucket_a', which holds ids.*numeric_a, numeric"),
        ({"movable": ["missing_b"]}, "'missing_b', which holds ids or an indicator"),
        ({"frozen": list(FREE)}, "No feature can move: .*numeric_"),
        ({"movable": []}, "No feature can move"),
        ({"loss": None}, "fgsm follows the gradient of a loss.*pass loss="),
        ({"loss": lambda f: f["dense_c"]}, r"loss returned the shape \(3, 2\); expec"),
        (
            {"loss": lambda f: tf.reduce_sum(f["other"])},
            "loss does not depend on .*numeric_a, numeric_b, dense_c",
        ),
    ],
)
def test_bad_input_is_named_with_what_is_legal(options, message):
    options = {"epsilon": EPSILON, "loss": total} | options
    with pytest.raises(ValueError, match=message):
        perturb_data(FEATURES, **options)


def test_bad_shapes_and_names_without_a_dict_are_refused():
    with pytest.raises(ValueError, match=r"shape \(4,\); expected \[B, width\]"):
        perturb_data({"numeric_a": tf.zeros([4])}, EPSILON, "gaussian")
    with pytest.raises(ValueError, match="frozen and movable name features.*dict"):
        perturb_data(CLEAN, EPSILON, "gaussian", frozen=["numeric_a"])
