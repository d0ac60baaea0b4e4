"""SourceManifest: lists and fingerprints the sources of a run."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import code
from components.artifacts import SourceManifest as ManifestArtifact
from components.source_manifest import executor, listing, spans


class SourceManifestSpec(types.ComponentSpec):
    """Contract of SourceManifest."""

    PARAMETERS = {
        executor.SOURCES_KEY: ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: ExecutionParameter(type=str, optional=True),
        executor.SPAN_KEY: ExecutionParameter(type=str, optional=True),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {executor.MANIFEST_KEY: ChannelParameter(type=ManifestArtifact)}


class SourceManifest(base_component.BaseComponent):
    """Lists every source file with its size and digest.

    Output `manifest` (`components.SourceManifest`): `manifest.json`.
    """

    SPEC_CLASS = SourceManifestSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(
        self,
        sources: list[dict[str, Any]],
        span: str | data_types.RuntimeParameter | None = None,
        fingerprint: data_types.RuntimeParameter | None = None,
    ):
        """Makes the component.

        Args:
          sources: JSON entries, see `components.source_manifest.listing`.
          span: the newest span to read of every source that has spans; empty or None
            for what the sources say.
          fingerprint: of the files, where whoever starts a run tells it; None where the
            driver does.

        Raises:
          ValueError: no source, one of an unknown format, or one with `spans` of which
            a pattern has none.
        """
        if not sources:
            raise ValueError("SourceManifest needs at least one source")
        for source in sources:
            if source["format"] not in listing.FORMATS:
                raise ValueError(
                    f"source of environment {source['environment']!r}: format"
                    f" {source['format']!r} is none of {', '.join(listing.FORMATS)}"
                )
            for pattern in source["patterns"] if "spans" in source else ():
                if spans.parse(pattern) is None:
                    raise ValueError(
                        f"source of environment {source['environment']!r}: it has"
                        f" `spans`, and its pattern {pattern!r} none"
                    )
        spec = SourceManifestSpec(
            sources=json.dumps(sources, sort_keys=True),
            span=span,
            fingerprint=fingerprint,
            code=code.of_component(__file__),
            manifest=types.Channel(type=ManifestArtifact),
        )
        super().__init__(spec=spec)
