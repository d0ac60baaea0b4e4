"""Executor and driver of Pusher: blessing, model and folder in, a version out."""

import json
from typing import Any

from tfx.components.pusher import executor as tfx_pusher
from tfx.dsl.components.base import base_driver as component_driver
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto import pusher_pb2
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components import blessings
from components.artifact_files import read_json
from components.errors import DataError, tells_reason
from components.model_card import card as model_card
from components.pusher import release, versions

MODEL_KEY = standard_component_specs.MODEL_KEY
BLESSING_KEY = standard_component_specs.MODEL_BLESSING_KEY
INFRA_BLESSING_KEY = standard_component_specs.INFRA_BLESSING_KEY
DESTINATION_KEY = standard_component_specs.PUSH_DESTINATION_KEY
REPORT_KEY = "report"
PUSHED_KEY = standard_component_specs.PUSHED_MODEL_KEY
OVERRIDE_KEY = "override"
STATE_KEY = "state"

DECISION_FILE = "decision.json"
NOT_PUSHED_PROPERTY = "not_pushed"


class Driver(component_driver.BaseDriver, base_driver.BaseDriver):
    """Puts what is served, and whether an override has expired, into the cache key.

    Else a push would be answered from the cache after a rollback, or when another
    model was released meanwhile. Orchestrators that run no drivers (Kubeflow) must not
    cache this stage.
    """

    def __init__(self, metadata_handle: Any):
        """Takes the metadata store, which it does not ask."""
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def run(
        self, execution_info: data_types.ExecutionInfo
    ) -> driver_output_pb2.DriverOutput:
        """Looks into the folder of the versions."""
        properties = execution_info.exec_properties
        override = json.loads(properties.get(OVERRIDE_KEY) or "null")
        state = versions.state(_directory(properties))
        if override is not None:
            state += f" override in force: {release.in_force(override)}"
        output = driver_output_pb2.DriverOutput()
        output.exec_properties[STATE_KEY].string_value = state
        return output


class Executor(tfx_pusher.Executor):
    """Pushes what is blessed, or named by an override; idle without."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for keys.

        Not to push is a result; `not_pushed` on the output tells why.

        Raises:
          DataError: the model or the blessing is not what was judged, or a version was
            changed in its folder.
        """
        directory = _directory(exec_properties)
        self._check(directory)
        pushed = artifact_utils.get_single_instance(output_dict[PUSHED_KEY])
        blessed = artifact_utils.get_single_instance(input_dict[BLESSING_KEY])
        loads = input_dict.get(INFRA_BLESSING_KEY)
        if not loads or not self.CheckBlessing({INFRA_BLESSING_KEY: loads}):
            return self._idle(pushed, "it did not pass the load check")
        blessing = blessings.read(blessed)
        outcome = release.release(
            self.GetModelPath(input_dict),
            blessing,
            directory,
            json.loads(exec_properties.get(OVERRIDE_KEY) or "null"),
            self._told(artifact_utils.get_single_uri(input_dict[MODEL_KEY]))
            | _evaluated(input_dict),
            read_json(input_dict.get(REPORT_KEY), model_card.JSON_FILE),
        )
        if outcome.version is None:
            return self._idle(pushed, outcome.why_not)
        version = outcome.version
        digest = str(blessing.model_digest)
        destination = self._serve(version, digest, exec_properties)
        versions.copy(version, pushed.uri)
        pushed.set_string_custom_property("digest", digest)
        if outcome.override is not None:
            text = json.dumps(dict(outcome.override), sort_keys=True)
            pushed.set_string_custom_property(OVERRIDE_KEY, text)
        self._MarkPushed(pushed, destination, str(version.number))
        return None

    def _check(self, directory: str) -> None:
        """Refuses a folder that cannot be served from; here any is watched."""

    def _serve(
        self, version: versions.Version, digest: str, exec_properties: dict[str, Any]
    ) -> str:
        """Where the version is served: the folder itself, whose server watches it."""
        del digest, exec_properties
        return version.path

    def _idle(self, pushed: Any, why_not: str) -> None:
        self._MarkNotPushed(pushed)
        pushed.set_string_custom_property(NOT_PUSHED_PROPERTY, why_not)

    def _told(self, model_uri: str) -> dict[str, Any]:
        """Of this run, for `release.json`."""
        context = self._context
        info = context and context.pipeline_info
        return {
            "pipeline": info and info.id,
            "run": context and context.pipeline_run_id,
            "model": model_uri,
        }


def _evaluated(input_dict: dict[str, list[Any]]) -> dict[str, Any]:
    """How the model scored: what its later data are compared with."""
    decided = read_json(input_dict.get(REPORT_KEY), DECISION_FILE) or {}
    return {"evaluated": decided["scored"]} if decided.get("scored") else {}


def _directory(exec_properties: dict[str, Any]) -> str:
    destination = pusher_pb2.PushDestination()
    proto_utils.json_to_proto(exec_properties[DESTINATION_KEY], destination)
    if destination.WhichOneof("destination") != "filesystem":
        raise DataError(
            "push.to: only 'filesystem' is supported; give it a path to push to"
        )
    return str(destination.filesystem.base_directory)
