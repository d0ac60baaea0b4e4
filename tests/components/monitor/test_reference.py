"""The released evaluation's scores as a stream sees them."""

import numpy as np
import pytest

from components.evaluator import distribution
from components.evaluator import statistics as st
from components.monitor import reference


def sketch_of(scores):
    rows = st.rows_of(np.zeros(len(scores)), scores, np.ones(len(scores)))
    zeros = np.zeros(len(scores), np.int64)
    (found,) = st.group(rows, zeros, zeros, 1)
    return distribution.score_sketch(found.coarse)[0]


def test_a_share_is_the_mean_of_its_ramp():
    scores = np.random.default_rng(1).beta(2, 5, 3_000)
    found = reference.below(sketch_of(scores))
    assert len(found) == 3
    for (low, high, share), q in zip(found, reference.QUANTILES, strict=True):
        assert reference.ramp(scores, low, high).mean() == pytest.approx(share)
        assert share == pytest.approx(q, abs=0.03)


def test_scores_in_one_place_are_told_once_or_not_at_all():
    places = reference.below(sketch_of(np.full(50, 0.3)))
    assert 1 <= len(places) <= 3
    assert reference.below(np.full(distribution.SCORE_BINS, np.nan)) == []
