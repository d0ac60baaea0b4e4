"""Compiles a graph to a job of Kubeflow Pipelines v2 (schema 2.1).

TFX's runner makes the spec. What it leaves out is added to its JSON here: resources,
retries, values of parameters, and which stages must not be answered from a cache.
"""

import json
import re
from typing import Any

from pipeline import imports, remote_config
from pipeline.runtime import BASELINE

# No driver runs on these orchestrators to tell what has changed: sources, what is
# served, what was blessed. And each run has a record of its own.
UNCACHED = ("SourceManifest", BASELINE, "Pusher", "RunRecord")
_BACKOFF = {
    "backoffDuration": "60s",
    "backoffFactor": 2.0,
    "backoffMaxDuration": "900s",
}


def compile_job(runtime: Any) -> dict[str, Any]:
    """The job: `displayName`, `pipelineSpec`, `runtimeConfig`, `labels`.

    Args:
      runtime: `runtime.Vertex` or `runtime.KubeflowCluster`.

    Raises:
      DataError: environments told by a column cannot be read from the data.
    """
    imports.quickly("pipeline.pipeline")
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as tfx_runner

    from pipeline.pipeline import create_pipeline

    graph = create_pipeline(runtime.config, runtime)
    settings = tfx_runner.KubeflowV2DagRunnerConfig(
        display_name=runtime.config.name,
        default_image=runtime.target.image,
        use_pipeline_spec_2_1=True,
    )
    runner = tfx_runner.KubeflowV2DagRunner(settings)
    job: dict[str, Any] = runner.run(graph, write_out=False)
    _complete(job, runtime)
    return job


def text(job: dict[str, Any]) -> str:
    """A job as a file has it."""
    return json.dumps(job, indent=1, sort_keys=True) + "\n"


def _complete(job: dict[str, Any], runtime: Any) -> None:
    spec = job["pipelineSpec"]
    executors = spec["deploymentSpec"]["executors"]
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        container = executors[component["executorLabel"]].get("container")
        if container is None or name in UNCACHED:
            task["cachingOptions"] = {}
        if container is None:
            continue
        given = runtime.resources_of(_snake(name))
        container["resources"] = _resources(given)
        if given.retries:
            task["retryPolicy"] = {"maxRetryCount": given.retries, **_BACKOFF}
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for parameter in parameters.values():
        parameter["defaultValue"] = ""
    values = job.setdefault("runtimeConfig", {}).setdefault("parameterValues", {})
    values.update({name: "" for name in parameters if name not in values})


def _resources(given: remote_config.Resources) -> dict[str, Any]:
    found: dict[str, Any] = {"cpuLimit": given.cpu, "memoryLimit": given.gigabytes}
    if given.accelerator is not None:
        found["accelerator"] = {"type": given.accelerator, "count": str(given.count)}
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
