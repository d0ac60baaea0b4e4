"""eqrm against scipy's kernel density estimate, root finder and finite differences."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import tensorflow as tf

from trainer_module.penalties import EnvironmentBatch, eqrm


def quantile(risks, alpha):
    """Of scipy's estimate; the bracket is wide."""
    kernel = scipy.stats.gaussian_kde(risks, bw_method="silverman")
    spread = 10 * (np.ptp(risks) + 1e-9)
    return scipy.optimize.brentq(
        lambda q: kernel.integrate_box_1d(-np.inf, q) - alpha,
        risks.min() - spread,
        risks.max() + spread,
        xtol=1e-12,
    )


def value_and_gradient(risks, alpha):
    """Of a regression in which environment e has the risk risks[e]."""
    errors = tf.constant(np.sqrt(risks)[:, None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(errors)
        batch = EnvironmentBatch(
            errors,
            tf.zeros_like(errors),
            tf.range(len(risks)),
            len(risks) + 2,
            task="regression",
        )
        value = eqrm(batch, alpha=alpha)
    # d risk / d error = 2 error
    gradient = tape.gradient(value, errors)[:, 0] / (2 * errors[:, 0])
    return float(value), gradient.numpy()


RISKS = {
    "two": np.array([0.3, 0.8]),
    "five": np.array([0.31, 0.95, 0.4, 2.2, 0.7]),
    "an outlier": np.append(np.full(40, 0.5), 3.0),
    "two clusters": np.concatenate([np.linspace(0.1, 0.2, 30), np.linspace(5, 6, 30)]),
    "many": np.random.default_rng(0).gamma(2.0, size=300),
}


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.75, 0.95, 0.999])
@pytest.mark.parametrize("case", RISKS)
def test_it_is_the_quantile_of_the_kernel_density_estimate(case, alpha):
    risks = RISKS[case]
    value, _ = value_and_gradient(risks, alpha)
    kernel = scipy.stats.gaussian_kde(risks, bw_method="silverman")
    if case == "two clusters" and alpha == 0.5:
        # Flat between the clusters: many points have that share below them.
        assert kernel.integrate_box_1d(-np.inf, value) == pytest.approx(0.5, abs=1e-6)
    else:
        expected = quantile(risks, alpha)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-5 * np.ptp(risks))


@pytest.mark.parametrize("alpha", [0.25, 0.75, 0.95])
@pytest.mark.parametrize("case", ["two", "five", "an outlier", "many"])
def test_the_gradient_goes_through_risks_and_bandwidth(case, alpha):
    risks = RISKS[case]
    _, gradient = value_and_gradient(risks, alpha)
    step = 1e-6
    for index in range(0, len(risks), max(1, len(risks) // 5)):
        moved = [risks + sign * step * np.eye(len(risks))[index] for sign in (1, -1)]
        numeric = (quantile(moved[0], alpha) - quantile(moved[1], alpha)) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, rel=2e-3, abs=2e-5)
    # A shift of all risks shifts the quantile alike.
    assert gradient.sum() == pytest.approx(1.0, rel=1e-4)


def test_risks_are_weighted_means_of_logistic_losses():
    random = np.random.default_rng(3)
    logits, labels = random.normal(size=20), random.integers(0, 2, size=20)
    weights, ids = random.uniform(0.1, 2, size=20), random.permutation(20) % 4
    losses = np.log1p(np.exp(logits)) - labels * logits
    risks = np.array(
        [np.average(losses[ids == e], weights=weights[ids == e]) for e in range(4)]
    )
    batch = EnvironmentBatch(
        logits[:, None], labels[:, None], ids, 9, sample_weights=weights
    )
    assert float(eqrm(batch)) == pytest.approx(quantile(risks, 0.75), rel=1e-4)


@pytest.mark.parametrize("risks", [np.full(3, 0.6), np.array([0.6])])
def test_equal_risks_and_a_single_one_are_the_quantile_themselves(risks):
    value, gradient = value_and_gradient(risks, 0.9)
    assert value == pytest.approx(0.6)
    np.testing.assert_allclose(gradient, 1 / len(risks), rtol=1e-5)


def test_a_larger_alpha_moves_towards_and_past_the_largest_risk():
    risks = RISKS["five"]
    values = [value_and_gradient(risks, alpha)[0] for alpha in (0.1, 0.5, 0.9, 0.999)]
    assert values == sorted(values)
    assert values[-1] > risks.max()


def test_risks_that_differ_by_rounding_alone_have_a_finite_gradient():
    risks = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.5])
    value, gradient = value_and_gradient(risks, 0.75)
    assert value == pytest.approx(0.5, rel=1e-6)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() < 3
