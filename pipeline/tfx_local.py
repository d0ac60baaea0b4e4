"""TFX's portable launcher, driven by us: the only module that knows its insides."""

import dataclasses
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import pipeline as pipeline_py
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils, tfx_runner
from tfx.types import artifact_utils

from pipeline import store

_RUN_ID_PARAMETER = "pipeline-run-id"


@dataclasses.dataclass(frozen=True)
class Node:
    """One node of a compiled pipeline, ready to be launched."""

    name: str
    _launcher: launcher.Launcher
    _connection: Any

    def launch(self) -> tuple[bool, dict[str, list[Any]]]:
        """Runs the node; True where the cache answered, and its output artifacts."""
        info = self._launcher.launch()
        if info is None or info.execution_id is None:
            return False, {}
        with store.patient(self._connection) as handle:
            found = handle.store
            (execution,) = found.get_executions_by_id([info.execution_id])
            cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
            return cached, _outputs(found, info.execution_id)


def prepare(graph: pipeline_py.Pipeline, run_id: str) -> list[Node]:
    """Compiles a pipeline and returns its nodes in topological order."""
    compiled = tfx_runner._make_pipeline_proto(graph)
    runtime_parameter_utils.substitute_runtime_parameter(
        compiled, {_RUN_ID_PARAMETER: run_id}
    )
    deployment = runner_utils.extract_local_deployment_config(compiled)
    config = deployment.metadata_connection_config
    connection = getattr(config, config.WhichOneof("connection_config"))
    nodes = []
    for entry in compiled.nodes:
        node = entry.pipeline_node
        name = node.node_info.id
        nodes.append(
            Node(
                name,
                launcher.Launcher(
                    pipeline_node=node,
                    mlmd_connection=store.patient(connection),
                    pipeline_info=compiled.pipeline_info,
                    pipeline_runtime_spec=compiled.runtime_spec,
                    executor_spec=runner_utils.extract_executor_spec(deployment, name),
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(
                        deployment, name
                    ),
                ),
                connection,
            )
        )
    return nodes


def _outputs(found: Any, execution_id: int) -> dict[str, list[Any]]:
    events = [
        event
        for event in found.get_events_by_execution_ids([execution_id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    artifacts = found.get_artifacts_by_id([event.artifact_id for event in events])
    by_id = {artifact.id: artifact for artifact in artifacts}
    types = found.get_artifact_types_by_id([a.type_id for a in artifacts])
    type_of = {a.id: t for a, t in zip(artifacts, types, strict=True)}
    result: dict[str, list[Any]] = {}
    for event in events:
        artifact = by_id[event.artifact_id]
        result.setdefault(event.path.steps[0].key, []).append(
            artifact_utils.deserialize_artifact(type_of[artifact.id], artifact)
        )
    return result
