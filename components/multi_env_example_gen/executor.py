"""Executor of MultiEnvExampleGen: artifacts in, artifacts out."""

import json
import os
from typing import Any

from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.artifact_files import COUNTS_PROPERTY
from components.errors import tells_reason
from components.multi_env_example_gen import ingest, shards, splitting
from components.multi_env_example_gen.naming import Naming
from components.source_manifest.executor import MANIFEST_KEY, read_manifest

EXAMPLES_KEY = "examples"
SPEC_KEY = "spec"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads the manifest, writes Examples with their counts."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Ingests; see the component for keys."""
        manifest = artifact_utils.get_single_instance(input_dict[MANIFEST_KEY])
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        files = read_manifest(manifest)
        spec = spec_from_json(exec_properties[SPEC_KEY])
        counts = ingest.ingest(files, spec, examples.uri, self._make_beam_pipeline)
        splits = [
            split
            for split in splitting.SPLITS
            if fileio.listdir(os.path.join(examples.uri, f"Split-{split}"))
        ]
        for split in set(splitting.SPLITS) - set(splits):
            fileio.rmtree(os.path.join(examples.uri, f"Split-{split}"))
        examples.split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        examples.set_string_custom_property(COUNTS_PROPERTY, json.dumps(counts))


def spec_from_json(text: str) -> shards.Spec:
    """The exec property `spec` as the plain type."""
    entry = json.loads(text)
    naming = entry.get("naming")
    return shards.Spec(
        **{
            **entry,
            "split_by": tuple(entry["split_by"]),
            "slices": tuple(tuple(cross) for cross in entry["slices"]),
            "buckets": {f: tuple(e) for f, e in entry.get("buckets", {}).items()},
            "held_out": tuple(entry.get("held_out", ())),
            "eval_values": tuple(entry.get("eval_values", ())),
            "optional": tuple(entry.get("optional", ())),
            "numbers": tuple(entry.get("numbers", ())),
            "naming": naming and Naming(**{**naming, "bins": tuple(naming["bins"])}),
        }
    )
