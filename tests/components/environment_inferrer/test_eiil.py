"""The closed form is where the paper's ascent arrives."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from components.environment_inferrer import eiil


def rows(number, seed):
    random = np.random.default_rng(seed)
    return random.normal(0.3, 1.5, number), random.integers(0, 2, number)


def test_the_gradient_is_that_of_the_loss_in_a_scale():
    logits, labels = rows(200, 0)

    def losses(scale):
        return np.logaddexp(0, scale * logits) - labels * scale * logits

    step = 1e-5
    expected = (losses(1 + step) - losses(1 - step)) / (2 * step)
    found = eiil.scale_gradients(logits, labels)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_no_assignment_at_all_is_better(seed):
    logits, labels = rows(10, seed)
    gradients = eiil.scale_gradients(logits, labels)
    best = max(
        eiil.objective(np.array(q), gradients)
        for q in itertools.product((0, 0.5, 1), repeat=10)
    )
    found = eiil.assign(logits, labels)
    assert eiil.objective(found, gradients) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_the_ascent_of_the_paper_arrives_there(seed):
    """Algorithm 1: logits of q by Adam, the penalty by automatic differentiation."""
    logits, labels = rows(400, seed)
    z, y = tf.constant(logits, tf.float32), tf.constant(labels, tf.float32)
    start = tf.random.stateless_normal([400], [seed, 1])
    soft = tf.Variable(start)
    adam = {"m": tf.zeros(400), "v": tf.zeros(400)}

    @tf.function
    def gradient():
        with tf.GradientTape() as outer:
            q, total = tf.sigmoid(soft), 0.0
            for mine in (q, 1 - q):
                scale = tf.constant(1.0)
                with tf.GradientTape() as inner:
                    inner.watch(scale)
                    loss = tf.nn.sigmoid_cross_entropy_with_logits(y, scale * z)
                    risk = tf.reduce_mean(loss * mine)
                total += tf.square(inner.gradient(risk, scale))
        return outer.gradient(total, soft)

    for step in range(1, 501):
        slope = gradient()
        adam["m"] = 0.9 * adam["m"] + 0.1 * slope
        adam["v"] = 0.999 * adam["v"] + 0.001 * slope**2
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        soft.assign_add(rate * adam["m"] / (tf.sqrt(adam["v"]) + 1e-12))
    climbed = (soft.numpy() > 0).astype(int)
    found = eiil.assign(logits, labels)
    agreement = np.mean(climbed == found)
    assert max(agreement, 1 - agreement) > 0.99


def test_it_is_where_the_reference_is_wrong():
    logits = np.array([2.0, -2.0, 2.0, -2.0, 0.0])
    labels = np.array([1, 0, 0, 1, 1])
    assert eiil.assign(logits, labels).tolist() == [0, 0, 1, 1, 0]
