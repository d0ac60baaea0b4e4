"""EnvironmentInferrer: environments for sources of which none is known."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import EnvironmentInference, SourceManifest
from components.environment_inferrer import executor
from components.environment_inferrer.rule import CLUSTERS, EIIL, Settings
from components.multi_env_example_gen import component as example_gen
from components.multi_env_example_gen import shards
from components.source_manifest.executor import MANIFEST_KEY


class EnvironmentInferrerSpec(types.ComponentSpec):
    """Contract of EnvironmentInferrer."""

    PARAMETERS = {
        executor.SPEC_KEY: ExecutionParameter(type=str),
        executor.SETTINGS_KEY: ExecutionParameter(type=str),
        executor.FEATURES_KEY: ExecutionParameter(type=str),
        executor.NEVER_KEY: ExecutionParameter(type=str),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {MANIFEST_KEY: ChannelParameter(type=SourceManifest)}
    OUTPUTS = {
        executor.INFERRED_KEY: ChannelParameter(type=SourceManifest),
        executor.INFERENCE_KEY: ChannelParameter(type=EnvironmentInference),
    }


class EnvironmentInferrer(base_beam_component.BaseBeamComponent):
    """Infers the environment of every row of the sources that name none.

    Outputs:
      inferred_manifest: `components.SourceManifest`, in which every file has its
        environment: the rows of the nameless sources as Parquet beside it, and the
        named (held-out) sources as they were. What MultiEnvExampleGen takes.
      inference: `components.EnvironmentInference`, `inference.json`: how certain the
        environments are, see `infer`.
    """

    SPEC_CLASS = EnvironmentInferrerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        manifest: types.BaseChannel,
        spec: shards.Spec,
        settings: Settings,
        features: Mapping[str, Any],
        never: Sequence[str] = (),
    ):
        """Makes the component.

        Args:
          manifest: of SourceManifest.
          spec: as MultiEnvExampleGen takes it: label, split, bad rows.
          settings: method, number, seed, what is certain enough.
          features: the config's `data.features`; all columns where it names none.
          never: columns that are no features.

        Raises:
          ValueError: an unknown method, a number that it cannot make.
        """
        if settings.method not in (EIIL, CLUSTERS):
            raise ValueError(
                f"method is {settings.method!r}; legal are {EIIL} and {CLUSTERS}"
            )
        if settings.number < 2 or (settings.method == EIIL and settings.number != 2):
            raise ValueError(
                f"number is {settings.number}; {EIIL} makes 2 environments, {CLUSTERS}"
                " 2 or more"
            )
        super().__init__(
            spec=EnvironmentInferrerSpec(
                manifest=manifest,
                spec=json.dumps(dataclasses.asdict(spec), sort_keys=True),
                settings=json.dumps(dataclasses.asdict(settings), sort_keys=True),
                features=json.dumps(features, sort_keys=True),
                never=json.dumps(sorted(never)),
                code=_code(),
                inferred_manifest=types.Channel(type=SourceManifest),
                inference=types.Channel(type=EnvironmentInference),
            )
        )


def _code() -> str:
    """Digest of this component and of ingestion, whose readers it uses."""
    own = code.of_component(__file__)
    readers = code.of_component(example_gen.__file__)
    return hashlib.blake2b((own + readers).encode(), digest_size=16).hexdigest()
