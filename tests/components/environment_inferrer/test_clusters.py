"""Clusters of residual features."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from components.environment_inferrer import clusters

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 2000)
AGREES = RANDOM.uniform(size=2000) < 0.85
SIGN = np.where(LABELS == AGREES, 1.0, -1.0)
ROWS = np.column_stack([SIGN, RANDOM.normal(size=(2000, 4))]).astype(np.float32)
LOGITS = 1.7 * SIGN  # what the best model makes of a sign that is right in 85 %
WEIGHTS = np.ones(2000)


def test_a_shortcut_parts_the_rows():
    found = clusters.fit(ROWS, LOGITS, LABELS, WEIGHTS, 2, 0)
    assigned = found.assign(ROWS, LOGITS, LABELS)
    assert adjusted_rand_score(assigned, AGREES) > 0.99
    assert np.mean(assigned == 0) > 0.8  # the larger is the first


def test_sizes_are_those_of_the_data_that_rows_stand_for():
    weights = np.where(AGREES, 1.0, 50.0)
    found = clusters.fit(ROWS, LOGITS, LABELS, weights, 2, 0)
    assert np.mean(found.assign(ROWS, LOGITS, LABELS) == 0) < 0.2


def test_the_nearest_centre_is_taken():
    found = clusters.fit(ROWS, LOGITS, LABELS, WEIGHTS, 3, 0)
    points = found.project(ROWS, LOGITS, LABELS)
    distances = [[np.sum((p - c) ** 2) for c in found.centres] for p in points]
    expected = np.argmin(distances, axis=1)
    np.testing.assert_array_equal(found.assign(ROWS, LOGITS, LABELS), expected)


def test_loadings_are_correlations():
    rows = np.column_stack([ROWS, np.ones(2000, np.float32)])
    expected = [abs(np.corrcoef(column, LOGITS)[0, 1]) for column in ROWS.T]
    found = clusters.loadings(rows, LOGITS)
    np.testing.assert_allclose(found, [*expected, 0], atol=1e-5)
