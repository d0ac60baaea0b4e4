"""A cluster with Kubeflow Pipelines v2, asked through kfp's client.

The client itself tries a cluster that refuses for half a minute and then hides why, and
waits for an answer without end. So the cluster is asked once before it, and every call
has its time.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pipeline import remote_config
from pipeline.errors import ConfigError
from pipeline.services import (
    Order,
    Outcome,
    Refused,
    Silent,
    State,
    Task,
    one_line,
    within,
)

SECONDS = 60.0  # that an answer may take
T = TypeVar("T")
_OUTCOMES: dict[str, Outcome] = {
    "SUCCEEDED": "succeeded",
    "SKIPPED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "cancelled",
}
_NOT_RUN = ("SKIPPED", "OMITTED")


class _NotTaken(Refused):
    """The cluster does not take the token, or wants one."""


class KubeflowService:
    """Kubeflow Pipelines at the host of a config."""

    name, title = "kubeflow", "Kubeflow Pipelines"

    def __init__(self, target: remote_config.Kubeflow, folder: str):
        """Makes it; nothing is asked, and no token read yet.

        Args:
          target: section `kubeflow` of the config.
          folder: that relative paths of it are counted from.
        """
        self._target = target
        self._folder = folder
        self._token: str | None = None
        self._client: Any = None

    def connect(self) -> None:
        """Reads the token, and asks the cluster whether it is there."""
        target = self._target
        self._token = _token(target, self._folder)
        authority = self._authority()
        self._probe(authority)
        words: dict[str, Any] = {"host": target.host, "existing_token": self._token}
        if target.namespace is not None:
            words["namespace"] = target.namespace
        if authority is not None:
            words["ssl_ca_cert"] = authority

        def make() -> Any:
            import kfp

            return kfp.Client(**words)

        self._client = self._asked(make)

    def send(self, order: Order) -> str:
        """Starts a run in the experiment of the config; its id."""
        target = self._target
        experiment = self._asked(
            lambda: self._client.create_experiment(
                target.experiment, namespace=target.namespace
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "pipeline.yaml")  # JSON is YAML
            with open(path, "w", encoding="utf-8") as file:
                json.dump(order.job["pipelineSpec"], file)
            made = self._asked(
                lambda: self._client.run_pipeline(
                    experiment_id=experiment.experiment_id,
                    job_name=f"{order.name}-{order.run_id}",
                    pipeline_package_path=path,
                    params=dict(order.values),
                    pipeline_root=order.root,
                    service_account=target.service_account,
                )
            )
        return str(made.run_id)

    def state(self, job: str) -> State:
        """How far a run came."""
        try:
            found = self._asked(lambda: self._client.get_run(job))
        except _NotTaken:  # tokens in files are renewed there
            self.connect()
            found = self._asked(lambda: self._client.get_run(job))
        details = (found.run_details and found.run_details.task_details) or ()
        skipped = {
            name
            for one in details
            if _word(one.state) in _NOT_RUN
            for name in (one.task_id, one.pod_name)
            if name
        }
        return State(
            outcome=_OUTCOMES.get(_word(found.state), "running"),
            tasks=tuple(self._task(one, skipped) for one in details),
            error=self._line(found.error),
        )

    def address(self, job: str) -> str:
        """Of its page in the cluster's interface."""
        return f"{self._target.host}/#/runs/details/{job}"

    def _task(self, detail: Any, skipped: set[str]) -> Task:
        """A node; one whose container was not run was answered by the cache."""
        outcomes: dict[str, Any] = {"SUCCEEDED": "succeeded", "FAILED": "failed"}
        start, end = _time(detail.start_time), _time(detail.end_time)
        below = {
            name
            for child in detail.child_tasks or ()
            for name in (child.task_id, child.pod_name)
        }
        return Task(
            name=detail.display_name or "",
            outcome=outcomes.get(_word(detail.state)),
            seconds=max(end - start, 0.0) if start and end else 0.0,
            cached=not below.isdisjoint(skipped),
            ended=end,
            error=self._line(detail.error),
        )

    def _authority(self) -> str | None:
        given = self._target.ca_file
        if given is None:
            return None
        path = os.path.join(self._folder, given)
        if not os.path.isfile(path):
            raise ConfigError(
                f"kubeflow.ca_file is {given}, and there is no such file; name the"
                " certificate of who signed the cluster's"
            )
        return path

    def _probe(self, authority: str | None) -> None:
        """Asks for the cluster's health, once."""
        import certifi
        import urllib3

        headers = {} if self._token is None else {"authorization": self._bearer}
        pool = urllib3.PoolManager(
            cert_reqs="CERT_REQUIRED", ca_certs=authority or certifi.where()
        )
        url = f"{self._target.host}/apis/v2beta1/healthz"
        try:
            answer = pool.request(
                "GET",
                url,
                headers=headers,
                timeout=SECONDS,
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Refused(
                f"{self.title} at {self._target.host} cannot be reached"
                f" ({self._said(error)}); check kubeflow.host and kubeflow.ca_file, and"
                " that this machine may reach it"
            ) from error
        if answer.status != 200:
            raise self._refused(answer.status, answer.data)
        try:
            json.loads(answer.data)
        except ValueError as error:
            raise Refused(
                f"{self._target.host} answers, and not as {self.title}; kubeflow.host"
                " needs the path of the API too, such as /pipeline",
                exit_code=2,
            ) from error

    @property
    def _bearer(self) -> str:
        return f"Bearer {self._token}"

    def _asked(self, call: Callable[[], T]) -> T:
        """Calls the client.

        Raises:
          Refused, Silent: as `Service` says.
        """
        import kfp_server_api
        import urllib3

        try:
            return within(SECONDS, call, self.title)
        except kfp_server_api.ApiException as error:
            status = error.status or 0
            if status < 400 or status >= 500:
                raise Silent(
                    f"{self.title} does not answer ({status} {self._said(error)})"
                ) from None
            raise self._refused(status, error.body) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Silent(
                f"{self.title} does not answer ({self._said(error)})"
            ) from error

    def _refused(self, status: int, body: Any) -> Refused:
        said = self._message(body)
        text = f"{self.title} says: {status}{f', {said}' if said else ''}"
        target = self._target
        if status in (301, 302, 303, 307, 308, 401):
            has = "the token of kubeflow.token is not taken"
            mend = has if target.token else "it asks who you are: give kubeflow.token"
            return _NotTaken(f"{text}; {mend}")
        if status == 403:
            where = target.namespace or "its namespace"
            return Refused(
                f"{text}; whoever the token is of may not start runs in {where} as"
                f" {target.service_account or 'its default service account'}"
            )
        if status == 429:
            return Refused(f"{text}; wait, and submit again")
        if status == 404:
            return Refused(
                f"{text}; check kubeflow.host ({target.host}) and kubeflow.namespace",
                exit_code=2,
            )
        if status < 500:
            return Refused(f"{text}; mend the section kubeflow of the config", 2)
        return Refused(f"{text}; ask who runs the cluster, or try again")

    def _message(self, body: Any) -> str:
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        try:
            found = json.loads(text)
        except ValueError:
            return ""  # a page of a proxy
        if not isinstance(found, Mapping):
            return ""
        said = found.get("message") or found.get("error_message") or found.get("error")
        return one_line(str(said or ""), self._token or "")

    def _said(self, error: BaseException) -> str:
        reason = getattr(error, "reason", None) or error
        return one_line(str(reason), self._token or "") or type(error).__name__

    def _line(self, status: Any) -> str:
        said = getattr(status, "message", None) or ""
        return one_line(said, self._token or "")


def _token(target: remote_config.Kubeflow, folder: str) -> str | None:
    """The token; it stays in this process.

    Raises:
      ConfigError: it is not where the config says.
    """
    place = target.token
    if place is None:
        return None
    if place.env is not None:
        where, text = f"kubeflow.token: {place.env}", os.environ.get(place.env, "")
    else:
        where = f"kubeflow.token: {place.file}"
        try:
            path = os.path.join(folder, str(place.file))
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(
                f"{where} cannot be read ({reason}); name the file that holds the token"
            ) from None
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        what = "holds no token" if text else "is empty or not there"
        raise ConfigError(f"{where} {what}; let it hold the token, and nothing else")
    return text


def _word(state: Any) -> str:
    """A state of the API, which the client gives as text or as nothing."""
    return str(state or "").upper()


def _time(stamp: Any) -> float:
    """Seconds since the epoch; 0 where it is not set, or set to the epoch's eve."""
    return max(stamp.timestamp(), 0.0) if stamp else 0.0
