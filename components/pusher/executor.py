"""Executor of Pusher: TFX's blessing check, our copy."""

from typing import Any

from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from components.errors import DataError, tells_reason
from components.pusher import versions


class Executor(tfx_pusher.Executor):
    """Pushes a blessed model to a filesystem; idle without a blessing."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes; keys are those of TFX's Pusher."""
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        wanted = (
            standard_component_specs.MODEL_BLESSING_KEY,
            standard_component_specs.INFRA_BLESSING_KEY,
        )
        both = all(input_dict.get(key) for key in wanted)
        if not both or not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        if destination.WhichOneof("destination") != "filesystem":
            raise DataError(
                "push.to: only 'filesystem' is supported; give it a path to push to"
            )
        model_path = self.GetModelPath(input_dict)
        path, _ = versions.publish(model_path, destination.filesystem.base_directory)
        io_utils.copy_dir(model_path, pushed.uri)
        pushed.set_string_custom_property("digest", versions.digest_of(model_path))
        version = path.rstrip("/").rsplit("/", 1)[-1]
        self._MarkPushed(pushed, pushed_destination=path, pushed_version=version)
