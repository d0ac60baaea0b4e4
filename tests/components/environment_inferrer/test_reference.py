"""The reference is never asked about what it was fitted on."""

import numpy as np
from scipy.special import logit
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from components.environment_inferrer import reference

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(900, 20)).astype(np.float32)
KEYS = RANDOM.integers(0, 2**63, 900).astype(np.uint64)


def test_a_network_scores_as_scikit_learn_does(monkeypatch):
    labels = (ROWS[:, 0] > 0).astype(int)
    made = []

    class Seen(MLPClassifier):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    Seen.__init__.__signature__ = None
    monkeypatch.setattr(Seen, "_get_param_names", MLPClassifier._get_param_names)
    monkeypatch.setattr(reference, "MLPClassifier", Seen)
    network = reference.fit(ROWS, labels, 3)
    expected = logit(made[0].predict_proba(ROWS)[:, 1])
    np.testing.assert_allclose(network.logits(ROWS), expected, rtol=1e-3, atol=1e-3)


def test_noise_stays_noise_out_of_fold():
    labels = RANDOM.integers(0, 2, 900)
    twice = [np.concatenate([part, part]) for part in (ROWS, labels, KEYS)]
    rows, labels, keys = twice  # a row and its copy have one key, and one fold
    folds = reference.parts(keys, 0)
    model = reference.cross_fit(rows, labels, folds, 0)
    assert abs(roc_auc_score(labels, model.logits(rows, folds)) - 0.5) < 0.06
    seen = model.networks[0].logits(rows[folds != 0])
    assert roc_auc_score(labels[folds != 0], seen) > 0.56


def test_parts_are_of_keys_even_and_anew_by_seed():
    parts = reference.parts(KEYS, 1)
    assert (reference.parts(KEYS[::-1], 1)[::-1] == parts).all()
    assert (np.bincount(parts) > 250).all()
    agree = np.mean(reference.parts(KEYS, 2) == parts)
    assert abs(agree - 1 / 3) < 0.06


def test_the_same_seed_gives_the_same_network():
    labels = (ROWS[:, 0] + RANDOM.normal(size=900) > 0).astype(int)
    first, again = (reference.fit(ROWS, labels, 5).logits(ROWS) for _ in range(2))
    np.testing.assert_array_equal(first, again)
