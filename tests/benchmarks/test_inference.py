"""How the benchmark of inferred environments measures agreement."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from benchmarks import inference

RANDOM = np.random.default_rng(0)


def environments(rows=400):
    """Pictures of one colour each, which agrees with the label in 80 and 90 %."""
    found = {}
    for name, noise in (("train_20", 0.2), ("train_10", 0.1), ("test", 0.9)):
        labels = RANDOM.integers(0, 2, rows)
        colours = labels ^ (RANDOM.uniform(size=rows) < noise)
        pixels = np.zeros((rows, 2, 3), np.float32)
        pixels[np.arange(rows), colours] = 0.5
        found[name] = (pixels.reshape(rows, 6), labels.astype(np.float32))
    return found


def test_the_better_naming_counts():
    assigned, target = RANDOM.integers(0, 2, 100), RANDOM.integers(0, 2, 100)
    expected = max(
        balanced_accuracy_score(target, assigned),
        balanced_accuracy_score(target, 1 - assigned),
    )
    for named in (assigned, 1 - assigned):
        found = inference.balanced_accuracy(named, target)
        assert found == pytest.approx(expected)


def test_a_split_by_colour_is_told_from_chance():
    known = environments()
    pixels, labels = inference.pooled(known)
    agrees = (pixels[:, 3] > 0) == (labels > 0)
    found = inference.agreement(known, agrees.astype(int), 0)
    assert found["colour"]["value"] == 1
    truth = np.repeat([0, 1], 400)
    share = abs(np.mean(agrees[truth == 0]) - np.mean(agrees[truth == 1]))
    assert found["truth"]["value"] == pytest.approx(0.5 + share / 2, abs=1e-4)
    low, high = found["truth"]["chance"]
    assert 0.5 <= low < high < 0.6


def test_the_test_environment_is_never_trained_on():
    known = environments()
    assigned = RANDOM.integers(0, 2, 800)
    for kind, names in (
        ("pooled", ["pooled", "test"]),
        ("inferred", ["inferred-1", "inferred-2", "test"]),
        ("true", ["train_20", "train_10", "test"]),
    ):
        made = inference.arranged(known, assigned, kind)
        assert list(made) == names
        assert made["test"] is known["test"]
        assert sum(len(made[name][1]) for name in names[:-1]) == 800
