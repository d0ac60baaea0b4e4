"""A token and a key go to the service that they are for, and nowhere else."""

import json

import pytest

from tests.submit import stubs
from tests.submit.helpers import KUBEFLOW_LAYOUTS, VERTEX_LAYOUT, Leaves

TOKEN = "s3cr3t-t0ken-of-the-cluster"


def written(project):
    """All that lies in the project's folder, and the log among it."""
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert any(path.name == "log.txt" for path in files)
    return {str(path): path.read_bytes() for path in files}


def sent(service):
    """All that was sent, but for the headers that carry it."""
    for one in service.requests:
        headers = {k: v for k, v in one.headers.items() if k != "authorization"}
        yield json.dumps([one.path, one.query, headers, one.body])


@pytest.fixture
def cluster(kubeflow, project, monkeypatch):
    kubeflow.token = TOKEN
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    host = "https://kubeflow.example.com/pipeline"
    project.replace(host, f"{kubeflow.url}/pipeline")
    kubeflow.runs = Leaves(KUBEFLOW_LAYOUTS[0])
    return kubeflow


def failing(service):
    """Ways to end, each of which tells something."""
    failed = service.task("Trainer", "FAILED", 1, error=f"saw {TOKEN} there")
    return {
        "succeeded": [service.state("SUCCEEDED")],
        "failed": [service.state("FAILED", failed, error=f"saw {TOKEN}")],
        "refused": [(401, f"Bearer {TOKEN} has expired")],
        "not found": [(404, f"nothing for {TOKEN}")],
        "silent": [stubs.DROP],
        "unavailable": [(503, f"{TOKEN} cannot be checked")],
    }


@pytest.mark.parametrize(
    "end", ["succeeded", "failed", "refused", "not found", "silent", "unavailable"]
)
def test_of_a_cluster(cluster, project, end):
    cluster.answers = failing(cluster)[end]
    code, *told = project.submit("--on", "kubeflow", "--debug")
    assert code == (0 if end == "succeeded" else {"not found": 2}.get(end, 1))
    assert TOKEN in str([one.headers for one in cluster.requests])
    assert not any(TOKEN in text for text in (*told, *sent(cluster)))
    for path, content in written(project).items():
        assert TOKEN.encode() not in content, path


def test_of_google(vertex, project, private_key):
    vertex.runs = Leaves(VERTEX_LAYOUT)
    vertex.answers = [vertex.state("SUCCEEDED")]
    code, *told = project.submit("--on", "vertex", "--debug")
    assert code == 0
    secrets = [vertex.token, *private_key.splitlines()[1:-1]]
    for secret in secrets:
        assert not any(secret in text for text in (*told, *sent(vertex)))
        for path, content in written(project).items():
            assert secret.encode() not in content, path
