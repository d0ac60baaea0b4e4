"""Pusher: releases the model that the verdict and the load check blessed."""

import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.utils import proto_utils

from components import code, digests
from components.artifacts import InvarianceReport
from components.model_card import card
from components.pusher import executor, release, vertex_executor
from components.pusher.target import ENDPOINT_KEY, Target

OVERRIDE_KEYS = ("who", "why", "digest", "expires")


class PusherSpec(types.ComponentSpec):
    """Contract of Pusher."""

    PARAMETERS = {
        executor.DESTINATION_KEY: ExecutionParameter(type=str),
        executor.OVERRIDE_KEY: ExecutionParameter(type=str),
        executor.STATE_KEY: ExecutionParameter(type=str, optional=True),
        ENDPOINT_KEY: ExecutionParameter(type=str, optional=True),
        code.CODE_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
        executor.INFRA_BLESSING_KEY: ChannelParameter(
            type=standard_artifacts.InfraBlessing
        ),
        executor.REPORT_KEY: ChannelParameter(type=InvarianceReport, optional=True),
    }
    OUTPUTS = {
        executor.PUSHED_KEY: ChannelParameter(type=standard_artifacts.PushedModel),
    }


class Pusher(base_component.BaseComponent):
    """TFX's Pusher whose blessings are not optional, and are of this very model.

    Output `pushed_model` (`PushedModel`): what was pushed, with `pushed`,
    `pushed_destination`, `pushed_version` and `digest`; or `not_pushed`, why not.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(
        self,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        directory: str,
        override: Mapping[str, str] | None = None,
        report: types.BaseChannel | None = None,
        endpoint: Target | None = None,
    ):
        """Makes the component.

        Args:
          model: of Trainer.
          blessing: of InvarianceValidator.
          infra_blessing: of ModelValidator; without a positive one nothing is pushed,
            override or not.
          directory: where the versions of the served model lie; may be a URL.
          override: lets one model pass that is not blessed: `who` answers for it,
            `why`, the model's `digest`, and when it `expires`, in ISO 8601 with a zone.
          report: of InvarianceValidator, which holds the model card; or None.
          endpoint: of Vertex AI that serves the version in `directory`, which is in a
            bucket then; None where whoever serves watches the directory.

        Raises:
          ValueError: an override with other keys, a digest or a time that is none.
        """
        if override is not None:
            digest = override.get("digest")
            if sorted(override) != sorted(OVERRIDE_KEYS):
                raise ValueError(f"an override has {', '.join(OVERRIDE_KEYS)}")
            if not digests.is_digest(digest):
                raise ValueError(f"{digest!r} is no digest of 32 hexadecimal digits")
            release.expiry(override)
        destination = pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=directory)
        )
        spec = PusherSpec(
            model=model,
            model_blessing=blessing,
            infra_blessing=infra_blessing,
            report=report,
            push_destination=proto_utils.proto_to_json(destination),
            override=json.dumps(override, sort_keys=True),
            endpoint=None if endpoint is None else endpoint.to_json(),
            code="".join(map(code.of_component, (__file__, card.__file__))),
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
        )
        elsewhere = executor_spec.ExecutorClassSpec(vertex_executor.Executor)
        super().__init__(
            spec=spec, custom_executor_spec=None if endpoint is None else elsewhere
        )
