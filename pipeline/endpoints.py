"""Where the config sends models and trainings: Vertex AI, or what is here."""

import dataclasses
import os
from typing import Any

from components.pusher.target import Target
from components.trainer.custom_job import Job
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError


def training_job(config: PipelineConfig) -> Job | None:
    """The custom job of Vertex AI that a config trains in; None: it has none."""
    vertex = config.vertex
    if config.train.where != "vertex" or vertex is None:
        return None
    resources, asked = vertex.resources_of("trainer"), vertex.training
    return Job(
        project=vertex.project,
        region=vertex.region,
        name=f"{config.name}-trainer",
        image=vertex.image,
        machine=asked.machine,
        accelerator=resources.accelerator,
        count=resources.count,
        workers=asked.workers,
        spot=asked.spot,
        seconds=asked.seconds,
        service_account=vertex.service_account,
        network=vertex.network,
        labels=vertex.labels,
    )


def target(config: PipelineConfig) -> Target | None:
    """The endpoint that a config pushes to; None where it pushes to a folder."""
    vertex, push = config.vertex, config.push
    if push.to != "vertex" or vertex is None:
        return None
    assert push.endpoint is not None and push.serving_image is not None
    return Target(
        project=vertex.project,
        region=vertex.region,
        endpoint=push.endpoint,
        pipeline=config.name,
        image=push.serving_image,
        machine=push.machine,
        traffic=push.traffic,
        least=push.replicas.min,
        most=push.replicas.max or push.replicas.min,
        service_account=vertex.service_account,
        labels=vertex.labels,
    )


def serving(config: PipelineConfig) -> str:
    """The folder of the versions; an endpoint serves from a bucket."""
    if config.push.to == "vertex" and config.vertex is not None:
        return os.path.join(config.vertex.root, "serving")
    return config.push.path


def refuse_elsewhere(config: PipelineConfig, command: str) -> None:
    """Refuses to do here what the config has done by Vertex AI.

    Raises:
      ConfigError: models are trained or served there, and the artifacts lie here.
    """
    keys = [("train", "where", "local"), ("push", "to", "filesystem")]
    for section, key, here in keys:
        if getattr(getattr(config, section), key) != "vertex":
            continue
        if section == "push" and command != "run":
            continue
        raise ConfigError(
            f"{config.place(section, key)} is vertex, and the artifacts of tfx-irm"
            f" {command} lie on this machine ({config.root}), where Vertex AI reads"
            f" nothing; run it there (tfx-irm compile), or --set {section}.{key}={here}"
        )


def refuse_endpoint(config: PipelineConfig, command: str, mend: str) -> None:
    """Refuses a command that knows no endpoints.

    Raises:
      ConfigError: models are served by an endpoint.
    """
    if config.push.to == "vertex":
        raise ConfigError(
            f"{config.place('push', 'to')} is vertex, and tfx-irm {command} knows"
            f" folders of this machine only; {mend}"
        )


def roll_back(config: PipelineConfig, to: int | None = None) -> list[str]:
    """Puts an older version back, and has the endpoint serve that alone.

    First in the folder, so that no run pushes the replaced model again if this one ends
    in between; called again, it goes on with the endpoint.

    Args:
      config: with an endpoint.
      to: number of a version, or None for the last blessed one.

    Returns:
      Lines for the terminal.

    Raises:
      DataError: there is nothing to go back to, or Vertex AI refuses it.
      CloudError: the endpoint was not changed.
    """
    from components.pusher import endpoint, rollback, versions

    there, folder = target(config), serving(config)
    assert there is not None
    at = dataclasses.replace(there, traffic=100)
    told: list[str] = []
    known = endpoint.deployed(at)  # before anything is changed
    version = versions.latest(folder)
    if version is None or to is not None or not _pending(version, known):
        done = rollback.roll_back(folder, to)
        version, told = done.served, done.lines
    digest = str(version.told)
    endpoint.serve(at, version.path, digest)
    return [*told, f"traffic  100 % of {at.told} to {at.model_name(digest)}"]


def _pending(version: Any, deployed: Any) -> bool:
    """Whether a version was put back, and the endpoint does not serve it yet."""
    from components.pusher.target import find

    if not (version.release or {}).get("rolled_back_from"):
        return False
    found = find(deployed, version.told)
    return found is None or found.traffic < 100
