"""The `tfma.EvalConfig` of each task is one that the Evaluator takes."""

from types import SimpleNamespace

import pytest
from google.protobuf import json_format

from components.evaluator import settings
from pipeline.eval_config import eval_config


@pytest.mark.parametrize("task", settings.TASKS)
def test_the_evaluator_takes_it_and_measures_what_it_names(task):
    config = SimpleNamespace(
        task=task,
        data=SimpleNamespace(label=SimpleNamespace(name="y")),
        evaluate=SimpleNamespace(slices=(("carrier",), ("environment", "carrier"))),
    )
    made = eval_config(config)
    options = settings.Options("y", task=task)
    read = settings.parse_eval_config(json_format.MessageToJson(made), options)
    assert settings.slices_of(read) == [
        (),
        ("environment",),
        ("carrier",),
        ("environment", "carrier"),
    ]
    (spec,) = made.metrics_specs
    named = {metric.class_name for metric in spec.metrics}
    assert named == set(settings.METRIC_NAMES[task])
