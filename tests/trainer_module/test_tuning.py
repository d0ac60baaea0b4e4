"""The tuner on the toy problem: what it draws, sees, survives and names."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer_module.toy import CONFIG, FEATURES, coloured, make_split
from trainer_module import selection, tuning
from trainer_module.errors import SetupError
from trainer_module.settings import TrainSettings

SPACE = tuning.Space(
    weight=(100.0, 10_000.0),
    anneal_steps=(10, 60),
    learning_rate=(0.005, 0.02),
    width=(0.5, 1.0),
)


def make_tuner(folder, rule="invariance", trials=4, space=SPACE, **changes):
    config = {
        "methods": [{"name": "irm_v1", "weight": 1.0}],
        "schedule": {"kind": "step", "anneal_steps": 40},
        "steps": 400,
    }
    settings = TrainSettings.from_config(CONFIG | config | changes)
    return tuning.InvarianceTuner(
        settings, FEATURES, space, trials=trials, rule=rule, folder=str(folder)
    )


def splits():
    return {
        "train": make_split(*coloured((0.1, 0.2), seed=0)),
        "evaluation": make_split(*coloured((0.1, 0.2), seed=1)),
    }


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    tuner = make_tuner(tmp_path_factory.mktemp("searched"))
    tuner.search(**splits())
    return tuner


def test_the_first_trial_is_the_config_and_the_others_are_drawn(searched):
    drawn = [trial["settings"] for trial in searched.results["trials"]]
    assert len(drawn) == 4
    first = {"weights": [1.0], "anneal_steps": 40, "learning_rate": 0.05, "hidden": [8]}
    assert drawn[0] == first
    for settings in drawn[1:]:
        assert 100 <= settings["weights"][0] <= 10_000
        assert 10 <= settings["anneal_steps"] <= 60
        assert 0.005 <= settings["learning_rate"] <= 0.02
        assert settings["hidden"] in ([4], [8])
    assert len({settings["learning_rate"] for settings in drawn}) == 4


def test_the_seed_decides_what_is_drawn(searched, tmp_path):
    again = make_tuner(tmp_path)
    drawn = [again.oracle.create_trial(f"{i}").hyperparameters for i in range(4)]
    for values, trial in zip(drawn, searched.results["trials"], strict=True):
        assert values.values == trial["hyperparameters"]


def test_it_names_what_the_rule_names(searched):
    results = searched.results
    trials = [
        selection.Trial([selection.Score(**s) for s in trial["scores"]])
        for trial in results["trials"]
    ]
    assert results["rule"] == "invariance"
    assert results["environments"] == ["first", "second"]
    assert results["chosen"] == selection.choose(trials, "invariance")
    best = searched.get_best_hyperparameters()[0].values
    assert best == results["trials"][results["chosen"]]["hyperparameters"]
    for trial, entry in zip(trials, results["trials"], strict=True):
        assert entry["slope_spread"] == trial.slope_spread
        assert entry["counts"] == trial.counts


def test_invariance_prefers_shape_to_colour(searched):
    """A heavy weight makes slopes agree; ERM's mean risk is the lowest."""
    trials = searched.results["trials"]
    chosen = trials[searched.results["chosen"]]
    assert chosen["slope_spread"] < 0.5 * trials[0]["slope_spread"]
    by_risk = min(trials, key=lambda trial: trial["mean_risk"])
    assert by_risk["slope_spread"] > chosen["slope_spread"]


def test_results_are_written_and_the_rest_removed(searched, tmp_path):
    folder = searched.directory
    searched.write_results(str(tmp_path))
    written = json.loads((tmp_path / "trials.json").read_text())
    assert written == searched.results
    assert not tf.io.gfile.exists(folder)


def test_leaving_one_out_trains_on_the_rest_and_scores_there(tmp_path):
    seen = []

    class Watched(tuning.InvarianceTuner):
        def train(self, settings, train, evaluation):
            rows = np.unique(train.memory[1].numpy()[:, -1])
            seen.append((train.environments, rows.tolist(), len(evaluation.counts)))
            return super().train(settings, train, evaluation)

    plain = make_tuner(tmp_path, "leave_one_environment_out", trials=1)
    tuner = Watched(
        plain._settings,
        FEATURES,
        SPACE,
        trials=1,
        rule="leave_one_environment_out",
        folder=str(tmp_path / "watched"),
    )
    tuner.search(**splits())
    assert seen == [
        (("first", "second"), [0, 1], 2),
        (("second",), [-1, 0], 1),
        (("first",), [-1, 0], 1),
    ]
    (trial,) = tuner.results["trials"]
    assert len(trial["left_out"]) == 2
    # Trained where the colour is right in 80 %, it is worse where that is 90 %: timid.
    assert trial["left_out"][0] != pytest.approx(trial["scores"][0]["risk"], abs=1e-4)


def test_a_search_that_was_killed_goes_on(tmp_path):
    class Killed(tuning.InvarianceTuner):
        trained = 0

        def train(self, *arguments):
            if self.trained == 2:
                raise KeyboardInterrupt
            self.trained += 1
            return super().train(*arguments)

    whole = make_tuner(tmp_path / "whole", trials=3)
    whole.search(**splits())
    arguments = dict(trials=3, rule="invariance", folder=str(tmp_path / "killed"))
    killed = Killed(whole._settings, FEATURES, SPACE, **arguments)
    with pytest.raises(KeyboardInterrupt):
        killed.search(**splits())
    again = Killed(whole._settings, FEATURES, SPACE, **arguments)
    again.search(**splits())
    assert again.trained == 1
    found, expected = again.results, whole.results
    assert len(found["trials"]) == 3
    for ours, theirs in zip(found["trials"][:2], expected["trials"][:2], strict=True):
        assert ours == theirs


def test_a_trial_whose_loss_is_not_finite_is_told_and_not_chosen(tmp_path):
    features, labels, ids = coloured((0.1, 0.2))
    labels[5] = np.nan
    parts = {**splits(), "train": make_split(features, labels, ids)}
    tuner = make_tuner(tmp_path, trials=5)
    tuner.search(**parts)
    results = tuner.results
    assert results["chosen"] is None
    assert len(results["trials"]) == 5
    assert all("'first'" in trial["error"] for trial in results["trials"])
    defaults = tuner.get_best_hyperparameters()[0]
    assert defaults.get("anneal_steps") == 40


def test_an_environment_without_eval_rows_is_named(tmp_path):
    features, labels, ids = coloured((0.1, 0.2))
    only = ids == 0
    parts = splits() | {
        "evaluation": make_split(features[only], labels[only], ids[only])
    }
    tuner = make_tuner(tmp_path, trials=1)
    with pytest.raises(ValueError, match="'second' has no rows in the eval split"):
        tuner._scored(tuner._settings, **parts)


def test_ends_that_are_equal_are_fixed(tmp_path):
    space = dataclasses.replace(
        SPACE, weight=(1.0, 1.0), anneal_steps=(40, 40), width=(2.0,)
    )
    settings = make_tuner(tmp_path)._settings
    found = space.hyperparameters(settings)
    assert found.get("weight") == 1.0
    assert found.get("anneal_steps") == 40
    assert found.get("width") == 2.0
    assert tuning.settings_of(settings, found.values).model.hidden == (16,)


def test_leaving_one_out_of_one_is_refused(tmp_path):
    with pytest.raises(SetupError, match="at least two training environments"):
        make_tuner(
            tmp_path, "leave_one_environment_out", environments=["first"], batch_size=5
        )
