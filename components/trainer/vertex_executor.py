"""Executor of Trainer where training is a custom job of Vertex AI."""

import copy
import json
import os
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import name_utils

from components import filesystem
from components.artifact_files import COUNTS_PROPERTY
from components.cloud import CloudError
from components.errors import ERROR_FILE, DataError, stage_folder, tells_reason
from components.files import is_url
from components.trainer import custom_job, executor, variants

MODEL_KEY = standard_component_specs.MODEL_KEY


class Executor(base_executor.BaseExecutor):
    """Starts a job that runs our other executor, and waits for its end.

    As TFX's Vertex executor, whose client makes the job and its command:
    `tfx.scripts.run_executor` with the executor's class, artifacts and exec properties
    as JSON. What that process puts onto artifacts stays there; a Trainer puts nothing.
    """

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for keys.

        Raises:
          DataError: there is no such method, the artifacts lie on this machine, Vertex
            AI refuses the job, or what the job found wrong.
          CloudError: the job did not succeed.
        """
        # Here, as Google's clients take seconds to import, and to compile needs none.
        from components.trainer import vertex_job

        self._log_startup(input_dict, output_dict, exec_properties)
        job = custom_job.Job.from_json(exec_properties[custom_job.JOB_KEY])
        model_uri = artifact_utils.get_single_uri(output_dict[MODEL_KEY])
        _check_reach(input_dict, output_dict)
        client = vertex_job.connect(job)
        asked = client.create_training_job(
            _without_counts(input_dict),
            output_dict,
            _told(exec_properties),
            name_utils.get_full_name(executor.Executor),
            custom_job.custom_job(job, model_uri),
            None,
            None,
        )
        _check_length(asked)
        error_file = os.path.join(stage_folder(output_dict), ERROR_FILE)
        if filesystem.exists(error_file):  # of an earlier try
            filesystem.remove(error_file)
        try:
            vertex_job.run(client, job, asked, model_uri)
        except CloudError as error:
            raise _its_own_reason(error_file) or error from error


def _told(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """What the job is told: the method is picked here, once."""
    chosen = executor.with_method(exec_properties)
    return {
        key: value
        for key, value in chosen.items()
        if key not in (variants.METHOD_KEY, custom_job.JOB_KEY)
    }


def _without_counts(input_dict: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The inputs without what ingestion counted: long, and no matter to training."""
    copied = copy.deepcopy(input_dict)
    for artifacts in copied.values():
        for artifact in artifacts:
            artifact.mlmd_artifact.custom_properties.pop(COUNTS_PROPERTY, None)
    return copied


def _check_reach(*artifacts: dict[str, list[Any]]) -> None:
    every = [one for dicts in artifacts for found in dicts.values() for one in found]
    for artifact in every:
        if not is_url(artifact.uri):
            raise DataError(
                f"train.where is vertex, and the artifacts lie in {artifact.uri}, which"
                " no job of Vertex AI reads; compile the pipeline with a root in a"
                " bucket, or train with train.where: local"
            )


def _check_length(asked: dict[str, Any]) -> None:
    pools = asked["job_spec"]["worker_pool_specs"]
    found = custom_job.too_long(pools[0]["container_spec"]["command"])
    if found is not None:
        raise DataError(
            f"the settings of training are {found:,} bytes long, and a container is"
            " started with at most 131,071; name fewer environments or features, or"
            " train with train.where: local"
        )


def _its_own_reason(error_file: str) -> Exception | None:
    """What the job left as its reason, as an error; None where it left none."""
    if not filesystem.exists(error_file):
        return None
    with filesystem.open_file(error_file) as file:
        told = json.loads(file.read())
    kind = DataError if told["exit"] == DataError.exit_code else CloudError
    return kind(told["sentence"])
