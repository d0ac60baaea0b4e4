"""Reading `custom_config`."""

import pytest

from trainer_module.settings import (
    FeatureSettings,
    ImportanceSettings,
    MethodSettings,
    TrainSettings,
)

MINIMUM = {"label": "late", "environments": ["a", "b"]}


def test_a_minimal_config_takes_the_defaults():
    settings = TrainSettings.from_config(MINIMUM)
    assert settings.methods == (MethodSettings("erm"),)
    assert (settings.steps, settings.batch_size, settings.outputs) == (2000, 1024, 1)
    assert settings.importance is None
    assert settings.columns.environment == "environment"
    assert settings.columns.reserved == {"late", "environment"}
    assert settings.model.hidden == (256, 128)


def test_a_full_config_is_read():
    settings = TrainSettings.from_config(
        MINIMUM
        | {
            "weight": "importance",
            "exclude": ["x"],
            "methods": ["erm", {"name": "v_rex", "weight": 3, "options": {}}],
            "schedule": {
                "kind": "linear",
                "anneal_steps": 9,
                "initial_weight": 0.5,
                "reset_optimizer": True,
            },
            "importance": {"target": "b", "clip": 4, "hidden": [8]},
            "task": "multiclass",
            "classes": 10,
            "steps": 5,
            "seed": 3,
            "model": {"hidden": [4], "build": None},
            "features": None,
            "code": "fingerprint",
        }
    )
    assert settings.method == "erm+v_rex"
    assert settings.methods[1].weight == 3.0
    assert (settings.schedule, settings.anneal_steps) == ("linear", 9)
    assert (settings.initial_weight, settings.reset_optimizer) == (0.5, True)
    assert settings.importance == ImportanceSettings("b", clip=4, hidden=(8,))
    assert settings.columns.reserved == {"late", "environment", "importance", "x"}
    assert (settings.outputs, settings.seed, settings.steps) == (10, 3, 5)
    assert settings.model.hidden == (4,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "no 'label'"),
        ({"environments": []}, "no 'environments'"),
        ({"methods": [{"name": "irm"}]}, "'irm'.*erm, fishr.*irm_v1.*wasserstein"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 1}, "batch_size is 1.*2 training environments"),
        ({"model": {"hiden": [3]}}, "model.*'hiden'.*hidden"),
        ({"task": "multiclass"}, "classes is None"),
        (
            {"importance": {"target": "c"}},
            "target is 'c'; expected one of pooled, a, b",
        ),
        ({"importance": {"clipp": 2}}, "importance.*'clipp'.*target, clip, hidden"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings.from_config(MINIMUM | change)


def test_features_refuse_unknown_keys_and_one_bucket():
    with pytest.raises(ValueError, match="features.*'numerical'.*numeric"):
        FeatureSettings.from_config({"numerical": []})
    with pytest.raises(ValueError, match="bucketized.age is 1"):
        FeatureSettings.from_config({"bucketized": {"age": 1}})
