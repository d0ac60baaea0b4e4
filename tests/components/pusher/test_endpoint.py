"""Pushing to an endpoint: what Vertex AI is asked for, against its stub."""

import json
import os
import re

import grpc
import pytest
from tfx.types import channel_utils, standard_artifacts

from components import cloud, digests
from components.errors import DataError
from components.pusher import component, endpoint, rollback, versions
from components.pusher.target import Deployed, Target
from tests.components import bucket_stub, vertex_stubs
from tests.components.pusher.test_executor import bless, override

BUCKET = "gs://tfx-irm-test"
SERVING = f"{BUCKET}/root/serving"
PARENT = "projects/a-project/locations/europe-west4"
TO = Target(
    project="a-project",
    region="europe-west4",
    endpoint="flights late",
    pipeline="flights",
    image="registry.example.com/serving:1",
    machine="n1-standard-2",
    traffic=10,
    least=1,
    most=3,
    service_account="server@a-project.iam.gserviceaccount.com",
    labels={"team": "a-team"},
)


@pytest.fixture
def vertex(monkeypatch, tmp_path):
    with vertex_stubs.serve(monkeypatch, tmp_path / "key.json") as services:
        yield services


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    bucket_stub.mount(monkeypatch, BUCKET, folder)
    return folder


@pytest.fixture
def push(tmp_path, model, bucket):
    """Runs the executor that the component names, for a model; returns its output."""

    def go(
        text="a",
        blessed=True,
        infra=1,
        given=None,
        to=TO,
        serving=SERVING,
        judged=None,
    ):
        artifact = standard_artifacts.Model()
        artifact.uri = os.path.dirname(model(text))
        digest = judged or digests.of_model(model(text))
        blessing = bless(tmp_path / f"blessing-{text}", blessed, digest)
        loaded = standard_artifacts.InfraBlessing()
        loaded.set_int_custom_property("blessed", infra)
        made = pusher(given, to, serving)
        pushed = standard_artifacts.PushedModel()
        number = len(list(bucket.rglob("saved_model.pb")))
        pushed.uri = f"{BUCKET}/root/Pusher/pushed_model/{number}"
        made.executor_spec.executor_class().Do(
            {
                "model": [artifact],
                "model_blessing": [blessing],
                "infra_blessing": [loaded],
            },
            {"pushed_model": [pushed]},
            dict(made.exec_properties),
        )
        return pushed

    return go


def pusher(given=None, to=TO, serving=SERVING):
    return component.Pusher(
        channel_utils.as_channel([standard_artifacts.Model()]),
        channel_utils.as_channel([standard_artifacts.ModelBlessing()]),
        channel_utils.as_channel([standard_artifacts.InfraBlessing()]),
        serving,
        given,
        endpoint=to,
    )


def is_pushed(artifact):
    return artifact.get_int_custom_property("pushed") == 1


def told(artifact, key):
    return artifact.get_string_custom_property(key)


def traffic(vertex, model):
    """Digest of a text's model -> its percent, of the one endpoint."""
    (there,) = vertex.endpoints.values()
    split = dict(there.traffic_split)
    return {
        text: sum(
            split.get(one.id, 0)
            for one in there.deployed_models
            if one.display_name == TO.model_name(digests.of_model(model(text)))
        )
        for text in "abc"
    }


def on_it(vertex):
    (there,) = vertex.endpoints.values()
    return len(there.deployed_models)


class TestTheFirstPush:
    def test_makes_the_endpoint_and_gives_it_all(self, vertex, push, model, bucket):
        pushed = push("a")
        digest = digests.of_model(model("a"))
        version = versions.latest(SERVING)
        assert is_pushed(pushed)
        assert told(pushed, "pushed_destination") == f"{PARENT}/endpoints/1"
        assert told(pushed, "pushed_version") == str(version.number)
        assert told(pushed, "digest") == digest
        assert told(pushed, "override") == ""
        (made,) = vertex.asked("CreateEndpoint")
        assert made.parent == PARENT
        assert made.endpoint.display_name == "flights late"
        assert made.endpoint.labels["team"] == "a-team"
        assert set(vertex.hosts) == {"europe-west4-aiplatform.googleapis.com:443"}
        (uploaded,) = vertex.asked("UploadModel")
        assert uploaded.model.display_name == f"flights-{digest}"
        assert uploaded.model.artifact_uri == version.path
        image = uploaded.model.container_spec.image_uri
        assert image == "registry.example.com/serving:1"
        (deploying,) = vertex.asked("DeployModel")
        given = deploying.deployed_model
        assert given.display_name == f"flights-{digest}"
        assert given.service_account == "server@a-project.iam.gserviceaccount.com"
        resources = given.dedicated_resources
        assert resources.machine_spec.machine_type == "n1-standard-2"
        assert (resources.min_replica_count, resources.max_replica_count) == (1, 3)
        assert traffic(vertex, model) == {"a": 100, "b": 0, "c": 0}

    def test_what_is_served_tells_what_it_is(self, vertex, push, bucket):
        push("a")
        (uploaded,) = vertex.asked("UploadModel")
        folder = uploaded.model.artifact_uri.replace(BUCKET, str(bucket))
        with open(os.path.join(folder, "assets.extra", "release.json")) as file:
            release = json.load(file)
        assert uploaded.model.display_name == f"flights-{release['digest']}"
        assert os.path.isfile(os.path.join(folder, "saved_model.pb"))

    def test_an_endpoint_that_is_there_is_taken(self, vertex, push, model):
        vertex.CreateEndpoint(
            endpoint_request(PARENT, {"display_name": "flights late"})
        )
        push("a")
        assert not vertex.asked("CreateEndpoint")
        assert traffic(vertex, model) == {"a": 100, "b": 0, "c": 0}


def endpoint_request(parent, given):
    from google.cloud import aiplatform_v1

    return aiplatform_v1.CreateEndpointRequest(parent=parent, endpoint=given)


class TestTheNext:
    def test_a_second_push_moves_the_split(self, vertex, push, model):
        push("a")
        push("b")
        assert traffic(vertex, model) == {"a": 90, "b": 10, "c": 0}
        push("c")
        assert traffic(vertex, model) == {"a": 81, "b": 9, "c": 10}
        assert len(vertex.asked("CreateEndpoint")) == 1

    def test_the_same_model_is_not_pushed_again(self, vertex, push, model):
        push("a")
        push("b")
        asked = len(vertex.requests)
        again = push("b")
        assert is_pushed(again)
        assert told(again, "pushed_destination") == f"{PARENT}/endpoints/1"
        since = {name for name, _ in vertex.requests[asked:]}
        assert since == {"ListEndpoints", "GetEndpoint"}
        assert len(versions.versions(SERVING)) == 2

    def test_an_older_one_is_not_pushed(self, vertex, push, model):
        push("a")
        push("b")
        asked = len(vertex.requests)
        again = push("a")
        assert not is_pushed(again)
        assert "was released before" in told(again, "not_pushed")
        assert len(vertex.requests) == asked

    def test_more_traffic_is_a_push_of_the_same(self, vertex, push, model):
        push("a")
        push("b")
        more = Target.from_json(TO.to_json().replace('"traffic": 10', '"traffic": 40'))
        assert more.traffic == 40
        push("b", to=more)
        assert traffic(vertex, model) == {"a": 60, "b": 40, "c": 0}
        assert len(vertex.asked("DeployModel")) == 2

    def test_all_traffic_leaves_the_one_before_and_no_other(self, vertex, push, model):
        everything = Target.from_json(
            TO.to_json().replace('"traffic": 10', '"traffic": 100')
        )
        for text in "abc":
            push(text, to=everything)
        assert traffic(vertex, model) == {"a": 0, "b": 0, "c": 100}
        assert on_it(vertex) == 2
        (undeployed,) = vertex.asked("UndeployModel")
        assert undeployed.deployed_model_id == "101"

    def test_a_model_of_somebody_else_keeps_its_share(self, vertex, push, model):
        push("a")
        (there,) = vertex.endpoints.values()
        there.deployed_models[0].display_name = "by hand"
        push("b")
        found = {d.name: d.traffic for d in endpoint.deployed(TO)}
        digest = digests.of_model(model("b"))
        assert found == {"by hand": 90, TO.model_name(digest): 10}


class TestTheSameRules:
    """As where a folder is pushed to: nothing reaches the service."""

    def test_a_refused_model(self, vertex, push):
        assert not is_pushed(push(blessed=False))
        assert not vertex.requests
        assert not versions.versions(SERVING)

    def test_one_that_does_not_load(self, vertex, push, model):
        given = override(digests.of_model(model("a")))
        pushed = push(infra=0, given=given)
        assert not is_pushed(pushed)
        assert told(pushed, "not_pushed") == "it did not pass the load check"
        assert not vertex.requests

    def test_a_model_of_an_override(self, vertex, push, model):
        given = override(digests.of_model(model("a")))
        pushed = push(blessed=False, given=given)
        assert is_pushed(pushed)
        assert json.loads(told(pushed, "override")) == given
        assert versions.latest(SERVING).release["override"] == given
        assert len(vertex.asked("DeployModel")) == 1

    def test_an_override_that_has_expired(self, vertex, push, model):
        given = override(digests.of_model(model("a")), days=-1)
        pushed = push(blessed=False, given=given)
        assert not is_pushed(pushed)
        assert "expired" in told(pushed, "not_pushed")
        assert not vertex.requests

    def test_a_model_that_was_rolled_back(self, vertex, push, model):
        push("a")
        push("b")
        rollback.roll_back(SERVING)
        asked = len(vertex.requests)
        again = push("b")
        assert not is_pushed(again)
        assert "was rolled back" in told(again, "not_pushed")
        assert len(vertex.requests) == asked

    def test_a_swapped_model(self, vertex, push):
        with pytest.raises(DataError, match="is not the one that was judged"):
            push("a", judged="d" * 32)
        assert not vertex.requests

    def test_a_folder_of_this_machine(self, vertex, push, tmp_path):
        with pytest.raises(DataError, match="Vertex AI does not read; compile"):
            push("a", serving=str(tmp_path / "serving"))
        assert not vertex.requests


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            ("PERMISSION_DENIED", DataError, "refused it (PermissionDenied: no)"),
            ("INVALID_ARGUMENT", DataError, "refused it (InvalidArgument: no)"),
            ("RESOURCE_EXHAUSTED", cloud.CloudError, "did not do it"),
        ],
    )
    def test_half_way(self, vertex, push, model, status, kind, said):
        push("a")
        vertex.fail["DeployModel"] = [(grpc.StatusCode[status], "no")]
        with pytest.raises(kind) as raised:
            push("b")
        text = str(raised.value)
        where = "the endpoint flights late in a-project, europe-west4"
        assert text.startswith(f"{where}: Vertex AI {said}")
        assert re.search(
            rf"version \d+ is released in {SERVING}/\d+, and {where}", text
        )
        assert traffic(vertex, model) == {"a": 100, "b": 0, "c": 0}
        assert len(vertex.models) == 1  # what was registered for nothing is gone
        push("b")  # goes on
        assert traffic(vertex, model) == {"a": 90, "b": 10, "c": 0}
        assert len(versions.versions(SERVING)) == 2

    def test_two_endpoints_of_a_name(self, vertex, push):
        for _ in range(2):
            vertex.CreateEndpoint(
                endpoint_request(PARENT, {"display_name": "flights late"})
            )
        with pytest.raises(DataError, match="is not one but 2 .*delete the others"):
            push("a")
        assert not vertex.asked("UploadModel")

    def test_a_region_that_there_is_not(self, vertex, push):
        nowhere = Target.from_json(TO.to_json().replace("europe-west4", "mars-north1"))
        with pytest.raises(DataError, match="vertex.region is mars-north1, which"):
            push("a", to=nowhere)
        assert not vertex.requests

    def test_without_credentials(self, vertex, push, monkeypatch, tmp_path):
        missing = str(tmp_path / "no-such.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", missing)
        with pytest.raises(DataError, match="there are no credentials"):
            push("a")


def test_no_secret_leaves_this_machine(vertex, push, tmp_path, caplog):
    caplog.set_level("DEBUG")
    caplog.set_level("INFO", logger="google")  # whose clients log all that they send
    pushed = push("a")
    push("b")
    said = [caplog.text, str(pushed), json.dumps(pusher().exec_properties, default=str)]
    said += [str(message) for _, message in vertex.requests]
    assert len(vertex.asked("DeployModel")) == 2
    written = [p for p in (tmp_path / "bucket").rglob("*") if p.is_file()]
    assert len(written) > 6
    said += [path.read_text(errors="replace") for path in written]
    for secret in vertex_stubs.secrets_of(tmp_path / "key.json"):
        assert len(secret) > 30
        assert not [text for text in said if secret in text]


def test_an_endpoint_that_is_not_there_serves_nothing(vertex):
    assert endpoint.deployed(TO) == []


def test_what_is_there_is_read(vertex, push, model):
    push("a")
    digest = digests.of_model(model("a"))
    name = f"flights-{digest}"
    assert endpoint.deployed(TO) == [Deployed("101", name, 100, "flights", digest)]
