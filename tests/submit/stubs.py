"""Vertex AI, Kubeflow Pipelines and a bucket on localhost, for the real clients.

    with stubs.serve(stubs.Vertex) as service:
        service.answers = [service.state("RUNNING"), service.state("SUCCEEDED")]

A service keeps every request, refuses what its published protos do not take, and
answers as it is told to: `answers` one after the other to who asks how far a job came,
the last again and again; `on_create` first to who sends one. An answer is an object, a
status, a status with a message, the bytes of a page, `DROP` or `HANG`.
"""

import contextlib
import dataclasses
import datetime
import glob
import http.server
import json
import os
import re
import shutil
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from google.cloud.aiplatform_v1 import PipelineJob
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.io import fileio, filesystem, filesystem_registry

DROP, HANG = "drop", "hang"
WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
BEGAN = datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.timezone.utc)


@dataclasses.dataclass
class Request:
    """What came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Service:
    """What a server was asked, and what it is to answer.

    Attributes:
      requests: in their order.
      created: bodies of the jobs that it took.
      on_create: answers to who sends a job, before one is taken.
      answers: to who asks how far the job came.
      runs: called with the root of a job that was taken; leaves what a run leaves.
      released: ends what hangs.
    """

    def __init__(self, url: str):
        self.url = url
        self.requests: list[Request] = []
        self.created: list[Any] = []
        self.on_create: list[Any] = []
        self.answers: list[Any] = []
        self.runs: Callable[[str], None] = lambda root: None
        self.released = threading.Event()

    def next(self) -> Any:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def asked(self, method: str, end: str) -> list[Request]:
        return [
            one
            for one in self.requests
            if one.method == method and one.path.rstrip("/").endswith(end)
        ]

    def handle(self, request: Request) -> Any:
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        raise NotImplementedError


class Vertex(Service):
    """PipelineService of aiplatform v1 over REST, and a server of tokens."""

    number = "123456"
    token = "token-of-the-stub"

    def handle(self, request: Request) -> Any:
        if request.path == "/token":
            return {"access_token": self.token, "expires_in": 3600}
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return 401
        jobs = re.fullmatch(
            r"/v1/(projects/[^/]+/locations/[^/]+)/pipelineJobs", request.path
        )
        if request.method == "POST" and jobs:
            return self._create(request, jobs[1])
        if request.method == "GET" and "/pipelineJobs/" in request.path:
            return self.next()
        return 404

    def _create(self, request: Request, parent: str) -> Any:
        job_id = request.query["pipelineJobId"]
        if any(job_id in job["name"] for job in self.created):
            return 409, f"{job_id} is there"
        answer = self.on_create.pop(0) if self.on_create else None
        if answer is not None and answer != "take, then drop":
            return answer
        try:
            PipelineJob.from_json(json.dumps(request.body))
            json_format.ParseDict(
                request.body["pipelineSpec"], pipeline_spec_pb2.PipelineSpec()
            )
        except json_format.ParseError as error:
            return 400, str(error)
        if not re.fullmatch(r"[a-z][-a-z0-9]{0,127}", job_id):
            return 400, f"{job_id} is no id"
        location = parent.rpartition("/")[2]
        name = f"projects/{self.number}/locations/{location}/pipelineJobs/{job_id}"
        self.created.append({**request.body, "name": name})
        self.runs(request.body["runtimeConfig"]["gcsOutputDirectory"])
        return DROP if answer else self.created[-1]

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        error = {"code": status, "message": message, "status": WORDS[status]}
        return {"error": error}

    def state(self, state: str, *tasks: dict[str, Any], error: str = "") -> Any:
        """A job as the service tells of it."""
        found: dict[str, Any] = {
            "name": "a job",
            "state": f"PIPELINE_STATE_{state}",
            "jobDetail": {"taskDetails": list(tasks)},
        }
        return found | ({"error": {"code": 9, "message": error}} if error else {})

    def task(
        self, name: str, state: str, seconds: float = 0, start: float = 0, **more: Any
    ) -> dict[str, Any]:
        """A task, of which the start counts in seconds from `BEGAN`."""
        found: dict[str, Any] = {"taskId": "1", "taskName": name, "state": state}
        found["startTime"] = _stamp(start)
        if state in ("SUCCEEDED", "FAILED", "SKIPPED"):
            found["endTime"] = _stamp(start + seconds)
        if error := more.pop("error", ""):
            found["error"] = {"code": 9, "message": error}
        if uri := more.pop("record", ""):
            found["outputs"] = {"record": {"artifacts": [{"uri": uri}]}}
        return found


class Kubeflow(Service):
    """The REST API v2beta1 of Kubeflow Pipelines, behind a token."""

    token: str | None = "token-of-the-cluster"
    run_id = "5c2b0a9e-3f57-4d1c-9d4e-0f6c7a8b9d10"

    def __init__(self, url: str):
        super().__init__(url)
        self.experiments: list[dict[str, Any]] = []

    def handle(self, request: Request) -> Any:
        _, _, path = request.path.partition("/apis/v2beta1/")
        wanted = None if self.token is None else f"Bearer {self.token}"
        if request.headers.get("authorization") != wanted:
            return 401, f"{request.headers.get('authorization')} is not known"
        if path == "healthz":
            return {"multi_user": True}
        if path == "experiments" and request.method == "GET":
            wanted = json.loads(request.query["filter"])["predicates"][0]["stringValue"]
            found = [e for e in self.experiments if e["display_name"] == wanted]
            return {"experiments": found} if found else {}
        if path == "experiments":
            self.experiments.append({**request.body, "experiment_id": "experiment-1"})
            return self.experiments[-1]
        if path == "runs" and request.method == "POST":
            return self._create(request)
        if path == f"runs/{self.run_id}":
            return self.next()
        return 404

    def _create(self, request: Request) -> Any:
        if self.on_create:
            return self.on_create.pop(0)
        try:
            json_format.ParseDict(
                request.body["pipeline_spec"], pipeline_spec_pb2.PipelineSpec()
            )
        except json_format.ParseError as error:
            return 400, str(error)
        self.created.append(request.body)
        self.runs(request.body["runtime_config"]["pipeline_root"])
        return {**request.body, "run_id": self.run_id}

    def refusal(self, status: int, message: str) -> dict[str, Any]:
        return {"error": message, "code": status, "message": message, "details": []}

    def state(self, state: str, *tasks: list[dict[str, Any]], error: str = "") -> Any:
        """A run as the API tells of it: the nodes of Argo's workflow."""
        nodes = [
            self._node("root", "SUCCEEDED"),
            self._node("root-driver", "SUCCEEDED"),
        ]
        nodes += [node for task in tasks for node in task]
        found: dict[str, Any] = {
            "run_id": self.run_id,
            "state": state,
            "run_details": {"task_details": nodes},
        }
        return found | ({"error": {"code": 9, "message": error}} if error else {})

    def task(
        self, name: str, state: str, seconds: float = 0, start: float = 0, **more: Any
    ) -> list[dict[str, Any]]:
        """A task, its driver and its container; SKIPPED is what the cache answered."""
        cached = state == "SKIPPED"
        whole = self._node(name, "SUCCEEDED" if cached else state, start, seconds)
        whole["child_tasks"] = [{"pod_name": f"pod-{name}-executor"}]
        if error := more.pop("error", ""):
            whole["error"] = {"code": 9, "message": error}
        inner = self._node("executor", state, start, seconds)
        inner["pod_name"] = f"pod-{name}-executor"
        return [self._node(f"{name}-driver", "SUCCEEDED", start), whole, inner]

    def _node(
        self, name: str, state: str, start: float = 0, seconds: float = 0
    ) -> dict[str, Any]:
        found = {"task_id": f"{name}-{start}", "display_name": name, "state": state}
        found |= {"pod_name": f"pod-{name}", "start_time": _stamp(start)}
        # What has not ended is told as Argo's zero.
        ended = state in ("SUCCEEDED", "FAILED", "SKIPPED")
        end = _stamp(start + seconds) if ended else "0001-01-01T00:00:00Z"
        return {**found, "end_time": end}


def _stamp(seconds: float) -> str:
    time = BEGAN + datetime.timedelta(seconds=seconds)
    return time.isoformat().replace("+00:00", "Z")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        size = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(size)
        body = None
        if text and "json" in self.headers.get("Content-Type", ""):
            body = json.loads(text)
        headers = {key.lower(): value for key, value in self.headers.items()}
        pairs = dict(urllib.parse.parse_qsl(query))
        request = Request(self.command, path, pairs, headers, body)
        self.service.requests.append(request)
        answer = self.service.handle(request)
        if answer == HANG:
            self.service.released.wait(60)
            answer = DROP
        if answer == DROP:
            self.close_connection = True
            self.connection.close()
            return
        if isinstance(answer, int):
            answer = (answer, WORDS.get(answer, "because"))
        if isinstance(answer, tuple):
            return self._send(answer[0], self.service.refusal(*answer))
        return self._send(200, answer)

    do_GET = do_POST = _answer  # noqa: N815

    def _send(self, status: int, value: Any) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = "text/html" if isinstance(value, bytes) else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serve(kind: type[Service]) -> Iterator[Any]:
    """A server of its own port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.block_on_close = False
    service = kind(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Bound", (_Handler,), {"service": service})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.released.set()
        server.shutdown()
        server.server_close()


class Bucket(filesystem.Filesystem):
    """Cloud Storage for TFX's fileio: a folder of this machine."""

    SUPPORTED_SCHEMES = ["gs://"]
    folder = ""
    refuses = ""  # what it says to whoever reads

    @classmethod
    def at(cls, address: str) -> str:
        if cls.refuses:
            raise PermissionError(cls.refuses)
        return os.path.join(cls.folder, address.removeprefix("gs://"))

    @classmethod
    def open(cls, name: str, mode: str = "r") -> Any:
        return open(cls.at(name), mode)

    @classmethod
    def exists(cls, path: str) -> bool:
        return os.path.exists(cls.at(path))

    @classmethod
    def glob(cls, pattern: str) -> list[str]:
        found = glob.glob(cls.at(pattern))
        return [f"gs://{os.path.relpath(path, cls.folder)}" for path in found]

    @classmethod
    def isdir(cls, path: str) -> bool:
        return os.path.isdir(cls.at(path))

    @classmethod
    def stat(cls, path: str) -> Any:
        return os.stat(cls.at(path))

    @classmethod
    def listdir(cls, path: str) -> list[str]:
        return os.listdir(cls.at(path))

    @classmethod
    def makedirs(cls, path: str) -> None:
        os.makedirs(cls.at(path), exist_ok=True)

    @classmethod
    def rmtree(cls, path: str) -> None:
        shutil.rmtree(cls.at(path))


for _missing in ("copy", "mkdir", "remove", "rename", "walk"):
    setattr(Bucket, _missing, staticmethod(None))
Bucket.__abstractmethods__ = frozenset()


@contextlib.contextmanager
def bucket(folder: Any) -> Iterator[type[Bucket]]:
    """Lets `gs://` be a folder for all that goes through fileio."""
    assert fileio  # registers what stands behind it else
    registry = filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY
    schemes = registry._preferred_filesystem_by_scheme
    before = schemes["gs://"]
    Bucket.folder, Bucket.refuses = str(folder), ""
    registry.register(Bucket, priority=-1)
    try:
        yield Bucket
    finally:
        schemes["gs://"] = before
