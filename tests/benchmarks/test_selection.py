"""The benchmark of the rules, on a few made-up pictures."""

import dataclasses

import numpy as np
import pytest

from benchmarks import selection as benchmark
from trainer_module import selection


@pytest.fixture
def small(monkeypatch):
    """Pictures whose upper half is bright where the digit is below 5."""
    monkeypatch.setattr(benchmark, "TRAIN", 300)
    monkeypatch.setattr(benchmark, "EVAL", 200)
    monkeypatch.setattr(benchmark, "TEST", 400)
    settings_of = benchmark.settings_of

    def shorter(*arguments):
        return dataclasses.replace(settings_of(*arguments), steps=300, log_every=300)

    monkeypatch.setattr(benchmark, "settings_of", shorter)
    random = np.random.default_rng(0)
    digits = random.integers(0, 10, size=60_000)
    pictures = random.integers(0, 60, size=(60_000, 28, 28), dtype=np.uint8)
    pictures[digits < 5, :14] += 150
    return pictures, digits


def test_train_eval_and_test_have_no_picture_in_common(small):
    train, evaluation, test = benchmark.splits_of(small, seed=0)
    assert train.counts.tolist() == [300, 300]
    assert evaluation.counts.tolist() == [200, 200]
    rows = [
        {row.tobytes() for row in part}
        for part in (
            train.memory[0].numpy()[:, :-1],
            evaluation.memory[0].numpy()[:, :-1],
            test[0],
        )
    ]
    assert [len(part) for part in rows] == [600, 400, 400]
    assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])


def test_a_search_gives_trials_with_test_accuracies_beside_what_rules_see(small):
    found = benchmark.search(small, 0, trials=4, rule="training_environments")
    assert [record["method"] for record in found] == ["erm"] * 2 + ["irm_v1"] * 2
    assert all(0 <= record["test"] <= 100 for record in found)
    assert [record["settings"]["weights"] for record in found[:2]] == [[1.0], [1.0]]
    by_risk = min(found, key=lambda record: record["mean_risk"])
    assert benchmark.chosen(found, "training_environments") == by_risk["test"]
    for rule in selection.RULES[:2]:
        changed = [{**record, "test": 50.0} for record in found]
        assert benchmark.chosen(changed, rule) == 50.0
