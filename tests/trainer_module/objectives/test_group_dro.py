"""Group DRO against the paper's algorithm, written as a NumPy loop."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.objectives.steps import (
    Linear,
    built,
    draw,
    make_shapes,
    make_step,
    means,
)
from trainer_module import objectives


def losses(model, arrays):
    """Logistic losses [B]."""
    scores = (arrays["features"] @ model.kernel.numpy())[:, 0].astype(np.float64)
    labels = arrays["labels"][:, 0]
    return np.logaddexp(0, -np.where(labels > 0.5, scores, -scores))


def test_the_weights_and_the_value_are_those_of_a_numpy_loop():
    objective, model = built("group_dro", step_size=0.7), Linear()
    weights = np.full(4, 0.25)
    for seed, present in enumerate([(0, 1, 3), (0, 3), (1,), (0, 1, 3)]):
        arrays = draw(seed=seed)
        ids = arrays["environment_ids"]
        ids[~np.isin(ids, present)] = -1
        risks = means(losses(model, arrays), arrays, present)
        chosen = list(present)
        grown = weights[chosen] * np.exp(0.7 * risks)
        weights[chosen] = grown / grown.sum() * weights[chosen].sum()
        expected = np.sum(weights[chosen] * risks) / weights[chosen].sum()
        value = objective(make_step(model, arrays))
        assert float(value) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(objective.weights, weights, rtol=1e-5)
    assert weights[2] == 0.25  # never seen


@pytest.mark.parametrize("totals", [None, (100.0, 400.0, 9.0, 25.0)])
def test_the_adjustment_favours_small_environments(totals):
    objective = objectives.get("group_dro", step_size=0.5, adjustment=2.0)
    objective.build(make_shapes(environment_weights=totals))
    arrays, model = draw(), Linear()
    ids, weights = arrays["environment_ids"], arrays["sample_weights"]
    risks = means(losses(model, arrays), arrays)
    for index, environment in enumerate((0, 1, 3)):
        total = totals[environment] if totals else weights[ids == environment].sum()
        risks[index] += 2.0 / np.sqrt(total)
    shares = np.exp(0.5 * risks) / np.exp(0.5 * risks).sum()
    value = objective(make_step(model, arrays))
    assert float(value) == pytest.approx(np.sum(shares * risks), rel=1e-5)


def test_the_gradient_is_that_of_the_risks_under_fixed_weights():
    objective, model, arrays = built("group_dro", step_size=2.0), Linear(), draw()
    with tf.GradientTape() as tape:
        value = objective(make_step(model, arrays))
    gradient = tape.gradient(value, model.kernel).numpy()
    shares = objective.weights.numpy()[[0, 1, 3]] / 0.75
    labels = arrays["labels"]
    residuals = 1 / (1 + np.exp(-arrays["features"] @ model.kernel.numpy())) - labels
    slopes = means(residuals * arrays["features"], arrays)
    np.testing.assert_allclose(gradient[:, 0], shares @ slopes, rtol=1e-4, atol=1e-6)


def test_the_worst_environment_takes_all_and_nothing_overflows():
    objective, model, arrays = built("group_dro", step_size=1.0), Linear(), draw()
    model.kernel.assign(1e4 * model.kernel)
    risks = means(losses(model, arrays), arrays)
    assert max(risks) > 1000
    for _ in range(5):
        value = objective(make_step(model, arrays))
    assert float(value) == pytest.approx(max(risks), rel=1e-4)
    worst = (0, 1, 3)[int(np.argmax(risks))]
    assert float(objective.weights[worst]) == pytest.approx(0.75)
    # The others come back once they are the worst, however small they were.
    assert np.isfinite(objective.variables[0].numpy()).all()


def test_the_weights_are_state_and_not_the_optimizers():
    objective = built("group_dro")
    assert objective.replaces_risk
    assert objective.trainable_variables == ()
    np.testing.assert_allclose(objective.weights, [0.25] * 4)


def test_a_weight_for_each_environment_is_expected():
    with pytest.raises(ValueError, match="environment_weights has 2 .* the 4 envi"):
        objectives.get("group_dro").build(make_shapes(environment_weights=(1.0, 2.0)))
