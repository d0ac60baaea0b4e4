"""The custom job that a model is trained in: what Vertex AI is told, plain values."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

JOB_KEY = "job"
# Of a job: which outputs it makes. A stage that is tried again finds the job that it
# had started, and no second one writes into the same model.
OUTPUT_LABEL = "tfx-irm-output"
_LONGEST_WORD = 128 * 1024 - 1  # of a command, with the zero byte: Linux takes no more


@dataclasses.dataclass(frozen=True)
class Job:
    """Where and on what a model is trained.

    Attributes:
      project: id of the project.
      region: that the job runs in.
      name: that the console shows.
      image: of the containers; has this package.
      machine: type of each machine.
      accelerator: type of the accelerators of each machine, or None.
      count: how many of them.
      workers: machines that train together, at least 1.
      spot: whether machines may be taken away, for a lower price.
      seconds: after which the job is stopped.
      service_account: that the containers run as, or None for the project's own.
      network: that the machines are in, or None.
      labels: of the job.
    """

    project: str
    region: str
    name: str
    image: str
    machine: str
    accelerator: str | None = None
    count: int = 1
    workers: int = 1
    spot: bool = False
    seconds: int = 7 * 86400
    service_account: str | None = None
    network: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def parent(self) -> str:
        """What the job is made in."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def told(self) -> str:
        """The job, as sentences name it."""
        return f"the training job {self.name} in {self.project}, {self.region}"

    def to_json(self) -> str:
        """As an exec property holds it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))


def custom_job(job: Job, output_uri: str) -> dict[str, Any]:
    """A CustomJob, but for the command of its containers, which TFX adds.

    The chief is a worker pool of its own, the others are the second: Vertex AI then
    gives each `TF_CONFIG` with one `chief` and the rest as `worker`.

    Args:
      job: where and on what.
      output_uri: of the model that it is to make.

    References:
      https://cloud.google.com/vertex-ai/docs/reference/rest/v1/CustomJobSpec
    """
    scheduling: dict[str, Any] = {"timeout": {"seconds": job.seconds}}
    if job.spot:
        scheduling["strategy"] = "SPOT"
    if job.workers > 1:
        # A worker that comes back alone finds no cluster to join; training goes on
        # from its last checkpoint when all begin anew.
        scheduling["restart_job_on_worker_restart"] = True
    sizes = [1] if job.workers == 1 else [1, job.workers - 1]
    spec: dict[str, Any] = {
        "worker_pool_specs": [_pool(job, size) for size in sizes],
        "scheduling": scheduling,
    }
    for key in ("service_account", "network"):
        if getattr(job, key) is not None:
            spec[key] = getattr(job, key)
    return {
        "display_name": job.name,
        "job_spec": spec,
        "labels": {**job.labels, OUTPUT_LABEL: output_label(output_uri)},
    }


def output_label(uri: str) -> str:
    """The value of `OUTPUT_LABEL`: 32 hexadecimal digits."""
    return hashlib.blake2b(uri.encode(), digest_size=16).hexdigest()


def too_long(command: list[str]) -> int | None:
    """Bytes of a word that no container can be started with, or None."""
    longest = max(len(word.encode()) for word in command)
    return longest if longest > _LONGEST_WORD else None


def _pool(job: Job, size: int) -> dict[str, Any]:
    machine: dict[str, Any] = {"machine_type": job.machine}
    if job.accelerator is not None:
        machine["accelerator_type"] = job.accelerator
        machine["accelerator_count"] = job.count
    return {
        "machine_spec": machine,
        "replica_count": size,
        "container_spec": {"image_uri": job.image},
    }
