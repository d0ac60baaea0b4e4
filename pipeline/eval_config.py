"""Config to `tfma.EvalConfig`: slices by feature, metrics by name; pure."""

import json
from typing import Any

from components.evaluator.settings import METRIC_NAMES
from pipeline.config import ENVIRONMENT, PipelineConfig


def slices(config: PipelineConfig) -> list[list[str]]:
    """Features of every slice: overall (empty), environment, then the config's own."""
    found: list[list[str]] = [[], [ENVIRONMENT]]
    for cross in config.evaluate.slices:
        if list(cross) not in found:
            found.append(list(cross))
    return found


def eval_config(config: PipelineConfig) -> Any:
    """What the Evaluator is to measure, without a threshold: it decides nothing."""
    import tensorflow_model_analysis as tfma

    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(label_key=config.data.label.name)],
        slicing_specs=[
            tfma.SlicingSpec(feature_keys=features) for features in slices(config)
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(
                        class_name=class_name, config=json.dumps({"name": name})
                    )
                    for class_name, name in METRIC_NAMES[config.task].items()
                ]
            )
        ],
    )
