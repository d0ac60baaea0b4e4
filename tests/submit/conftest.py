"""The stubs in the place of the services, and a project that is submitted to them."""

import json
import os

import jsonschema
import pytest
import rsa
from apache_beam.internal.gcp import auth
from apache_beam.io.filesystems import FileSystems

from components import remote
from pipeline import cli, following, vertex_service
from pipeline.schema import make
from tests.components import remote_stubs
from tests.submit import stubs
from tests.submit.helpers import DATA, Project

SUMMARY = os.path.join(os.path.dirname(make.CONFIG_SCHEMA), "summary.schema.json")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Looks within milliseconds, and gives up within a second."""
    patience = following.Patience(first=0.01, most=0.02, silence=1.0)
    monkeypatch.setattr(following, "PATIENCE", patience)


@pytest.fixture
def bucket(tmp_path):
    """`gs://`, as a folder."""
    (tmp_path / "buckets").mkdir()
    with stubs.bucket(tmp_path / "buckets") as found:
        yield found


@pytest.fixture(scope="session")
def private_key():
    """Of a service account; a secret."""
    return rsa.newkeys(1024)[1].save_pkcs1().decode()


@pytest.fixture
def store(monkeypatch, tmp_path, private_key):
    """The sources in Cloud Storage, and an account that may list them."""
    with remote_stubs.serve(remote_stubs.GcsHandler) as gcs:
        for name in DATA:
            gcs.objects[f"a-bucket/data/{name}"] = name.encode()
        monkeypatch.setattr(remote, "_answered", set())
        monkeypatch.setattr(remote, "_kept", {})
        monkeypatch.setattr(remote, "_PATIENCE", 1)
        monkeypatch.setattr(FileSystems, "_pipeline_options", None)
        monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        told = {"type": "service_account", "client_email": "me@example.invalid"}
        told |= {"private_key": private_key, "token_uri": f"{gcs.url}/token"}
        (tmp_path / "account.json").write_text(json.dumps(told))
        monkeypatch.setenv(
            "GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json")
        )
        yield gcs


@pytest.fixture
def vertex(monkeypatch, bucket, store):
    """Vertex AI, in the place of the real one."""
    with stubs.serve(stubs.Vertex) as service:
        service.token = "fake-token"  # of the stub of Cloud Storage
        monkeypatch.setenv(vertex_service.ENDPOINT, service.url)
        yield service


@pytest.fixture
def kubeflow(monkeypatch, bucket, store):
    """A cluster, and the variable with its token."""
    with stubs.serve(stubs.Kubeflow) as service:
        monkeypatch.setenv("THE_TOKEN", service.token)
        yield service


@pytest.fixture
def project(tmp_path, capfd):
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, capfd)


@pytest.fixture
def command(capfd):
    """Exit code, standard output and standard error of any command."""

    def run(*words):
        code = cli.main(list(words))
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def is_summary():
    """Refuses what is no `summary.json`, by the package's schema."""
    with open(SUMMARY) as file:
        schema = json.load(file)
    return jsonschema.Draft202012Validator(schema).validate
