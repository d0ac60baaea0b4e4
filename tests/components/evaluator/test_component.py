"""The component's contract, and what it refuses before anything runs."""

import json

import pytest
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base import executor_spec
from tfx.types import channel_utils, standard_artifacts

from components.evaluator.component import Evaluator
from components.evaluator.executor import Executor


def channel(artifact_type):
    return channel_utils.as_channel([artifact_type()])


def make(**changes):
    arguments = {
        "examples": channel(standard_artifacts.Examples),
        "model": channel(standard_artifacts.Model),
        "eval_config": "{}",
        "options": {"label": "late"},
        **changes,
    }
    return Evaluator(**arguments)


def test_its_exec_properties_are_strings():
    config = tfma.EvalConfig(slicing_specs=[tfma.SlicingSpec(feature_keys=["carrier"])])
    component = make(
        eval_config=config,
        example_splits=["eval"],
        options={"label": "y", "weight": "w"},
    )
    properties = component.exec_properties
    assert set(properties) == {"eval_config", "example_splits", "options", "code"}
    assert json.loads(properties["eval_config"]) == {
        "slicing_specs": [{"feature_keys": ["carrier"]}]
    }
    assert properties["example_splits"] == '["eval"]'
    assert json.loads(properties["options"]) == {"label": "y", "weight": "w"}


def test_its_channels():
    component = make(baseline_model=channel(standard_artifacts.Model))
    assert set(component.inputs) == {"examples", "model", "baseline_model"}
    assert set(component.outputs) == {"evaluation"}
    assert component.outputs["evaluation"].type is standard_artifacts.ModelEvaluation
    assert set(make().inputs) == {"examples", "model"}
    assert json.loads(make().exec_properties["example_splits"]) == ["eval", "ood"]


def test_its_executor_runs_on_beam():
    spec = Evaluator.EXECUTOR_SPEC
    assert isinstance(spec, executor_spec.BeamExecutorSpec)
    assert spec.executor_class is Executor


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"options": {"label": "y", "min": 1}}, "unknown key 'min'"),
        ({"options": {}}, "'label' is missing"),
        ({"example_splits": []}, "example_splits"),
        ({"eval_config": '{"cross_slicing_specs": [{}]}'}, "cross_slicing_specs"),
    ],
)
def test_mistakes_are_refused_when_it_is_made(changes, says):
    with pytest.raises(ValueError, match=says):
        make(**changes)
