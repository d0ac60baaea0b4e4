"""Starts a custom job, follows it to its end, and tells how it ended."""

import contextlib
import logging
import time
from typing import Any

from google.api_core import exceptions
from google.cloud.aiplatform_v1.types import JobState
from tfx.extensions.google_cloud_ai_platform import training_clients

from components import cloud
from components.cloud import CloudError
from components.trainer import custom_job

POLL_SECONDS = 30.0
_MOST_FAILURES = 5  # of polls in a row
_LOG = logging.getLogger(__name__)
_ENDED = {
    JobState.JOB_STATE_SUCCEEDED: "succeeded",
    JobState.JOB_STATE_FAILED: "failed",
    JobState.JOB_STATE_CANCELLED: "was cancelled",
    JobState.JOB_STATE_EXPIRED: "expired",
}


class Client(training_clients.VertexJobClient):
    """TFX's client, which makes the job with the command of its containers.

    TFX's loop takes an expired job for one that runs, and would wait for ever; ours
    knows every last state.
    """

    def running(self, job: custom_job.Job, output_uri: str) -> Any:
        """The job that already makes these outputs, or None."""
        label = custom_job.output_label(output_uri)
        found = self._client.list_custom_jobs(
            request={
                "parent": job.parent,
                "filter": f'labels.{custom_job.OUTPUT_LABEL}="{label}"',
            }
        )
        for one in found:
            if one.state not in _ENDED:
                self._job_name = one.name
                return one
        return None

    def cancel(self) -> None:
        """Asks for the end of the job."""
        self._client.cancel_custom_job(name=self._job_name)


def connect(job: custom_job.Job) -> Client:
    """A client of the job's region.

    Raises:
      DataError: there are no credentials.
    """
    with cloud.asking(job.told):
        return Client(job.region)


def run(client: Client, job: custom_job.Job, asked: dict[str, Any], uri: str) -> None:
    """Starts a job, or finds the one that was started for the same outputs.

    Args:
      client: of the job's region.
      job: where and on what.
      asked: of the client's `create_training_job`.
      uri: of the model that is to be made.

    Raises:
      DataError: Vertex AI refuses the job.
      CloudError: it was not started, or did not succeed.
    """
    with cloud.told_to_end():
        try:
            with cloud.asking(job.told):
                if client.running(job, uri) is None:
                    client.launch_job(job.project, asked)
            ended = _followed(client, job.told)
        except (KeyboardInterrupt, SystemExit):
            if client.get_job_name():
                _LOG.warning("Cancelling %s", client.get_job_name())
                with contextlib.suppress(exceptions.GoogleAPIError):
                    client.cancel()
            raise
    if ended.state != JobState.JOB_STATE_SUCCEEDED:
        raise CloudError(_told(job, ended))


def _followed(client: Client, what: str) -> Any:
    """The job when it has ended; asks again where the service is out of reach."""
    failures, last = 0, None
    while True:
        try:
            found = client.get_job()
            failures = 0
        except (exceptions.GoogleAPIError, ConnectionError) as error:
            failures += 1
            if failures > _MOST_FAILURES:
                raise CloudError(
                    f"{what}: it was started as {client.get_job_name()}, and nothing"
                    f" can be learnt of it ({cloud.reason(error)}); run again, which"
                    " follows it"
                ) from error
            client.create_client()
        else:
            if found.state != last:
                last = found.state
                _LOG.info("%s: %s", client.get_job_name(), JobState(last).name)
            if found.state in _ENDED:
                return found
        time.sleep(POLL_SECONDS)


def _told(job: custom_job.Job, ended: Any) -> str:
    number = ended.name.rpartition("/")[2]
    why = f": {cloud.reason(ended.error)}" if ended.error.message else ""
    mend = "its log says why"
    if job.spot:
        mend += ", unless its machines were taken away (vertex.training.spot)"
    return (
        f"{job.told} {_ENDED[ended.state]}{why}; {mend}:"
        f" https://console.cloud.google.com/vertex-ai/locations/{job.region}"
        f"/training/{number}?project={job.project}"
    )
