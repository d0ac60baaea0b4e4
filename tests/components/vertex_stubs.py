"""Vertex AI on localhost: gRPC services that Google's own clients speak to.

    with vertex_stubs.serve(monkeypatch) as vertex:
        ...
        vertex.jobs["projects/..."]

Only the channel differs from the real thing: plain, and to this machine. What the
services do is as their reference says, and as little as is asked for here.
"""

import concurrent.futures
import contextlib
import dataclasses
import re
import subprocess
from collections.abc import Callable
from typing import Any

import grpc
from google.api_core import grpc_helpers
from google.cloud import aiplatform_v1
from google.cloud.aiplatform import initializer
from google.cloud.aiplatform_v1 import types
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2

PACKAGE = "google.cloud.aiplatform.v1"
# Looks like a service account's key, and is none.
SECRET = "c3VjaC1hLXNlY3JldC1tdXN0LW5vdC1hcHBlYXI"


@dataclasses.dataclass
class Vertex:
    """What the services hold, and what they were asked.

    Attributes:
      hosts: that clients wanted to speak to.
      requests: method and message, in their order.
      jobs, models, endpoints: resource name -> message.
      work: what a job does when it is first asked for; returns its last state and what
        its error says.
      fail: method -> statuses and messages of the next answers.
    """

    hosts: list[str] = dataclasses.field(default_factory=list)
    requests: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    jobs: dict[str, Any] = dataclasses.field(default_factory=dict)
    models: dict[str, Any] = dataclasses.field(default_factory=dict)
    endpoints: dict[str, Any] = dataclasses.field(default_factory=dict)
    work: Callable[[Any], tuple[Any, str]] | None = None
    fail: dict[str, list[tuple[Any, str]]] = dataclasses.field(default_factory=dict)

    def asked(self, method: str) -> list[Any]:
        """The messages that a method got."""
        return [message for name, message in self.requests if name == method]

    # JobService

    def CreateCustomJob(self, request):
        name = f"{request.parent}/customJobs/{len(self.jobs) + 1}"
        job = _copy(types.CustomJob, request.custom_job)
        job.name, job.state = name, types.JobState.JOB_STATE_PENDING
        self.jobs[name] = job
        return job

    def GetCustomJob(self, request):
        job = self.jobs[request.name]
        if job.state == types.JobState.JOB_STATE_PENDING:
            job.state = types.JobState.JOB_STATE_RUNNING
        elif job.state == types.JobState.JOB_STATE_RUNNING and self.work:
            job.state, said = self.work(job)
            if said:
                job.error = {"code": 3, "message": said}
        return job

    def ListCustomJobs(self, request):
        found = [j for j in self.jobs.values() if _matches(j, request.filter)]
        return types.ListCustomJobsResponse(custom_jobs=found)

    def CancelCustomJob(self, request):
        self.jobs[request.name].state = types.JobState.JOB_STATE_CANCELLED
        return empty_pb2.Empty()

    # ModelService

    def UploadModel(self, request):
        name = f"{request.parent}/models/{len(self.models) + 1}"
        model = _copy(types.Model, request.model)
        model.name, model.version_id = name, "1"
        model.supported_deployment_resources_types = [
            types.Model.DeploymentResourcesType.DEDICATED_RESOURCES
        ]
        self.models[name] = model
        answer = types.UploadModelResponse(model=name, model_version_id="1")
        return _done(answer, types.UploadModelOperationMetadata())

    def GetModel(self, request):
        return self.models[request.name.partition("@")[0]]

    def ListModels(self, request):
        found = [m for m in self.models.values() if _matches(m, request.filter)]
        return types.ListModelsResponse(models=found)

    def DeleteModel(self, request):
        del self.models[request.name]
        return _done(empty_pb2.Empty(), types.DeleteOperationMetadata())

    # EndpointService

    def CreateEndpoint(self, request):
        name = f"{request.parent}/endpoints/{len(self.endpoints) + 1}"
        endpoint = _copy(types.Endpoint, request.endpoint)
        endpoint.name = name
        self.endpoints[name] = endpoint
        return _done(endpoint, types.CreateEndpointOperationMetadata())

    def GetEndpoint(self, request):
        return self.endpoints[request.name]

    def ListEndpoints(self, request):
        found = [e for e in self.endpoints.values() if _matches(e, request.filter)]
        return types.ListEndpointsResponse(endpoints=found)

    def UpdateEndpoint(self, request):
        assert list(request.update_mask.paths) == ["traffic_split"]
        self._split(request.endpoint.name, dict(request.endpoint.traffic_split))
        return self.endpoints[request.endpoint.name]

    def DeployModel(self, request):
        endpoint = self.endpoints[request.endpoint]
        assert request.deployed_model.model.partition("@")[0] in self.models
        deployed = _copy(types.DeployedModel, request.deployed_model)
        deployed.id = str(100 + sum(m == "DeployModel" for m, _ in self.requests))
        endpoint.deployed_models = [*endpoint.deployed_models, deployed]
        split = dict(request.traffic_split)
        split[deployed.id] = split.pop("0")
        self._split(request.endpoint, split)
        answer = types.DeployModelResponse(deployed_model=deployed)
        return _done(answer, types.DeployModelOperationMetadata())

    def UndeployModel(self, request):
        endpoint = self.endpoints[request.endpoint]
        left = [
            d for d in endpoint.deployed_models if d.id != request.deployed_model_id
        ]
        assert not dict(endpoint.traffic_split).get(request.deployed_model_id)
        assert len(left) < len(endpoint.deployed_models)
        endpoint.deployed_models = left
        split = dict(endpoint.traffic_split)
        split.pop(request.deployed_model_id, None)
        self._split(request.endpoint, split)
        return _done(
            types.UndeployModelResponse(), types.UndeployModelOperationMetadata()
        )

    def _split(self, name, split):
        """The service takes a split of all that is deployed, of 100 in all."""
        ids = {deployed.id for deployed in self.endpoints[name].deployed_models}
        assert set(split) <= ids
        assert sum(split.values()) == 100
        self.endpoints[name].traffic_split = split


_REQUESTS = {
    "JobService": ("CreateCustomJob", "GetCustomJob", "ListCustomJobs"),
    "ModelService": ("UploadModel", "GetModel", "ListModels", "DeleteModel"),
    "EndpointService": (
        *("CreateEndpoint", "GetEndpoint", "ListEndpoints", "UpdateEndpoint"),
        *("DeployModel", "UndeployModel"),
    ),
}
_REQUESTS["JobService"] += ("CancelCustomJob",)


@contextlib.contextmanager
def serve(monkeypatch, secret_file):
    """Serves, and has Google's clients speak to it.

    Args:
      monkeypatch: of the test.
      secret_file: gets a service account's key, which the clients are told to use.
    """
    vertex = Vertex()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    for service, methods in _REQUESTS.items():
        handlers = {method: _handler(vertex, method) for method in methods}
        name = f"{PACKAGE}.{service}"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, handlers),)
        )
    port = server.add_insecure_port("localhost:0")
    server.start()

    def channel(host, *arguments, **options):
        del arguments, options
        vertex.hosts.append(host)
        return grpc.insecure_channel(f"localhost:{port}")

    secret_file.write_text(_key())
    monkeypatch.setattr(grpc_helpers, "create_channel", channel)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(secret_file))
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    # What an earlier test's key file held.
    monkeypatch.setattr(initializer.global_config, "_credentials", None)
    try:
        yield vertex
    finally:
        server.stop(None)


def _handler(vertex, method):
    kind = getattr(aiplatform_v1, f"{method}Request")

    def answer(request, context):
        vertex.requests.append((method, request))
        failures = vertex.fail.get(method)
        if failures:
            context.abort(*failures.pop(0))
        try:
            return getattr(vertex, method)(request)
        except KeyError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{error} does not exist")

    def written(message):
        return getattr(type(message), "pb", lambda m: m)(message).SerializeToString()

    return grpc.unary_unary_rpc_method_handler(answer, kind.deserialize, written)


def _done(answer, metadata):
    def packed(message):
        made = any_pb2.Any()
        made.Pack(getattr(type(message), "pb", lambda m: m)(message))
        return made

    return operations_pb2.Operation(
        name="projects/1/locations/a/operations/1",
        done=True,
        response=packed(answer),
        metadata=packed(metadata),
    )


def _copy(kind, message):
    """A message of the stub's own.

    By its bytes: with the clients in the same process, protobuf may have made a second
    class of the same message, which the first does not take.
    """
    raw = kind.pb(message) if isinstance(message, kind) else message
    return kind.deserialize(raw.SerializeToString())


def _matches(resource, wanted):
    found = re.fullmatch(r'(?:labels\.([-\w]+)|display_name)="([^"]*)"', wanted)
    assert found, wanted
    value = resource.labels.get(found[1]) if found[1] else resource.display_name
    return value == found[2]


def _key():
    """A service account's key file, made anew, with the secret in it."""
    import json

    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "a-project",
            "private_key_id": SECRET,
            "private_key": made.stdout,
            "client_email": "someone@a-project.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
    )


def secrets_of(secret_file):
    """What must appear nowhere."""
    import json

    key = json.loads(secret_file.read_text())
    body = "".join(key["private_key"].splitlines()[1:-1])
    return [SECRET, body[100:140], key["private_key"].splitlines()[5]]
