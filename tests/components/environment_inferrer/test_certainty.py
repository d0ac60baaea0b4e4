"""What is in the data is certain, what is in the fit is not."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from components.environment_inferrer import certainty, eiil, rule
from trainer_module import penalties

RANDOM = np.random.default_rng(0)


def sample(informative, rows=2400, seed=0):
    """Rows whose first entry is the label's sign in 85 %, or in half of them."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    right = random.uniform(size=rows) < (0.85 if informative else 0.5)
    entries = random.normal(size=(rows, 5)).astype(np.float32)
    entries[:, 0] = np.where(labels == right, 1, -1)
    keys = random.integers(0, 2**63, rows).astype(np.uint64)
    return rule.Sample(entries, labels, keys, np.ones(rows))


@pytest.mark.parametrize("method", ["eiil", "clusters"])
def test_a_shortcut_is_certain(method):
    settings = rule.Settings(method=method)
    rows = sample(True)
    slices = {"sign": slice(0, 1), "rest": slice(1, 5)}
    found = certainty.measure(rows, rule.fit(rows, settings), settings, slices)
    assert found["problems"] == []
    assert found["stability"]["mean"] > 0.8
    assert next(iter(found["told_by"])) == "sign"
    assert (found["silhouette"] is None) == (method == "eiil")


def test_noise_is_not():
    settings = rule.Settings()
    rows = sample(False)
    found = certainty.measure(rows, rule.fit(rows, settings), settings, {})
    assert found["stability"]["mean"] < 0.3
    assert found["separation"]["penalty"] > found["separation"]["random"]  # as always
    assert "cannot tell the label" in found["problems"][0]
    assert "adjusted Rand index" in found["problems"][1]


def test_the_penalty_is_that_of_training():
    logits, labels = RANDOM.normal(size=300), RANDOM.integers(0, 2, 300)
    environments = RANDOM.integers(0, 3, 300)
    batch = penalties.EnvironmentBatch(
        tf.constant(logits[:, None], tf.float32),
        tf.constant(labels[:, None]),
        tf.constant(environments, tf.int32),
        num_environments=3,
    )
    gradients = eiil.scale_gradients(logits, labels)
    found = certainty.penalty(gradients, environments, 3)
    expected = float(penalties.get("irm_v1")(batch))
    assert found == pytest.approx(expected, rel=1e-5)


def test_random_environments_are_no_more_apart_than_random_ones():
    smaller = [
        certainty.separation(
            RANDOM.normal(size=200), RANDOM.integers(0, 2, 200), 2, seed
        )["p"]
        for seed in range(200)
    ]
    assert np.mean(np.array(smaller) <= 0.05) < 0.12
    assert 0.4 < np.mean(smaller) < 0.6


def test_the_interval_of_an_auc_covers_the_truth():
    truth, hits = norm.cdf(1 / np.sqrt(2)), 0  # of two normals a unit apart
    for _ in range(300):
        labels = np.arange(200) % 2
        area, low, high = certainty.auc_with_interval(
            labels + RANDOM.normal(size=200), labels
        )
        assert low < area < high
        hits += low <= truth <= high
    assert hits >= 300 * 0.92


def test_telling_is_the_adjusted_share_that_a_linear_fit_explains():
    rows = sample(True, 400)
    environments = (rows.rows[:, 1] + RANDOM.normal(size=400) > 0).astype(int)
    found = certainty.telling(rows, environments, {"two": slice(1, 3)})["two"]
    expected = 0.0
    for label in (0, 1):
        x, y = rows.rows[rows.labels == label, 1:3], environments[rows.labels == label]
        share = LinearRegression().fit(x, y).score(x, y)
        expected += (1 - (1 - share) * (len(y) - 1) / (len(y) - 3)) / 2
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": {"auc": 0.52, "low": 0.49, "high": 0.55}}, "cannot tell"),
        ({"stability": {"mean": 0.64}}, "0.64, and 0.65 is needed"),
        ({"separation": {"penalty": 1e-4, "random": 1e-4}}, "no more than on random"),
        ({"silhouette": 0.25}, "run into each other"),
    ],
)
def test_each_poor_figure_is_a_problem(change, said):
    good = {
        "reference": {"auc": 0.8, "low": 0.7, "high": 0.9},
        "stability": {"mean": 0.65},
        "separation": {"penalty": 1.0, "random": 0.1},
        "silhouette": 0.26,
    }
    settings = rule.Settings()
    assert certainty.problems(good, settings) == []
    (found,) = certainty.problems({**good, **change}, settings)
    assert said in found
    lenient = dataclasses.replace(settings, min_stability=0.1)
    assert bool(certainty.problems({**good, **change}, lenient)) == (
        "stability" not in change
    )
