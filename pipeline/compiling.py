"""`tfx-irm compile`: the same graph as a file, for Vertex AI or a Kubeflow cluster.

Nothing is read but the config, and the data where a column of them tells the
environments; what lies in a bucket is looked at when the pipeline runs.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from components.files import is_url
from pipeline import endpoints, remote_config
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError

TARGETS = ("vertex", "kubeflow")
_LONGEST = 63  # TFX's limit for the name of a pipeline


def runtime_of(
    load: Callable[[str | None], PipelineConfig], on: str | None = None
) -> Any:
    """The runtime that a config is compiled for.

    Args:
      load: gives the config as it is under a method; None for its own.
      on: vertex or kubeflow; None for the one that the config has.

    Returns:
      A `runtime.Vertex` or `runtime.KubeflowCluster`, with the config as it is there.

    Raises:
      ConfigError: there is no such section, or something of the config is out of reach
        of a cluster.
    """
    from pipeline import runtime

    config = load(None)
    name = _target(config, on)
    there = _at(config, name)
    methods = {m: _at(load(m), name) for m in sorted(config.train.methods)}
    if name == "vertex":
        return runtime.Vertex(there, methods, config.vertex)
    return runtime.KubeflowCluster(there, methods, config.kubeflow)


def compile_to(path: str, made: Any) -> dict[str, Any]:
    """Compiles, and writes the job.

    Args:
      path: ends in `.json`; its folder is made where it is missing.
      made: of `runtime_of`.

    Returns:
      The job.

    Raises:
      ConfigError: it is no such path, or cannot be written.
    """
    if not path.endswith(".json"):
        raise ConfigError(
            f"--output is {path!r}; name a .json file, which holds the parameters and"
            " the root besides the pipeline's spec"
        )
    from pipeline import kubeflow_v2_runner

    job = kubeflow_v2_runner.compile_job(made)
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(kubeflow_v2_runner.text(job))
    except OSError as error:
        raise ConfigError(
            f"--output is {path!r}, which cannot be written ({error.strerror}); name"
            " another file"
        ) from error
    return job


def _target(config: PipelineConfig, on: str | None) -> str:
    there = [name for name in TARGETS if getattr(config, name) is not None]
    if on is not None and on not in there:
        raise ConfigError(
            f"--on is {on}, and {config.file} has no section {on}; add one with root"
            " and image (docs/vertex.md, docs/kubeflow.md)"
        )
    if not there:
        raise ConfigError(
            f"{config.file}: has neither a section vertex nor kubeflow, which say where"
            " a compiled pipeline runs; add one (docs/vertex.md, docs/kubeflow.md)"
        )
    if on is None and len(there) > 1:
        raise ConfigError(
            f"{config.file}: has the sections vertex and kubeflow; say which with --on"
        )
    return on or there[0]


def _at(config: PipelineConfig, name: str) -> PipelineConfig:
    """The config as it is there: another root, another folder to push to."""
    target = getattr(config, name)
    if config.data.each:
        raise ConfigError(
            f"{config.place('data', *config.data.each_key)} is each, which is a"
            " training for each environment and releases nothing; it runs with tfx-irm"
            " run alone"
        )
    if len(config.name) > _LONGEST:
        raise ConfigError(
            f"{config.place('name')} has {len(config.name)} characters; TFX takes at"
            f" most {_LONGEST}"
        )
    _check_reach(config, target, name)
    push = config.push
    if push.to == "vertex":
        push = push.model_copy(update={"path": endpoints.serving(config)})
    elif "path" not in push.model_fields_set:
        push = push.model_copy(update={"path": os.path.join(target.root, "serving")})
    return config.model_copy(update={"root": target.root, "push": push})


def _check_reach(
    config: PipelineConfig, target: remote_config.Target, name: str
) -> None:
    """Refuses what lies on this machine and is wanted in a container."""
    _check_training(config, target, name)
    if not is_url(getattr(target, "root", "")):
        return  # a volume that every pod has: what lies there cannot be told from here
    for place, path in _paths(config).items():
        if not is_url(path):
            raise ConfigError(
                f"{place} is {path}, a path of this machine, which no container of"
                f" {name} can read; put it into a bucket, and give its gs:// address"
            )


def _check_training(
    config: PipelineConfig, target: remote_config.Target, name: str
) -> None:
    """Refuses a job of Vertex AI that could not read the cluster's artifacts."""
    if config.train.where != "vertex" or name == "vertex":
        return
    root = getattr(target, "root", "")
    if not is_url(root):
        raise ConfigError(
            f"{config.place('train', 'where')} is vertex, and {name}.root is {root},"
            " which no job of Vertex AI reads; name a folder of a bucket"
        )
    given = target.resources.get("trainer")
    if given is not None and given.accelerator is not None:
        raise ConfigError(
            f"{config.place(name, 'resources', 'trainer', 'accelerator')} is"
            f" {given.accelerator}, and train.where is vertex, so the stage only waits;"
            " move it to vertex.resources.trainer"
        )


def _paths(config: PipelineConfig) -> Mapping[str, str]:
    """What a stage reads or writes besides its artifacts: where it says so -> path."""
    found: dict[str, str] = {}
    for source in config.data.sources:
        if source["format"] == "bigquery":
            continue
        of = source["environment"]
        keys = ("data", "environments") + (() if of is None else (of,))
        for pattern in source["patterns"]:
            found.setdefault(config.place(*keys), pattern)
            if not is_url(pattern):
                found[config.place(*keys)] = pattern
    if config.data.schema_path is not None:
        found[config.place("data", "schema")] = config.data.schema_path
    if "path" in config.push.model_fields_set:
        found[config.place("push", "path")] = config.push.path
    return found
