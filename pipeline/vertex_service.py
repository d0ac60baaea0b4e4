"""Vertex AI Pipelines, asked through its published client over REST.

The client of the API and not `aiplatform.PipelineJob`: that one makes the bucket where
there is none, and gives itself roles on it.
"""

import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from pipeline import remote_config
from pipeline.errors import ConfigError
from pipeline.services import Order, Outcome, Refused, Silent, State, Task, one_line

# gcloud's own variable, for a private endpoint.
ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"
RUN_LABEL, PIPELINE_LABEL = "tfx-irm-run", "tfx-irm-pipeline"
SECONDS = 60.0  # that an answer may take
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LOCAL = ("localhost", "127.0.0.1")
_TRIES = 3
_LONGEST_NAME, _LONGEST_LABEL = 80, 63
_OUTCOMES: dict[str, Outcome] = {
    "PIPELINE_STATE_SUCCEEDED": "succeeded",
    "PIPELINE_STATE_FAILED": "failed",
    "PIPELINE_STATE_CANCELLED": "cancelled",
}
_LOGIN = (
    "run gcloud auth application-default login, or let GOOGLE_APPLICATION_CREDENTIALS"
    " name the file of a service account"
)


class VertexService:
    """Vertex AI Pipelines in the project and region of a config.

    The job's id is ours, made of the pipeline's and the run's, so that a request which
    got no answer can be sent again without a second job.
    """

    name, title = "vertex", "Vertex AI"

    def __init__(self, target: remote_config.Vertex):
        """Makes it; nothing is asked yet.

        Args:
          target: section `vertex` of the config.
        """
        self._target = target
        self._client: Any = None

    def connect(self) -> None:
        """Finds credentials, as every client of Google Cloud does."""
        from google.auth import default, exceptions
        from google.cloud.aiplatform_v1 import PipelineServiceClient
        from google.cloud.aiplatform_v1.services.pipeline_service import transports

        scheme, host = _endpoint(self._target.region)
        try:
            credentials, _ = default(scopes=[_SCOPE])
        except (exceptions.GoogleAuthError, OSError) as error:
            raise Refused(
                f"{self.title} needs credentials, and none were found"
                f" ({one_line(str(error).partition('To ')[0])}); {_LOGIN}"
            ) from error
        transport = transports.PipelineServiceRestTransport(
            host=host, credentials=credentials, url_scheme=scheme
        )
        self._client = PipelineServiceClient(transport=transport)

    def send(self, order: Order) -> str:
        """Starts a job; its resource name."""
        from google.api_core import exceptions
        from google.cloud.aiplatform_v1 import PipelineJob

        target = self._target
        job_id = f"{_plain(order.name, _LONGEST_NAME)}-{order.run_id}"
        parent = f"projects/{target.project}/locations/{target.region}"
        told = {
            "displayName": job_id,
            "pipelineSpec": order.job["pipelineSpec"],
            "runtimeConfig": {
                **order.job["runtimeConfig"],
                "gcsOutputDirectory": order.root,
                "parameterValues": dict(order.values),
            },
            "labels": _labels(order, target),
            "serviceAccount": target.service_account,
            "network": target.network,
        }
        text = json.dumps({key: value for key, value in told.items() if value})
        for number in range(1, _TRIES + 1):
            try:
                made = self._asked(
                    "create_pipeline_job",
                    parent=parent,
                    pipeline_job=PipelineJob.from_json(text),
                    pipeline_job_id=job_id,
                )
                return str(made.name)
            except Silent:
                if number == _TRIES:
                    raise
            except Refused as refusal:
                there = isinstance(refusal.__cause__, exceptions.Conflict)
                if not there or number == 1:
                    raise
                break  # an earlier try was taken, and we were not told
        return f"{parent}/pipelineJobs/{job_id}"

    def state(self, job: str) -> State:
        """How far a job came."""
        found = self._asked("get_pipeline_job", name=job)
        return State(
            outcome=_OUTCOMES.get(found.state.name, "running"),
            tasks=tuple(_task(detail) for detail in found.job_detail.task_details),
            error=one_line(found.error.message),
        )

    def address(self, job: str) -> str:
        """Of its page in the console."""
        target = self._target
        return (
            "https://console.cloud.google.com/vertex-ai/locations/"
            f"{target.region}/pipelines/runs/{job.rpartition('/')[2]}"
            f"?project={urllib.parse.quote(target.project)}"
        )

    def _asked(self, method: str, **words: Any) -> Any:
        """Calls the client.

        Raises:
          Refused, Silent: as `Service` says.
        """
        import requests
        from google.api_core import exceptions
        from google.auth import exceptions as auth
        from google.protobuf import json_format

        try:
            return getattr(self._client, method)(timeout=SECONDS, **words)
        except (
            exceptions.ServerError,
            requests.RequestException,
            auth.TransportError,
            json_format.ParseError,
        ) as error:
            said = _said(str(error)) or type(error).__name__
            raise Silent(f"{self.title} does not answer ({said})") from error
        except auth.GoogleAuthError as error:
            raise Refused(
                f"{self.title} takes no credentials from here"
                f" ({one_line(str(error.args[0] if error.args else error))}); {_LOGIN}"
            ) from error
        except exceptions.GoogleAPICallError as error:
            raise self._refused(error) from error

    def _refused(self, error: Any) -> Refused:
        from google.api_core import exceptions

        said = _said(error.message) or type(error).__name__
        text, target = f"{self.title} says: {said}", self._target
        if isinstance(error, exceptions.Unauthorized):
            return Refused(f"{text}; the credentials are not valid any more: {_LOGIN}")
        if isinstance(error, exceptions.Forbidden):
            return Refused(
                f"{text}; in project {target.project} you need the role"
                " roles/aiplatform.user, and roles/iam.serviceAccountUser on"
                f" {target.service_account or 'the service account of Compute Engine'}"
            )
        if isinstance(error, exceptions.TooManyRequests):
            return Refused(
                f"{text}; wait, or ask for more quota of project {target.project} in"
                f" {target.region}"
            )
        if isinstance(error, exceptions.NotFound):
            return Refused(
                f"{text}; check vertex.project ({target.project}) and vertex.region"
                f" ({target.region}), and that aiplatform.googleapis.com is enabled",
                exit_code=2,
            )
        if isinstance(error, exceptions.BadRequest):
            return Refused(f"{text}; mend the section vertex of the config", 2)
        return Refused(f"{text}; docs/vertex.md lists what to check")


def _said(text: str) -> str:
    """What the service says; its client puts the request before it."""
    return one_line(re.sub(r"(\d{3} )?[A-Z]+ https?://\S+: ", "", text))


def _endpoint(region: str) -> tuple[str, str]:
    """Scheme and host; a token goes there, so it is encrypted."""
    given = os.environ.get(ENDPOINT, "")
    if not given:
        return "https", f"{region}-aiplatform.googleapis.com"
    parts = urllib.parse.urlsplit(given)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in _LOCAL
    )
    if not secure or not parts.hostname:
        raise ConfigError(
            f"{ENDPOINT} is {given!r}; give an address that begins with https://"
        )
    return parts.scheme, parts.netloc


def _plain(text: str, longest: int) -> str:
    """Lower-case letters, digits and hyphens, beginning with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"p-{plain}")[:longest].rstrip("-")


def _labels(order: Order, target: remote_config.Vertex) -> dict[str, str]:
    """The job's own, those of the config, and ours."""
    return {
        **order.job.get("labels", {}),
        **target.labels,
        PIPELINE_LABEL: _plain(order.name, _LONGEST_LABEL),
        RUN_LABEL: order.run_id,
    }


def _task(detail: Any) -> Task:
    """A task, as the service tells it; SKIPPED is what the cache answered."""
    outcomes: dict[str, Any] = {
        "SUCCEEDED": "succeeded",
        "SKIPPED": "succeeded",
        "FAILED": "failed",
    }
    start, end = _time(detail.start_time), _time(detail.end_time)
    return Task(
        name=detail.task_name,
        outcome=outcomes.get(detail.state.name),
        seconds=max(end - start, 0.0) if start and end else 0.0,
        cached=detail.state.name == "SKIPPED",
        ended=end,
        error=one_line(detail.error.message),
        record=next(_records(detail), ""),
    )


def _records(detail: Any) -> Iterator[str]:
    for key, made in detail.outputs.items():
        if key == "record":
            yield from (artifact.uri for artifact in made.artifacts if artifact.uri)


def _time(stamp: Any) -> float:
    """Seconds since the epoch; 0 where it is not set."""
    return stamp.timestamp() if stamp else 0.0
