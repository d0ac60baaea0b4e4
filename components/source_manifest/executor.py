"""Driver and executor of SourceManifest."""

import json
import os
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_driver as component_driver
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils

from components.artifact_files import write_text
from components.errors import DataError, tells_reason
from components.source_manifest import listing, spans

MANIFEST_FILE = "manifest.json"
SOURCES_KEY = "sources"
MANIFEST_KEY = "manifest"
FINGERPRINT_KEY = "fingerprint"
SPAN_KEY = "span"


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
    (Kubeflow) execute the stage each time, or take the fingerprint as a parameter of
    the run, which `tfx-irm submit` gives. TFX asks for both base classes:
    the first when the component is made, the second when the driver runs.
    """

    def __init__(self, metadata_handle: Any):
        """Takes the metadata store, which it does not ask."""
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def run(
        self, execution_info: data_types.ExecutionInfo
    ) -> driver_output_pb2.DriverOutput:
        """Lists the sources and returns their fingerprint as exec property."""
        files = listing.build_manifest(_sources(execution_info.exec_properties))
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
        files = listing.build_manifest(_sources(exec_properties))
        _check(files, exec_properties.get(FINGERPRINT_KEY))
        write_manifest(manifest, files)
        manifest.set_int_custom_property("files", len(files))
        if spans := listing.tell_spans(files):
            manifest.set_string_custom_property("spans", spans)


def _check(files: list[listing.SourceFile], fingerprint: str | None) -> None:
    """Refuses other files than those that the cache key stands for."""
    found = listing.fingerprint(files)
    if fingerprint and found != fingerprint:
        raise DataError(
            f"the sources changed after this run began: their fingerprint was"
            f" {fingerprint} and is {found}; start it again when nobody writes there"
        )


def _sources(exec_properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = json.loads(exec_properties[SOURCES_KEY])
    return spans.up_to(listed, exec_properties.get(SPAN_KEY))
