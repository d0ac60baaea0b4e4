"""Driver and executor of SourceManifest."""

import json
import os
from typing import Any

from tfx.dsl.components.base import base_driver as component_driver
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils

from components.artifact_files import write_text
from components.errors import tells_reason
from components.source_manifest import listing

MANIFEST_FILE = "manifest.json"
SOURCES_KEY = "sources"
MANIFEST_KEY = "manifest"
FINGERPRINT_KEY = "fingerprint"


def read_manifest(manifest: Any) -> list[listing.SourceFile]:
    """The files of a `SourceManifest` artifact."""
    with fileio.open(os.path.join(manifest.uri, MANIFEST_FILE)) as file:
        return listing.from_json(file.read())


def write_manifest(manifest: Any, files: list[listing.SourceFile]) -> None:
    """Makes the artifact a manifest of some files."""
    write_text(manifest.uri, MANIFEST_FILE, listing.to_json(files))
    manifest.set_string_custom_property("fingerprint", listing.fingerprint(files))


class Driver(component_driver.BaseDriver, base_driver.BaseDriver):
    """Puts the fingerprint of the sources into the cache key.

    The sources are listed at every run; the stage and all behind it are cached only
    while not one byte of them has changed. Orchestrators that run no drivers
    (Kubeflow) execute the stage each time instead. TFX asks for both base classes:
    the first when the component is made, the second when the driver runs.
    """

    def __init__(self, metadata_handle: Any):
        """Takes the metadata store, which it does not ask."""
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def run(
        self, execution_info: data_types.ExecutionInfo
    ) -> driver_output_pb2.DriverOutput:
        """Lists the sources and returns their fingerprint as exec property."""
        sources = json.loads(execution_info.exec_properties[SOURCES_KEY])
        files = listing.build_manifest(sources)
        output = driver_output_pb2.DriverOutput()
        output.exec_properties[FINGERPRINT_KEY].string_value = listing.fingerprint(
            files
        )
        return output


class Executor(base_executor.BaseExecutor):
    """Writes `manifest.json`."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Lists the sources; see the component for keys."""
        del input_dict
        manifest = artifact_utils.get_single_instance(output_dict[MANIFEST_KEY])
        files = listing.build_manifest(json.loads(exec_properties[SOURCES_KEY]))
        write_manifest(manifest, files)
        manifest.set_int_custom_property("files", len(files))
        if spans := listing.tell_spans(files):
            manifest.set_string_custom_property("spans", spans)
