"""Trainer: TFX's, with the method as a parameter of a run."""

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter
from tfx.utils import json_utils

from components import code
from components.trainer import custom_job, executor, variants, vertex_executor


class TrainerSpec(standard_component_specs.TrainerSpec):
    """Contract of Trainer."""

    PARAMETERS = {
        **standard_component_specs.TrainerSpec.PARAMETERS,
        variants.METHOD_KEY: ExecutionParameter(type=str, optional=True),
        custom_job.JOB_KEY: ExecutionParameter(type=str, optional=True),
        code.CODE_KEY: ExecutionParameter(type=str),
    }


class Trainer(base_component.BaseComponent):
    """TFX's Trainer, which a parameter of a run tells the method to train with.

    Outputs `model` and `model_run`, as TFX's. A failure leaves `error.json`.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        run_fn: str,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        transform_graph: types.BaseChannel,
        custom_config: Mapping[str, Any],
        methods: Mapping[str, Mapping[str, Any]] | None = None,
        method: str | data_types.RuntimeParameter | None = None,
        job: custom_job.Job | None = None,
    ):
        """Makes the component.

        Args:
          run_fn: dotted name of the function that trains.
          examples: `Examples` with the splits `train` and `eval`.
          schema: of them.
          transform_graph: of Transform.
          custom_config: what `run_fn` is told.
          methods: what it is told instead under another method, by name.
          method: one of these names; empty or None for `custom_config` itself.
          job: the custom job of Vertex AI to train in; None to train in the stage.

        Raises:
          ValueError: `method` is a name, and none of `methods`.
        """
        if isinstance(method, str) and method and method not in (methods or {}):
            raise ValueError(
                f"{method!r} is none of the methods {sorted(methods or ())}"
            )
        told = variants.with_variants(custom_config, methods or {})
        spec = TrainerSpec(
            examples=examples,
            schema=schema,
            transform_graph=transform_graph,
            run_fn=run_fn,
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
            custom_config=json_utils.dumps(told),
            method=method,
            job=None if job is None else job.to_json(),
            code=code.of_component(__file__),
            model=types.Channel(type=standard_artifacts.Model),
            model_run=types.Channel(type=standard_artifacts.ModelRun),
        )
        elsewhere = executor_spec.ExecutorClassSpec(vertex_executor.Executor)
        super().__init__(
            spec=spec, custom_executor_spec=None if job is None else elsewhere
        )
