"""MultiEnvExampleGen: the same problem from several environments, as Examples."""

import dataclasses
import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import SourceManifest
from components.multi_env_example_gen import executor, shards
from components.source_manifest.executor import MANIFEST_KEY


class MultiEnvExampleGenSpec(types.ComponentSpec):
    """Contract of MultiEnvExampleGen."""

    PARAMETERS = {
        executor.SPEC_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {MANIFEST_KEY: ChannelParameter(type=SourceManifest)}
    OUTPUTS = {
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples)
    }


class MultiEnvExampleGen(base_beam_component.BaseBeamComponent):
    """Ingests every environment into one Examples artifact.

    Output `examples`: splits `train`, `eval` (training environments) and `ood`
    (held-out ones), gzipped TFRecords of tf.Examples, each stamped with
    `environment` and labelled; custom property `counts` (see `counts`).
    """

    SPEC_CLASS = MultiEnvExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, manifest: types.BaseChannel, spec: shards.Spec):
        """Makes the component.

        Args:
          manifest: of SourceManifest.
          spec: label, split, slices to count.

        Raises:
          ValueError: an eval fraction outside (0, 1), a label without a name.
        """
        if not 0 < spec.eval_fraction < 1:
            raise ValueError(
                f"eval_fraction is {spec.eval_fraction}, and must lie between 0 and 1"
            )
        if not spec.label.get("name"):
            raise ValueError("the label needs a name")
        super().__init__(
            spec=MultiEnvExampleGenSpec(
                manifest=manifest,
                spec=json.dumps(dataclasses.asdict(spec), sort_keys=True),
                code=code.of_component(__file__),
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
