"""Executor of EnvironmentInferrer: artifacts in, artifacts out."""

import json
import os
from typing import Any

from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from components.artifact_files import write_text
from components.environment_inferrer import infer
from components.environment_inferrer.rule import Settings
from components.errors import tells_reason
from components.multi_env_example_gen.executor import spec_from_json
from components.source_manifest.executor import (
    MANIFEST_KEY,
    read_manifest,
    write_manifest,
)

SPEC_KEY, SETTINGS_KEY = "spec", "settings"
FEATURES_KEY, NEVER_KEY = "features", "never"
INFERRED_KEY, INFERENCE_KEY = "inferred_manifest", "inference"
INFERENCE_FILE = "inference.json"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads a manifest; writes rows by environment, their manifest, and how certain."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Infers; see the component for keys."""
        manifest = artifact_utils.get_single_instance(input_dict[MANIFEST_KEY])
        inferred = artifact_utils.get_single_instance(output_dict[INFERRED_KEY])
        inference = artifact_utils.get_single_instance(output_dict[INFERENCE_KEY])
        named, found = infer.infer(
            read_manifest(manifest),
            spec_from_json(exec_properties[SPEC_KEY]),
            Settings(**json.loads(exec_properties[SETTINGS_KEY])),
            json.loads(exec_properties[FEATURES_KEY]),
            json.loads(exec_properties[NEVER_KEY]),
            os.path.join(inferred.uri, "rows"),
            self._make_beam_pipeline,
        )
        write_manifest(inferred, named)
        write_text(inference.uri, INFERENCE_FILE, json.dumps(found, indent=1))
        inference.set_string_custom_property("sentence", found["sentence"])
