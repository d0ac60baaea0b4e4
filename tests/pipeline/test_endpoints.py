"""`train.where` and `push.to: vertex`: what is compiled, and what is refused here."""

import json

import pytest

from components import digests
from components.pusher import versions
from components.pusher.target import Target
from components.trainer.custom_job import Job
from pipeline import cli, compiling, endpoints
from pipeline.config_io import load_config
from tests.components import bucket_stub, vertex_stubs

BUCKET = "gs://tfx-irm-test"
ON_VERTEX = f"""
vertex:
  project: a-project
  region: europe-west4
  root: {BUCKET}/root
  image: registry.example.com/tfx-irm:1
  service_account: trainer@a-project.iam.gserviceaccount.com
  network: projects/12345/global/networks/a-network
  labels: {{team: a-team}}
  training: {{machine: n1-highmem-8, workers: 4, spot: true, timeout: 36h}}
  resources:
    trainer: {{accelerator: NVIDIA_TESLA_T4, count: 2, cpu: 1, retries: 2}}
push:
  to: vertex
  endpoint: late flights
  serving_image: registry.example.com/serving:1
  traffic: 10
  machine: n1-standard-4
  replicas: {{min: 2, max: 5}}
"""
TRAINS_THERE = "train.where=vertex"


@pytest.fixture
def there(project):
    """The project, with its data in a bucket."""
    text = project.config.read_text().replace(" data/", f" {BUCKET}/data/")
    project.config.write_text(text + ON_VERTEX)
    return project


@pytest.fixture
def compiled(there):
    def go(*sets, on="vertex"):
        def load(method):
            return load_config(str(there.config), sets=list(sets), method=method)

        return compiling.runtime_of(load, on)

    return go


def refused(project, capsys, *words):
    assert cli.main([words[0], str(project.config), *words[1:]]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


class TestCompiled:
    @pytest.fixture(scope="class")
    def job(self, tmp_path_factory):
        from tests.pipeline.conftest import Project

        project = Project(tmp_path_factory.mktemp("compiled"))
        text = project.config.read_text().replace(" data/", f" {BUCKET}/data/")
        project.config.write_text(text + ON_VERTEX)
        from pipeline import kubeflow_v2_runner

        def load(method):
            path = str(project.config)
            return load_config(path, sets=[TRAINS_THERE], method=method)

        return kubeflow_v2_runner.compile_job(compiling.runtime_of(load))

    def task(self, job, name):
        spec = job["pipelineSpec"]
        task = spec["root"]["dag"]["tasks"][name]
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        values = {
            key: given["runtimeValue"]["constant"]
            for key, given in task["inputs"]["parameters"].items()
            if "runtimeValue" in given
        }
        return task, container, values

    def test_the_trainer_starts_a_job(self, job):
        task, container, values = self.task(job, "Trainer")
        path = "components.trainer.vertex_executor.Executor"
        assert path in container["args"]
        assert Job.from_json(values["job"]) == Job(
            project="a-project",
            region="europe-west4",
            name="flights-trainer",
            image="registry.example.com/tfx-irm:1",
            machine="n1-highmem-8",
            accelerator="NVIDIA_TESLA_T4",
            count=2,
            workers=4,
            spot=True,
            seconds=36 * 3600,
            service_account="trainer@a-project.iam.gserviceaccount.com",
            network="projects/12345/global/networks/a-network",
            labels={"team": "a-team"},
        )
        # The container of the stage waits, which takes no accelerator.
        assert container["resources"] == {"cpuLimit": 1.0, "memoryLimit": 16.0}
        assert task["retryPolicy"]["maxRetryCount"] == 2
        assert task["inputs"]["parameters"]["method"] == {
            "componentInputParameter": "method"
        }

    def test_the_pusher_has_an_endpoint_serve(self, job):
        _, container, values = self.task(job, "Pusher")
        assert "components.pusher.vertex_executor.Executor" in container["args"]
        assert Target.from_json(values["endpoint"]) == Target(
            project="a-project",
            region="europe-west4",
            endpoint="late flights",
            pipeline="flights",
            image="registry.example.com/serving:1",
            machine="n1-standard-4",
            traffic=10,
            least=2,
            most=5,
            service_account="trainer@a-project.iam.gserviceaccount.com",
            labels={"team": "a-team"},
        )
        destination = json.loads(values["push_destination"])
        folder = destination["filesystem"]["base_directory"]
        assert folder == f"{BUCKET}/root/serving"


def test_a_spec_holds_no_secret(compiled, monkeypatch, tmp_path, capfd):
    from pipeline import kubeflow_v2_runner

    with vertex_stubs.serve(monkeypatch, tmp_path / "key.json"):
        made = compiled(TRAINS_THERE)
        text = kubeflow_v2_runner.text(kubeflow_v2_runner.compile_job(made))
    assert "trainer@a-project.iam.gserviceaccount.com" in text
    said = [text, str(made), "".join(capfd.readouterr())]
    for secret in vertex_stubs.secrets_of(tmp_path / "key.json"):
        assert not [one for one in said if secret in one]


def test_where_it_trains_and_goes_is_no_other_config(compiled):
    from pipeline import stages

    here = compiled("push.to=filesystem").config
    elsewhere = compiled(TRAINS_THERE).config
    assert here.train.where != elsewhere.train.where
    assert stages.config_digest(here) == stages.config_digest(elsewhere)


def test_a_plain_config_has_neither(project):
    config = load_config(str(project.config))
    assert endpoints.target(config) is None
    assert endpoints.training_job(config) is None


def test_a_cluster_stages_where_vertex_reads(compiled):
    made = compiled(
        "kubeflow={host: 'https://kfp.example.com', root: gs://other/root, image: i}",
        on="kubeflow",
    )
    assert made.config.root == "gs://other/root"
    assert made.config.push.path == f"{BUCKET}/root/serving"


KUBEFLOW = "kubeflow={{host: 'https://kfp.example.com', root: {root}, image: i{more}}}"


@pytest.mark.parametrize(
    ("root", "more", "said"),
    [
        ("/mnt/volume", "", "kubeflow.root is /mnt/volume, which no job of Vertex AI"),
        (
            "gs://other/root",
            ", resources: {trainer: {accelerator: NVIDIA_TESLA_T4}}",
            "move it to vertex.resources.trainer",
        ),
    ],
)
def test_a_cluster_that_no_job_reads(there, capsys, root, more, said):
    given = KUBEFLOW.format(root=root, more=more)
    told = ["--set", TRAINS_THERE, "--set", given, "--on", "kubeflow"]
    assert said in refused(there, capsys, "compile", *told, "--output", "x.json")


class TestHere:
    @pytest.mark.parametrize("command", ["run", "tune", "compare"])
    def test_training_there_is_refused(self, there, capsys, command):
        more = ["--methods", "erm"] if command == "compare" else []
        words = [command, "--set", TRAINS_THERE, "--set", "push.to=filesystem", *more]
        said = refused(there, capsys, *words)
        assert "train.where is vertex, and the artifacts of tfx-irm" in said
        assert "--set train.where=local" in said

    def test_pushing_there_is_refused(self, there, capsys):
        said = refused(there, capsys, "run")
        assert "push.to is vertex" in said and "--set push.to=filesystem" in said

    @pytest.mark.parametrize(
        ("words", "mend"),
        [
            (["monitor", "--data", "x.csv"], "copy the version that is served"),
            (["prune"], "lifecycle rule"),
        ],
    )
    def test_what_knows_no_endpoints(self, there, capsys, words, mend):
        said = refused(there, capsys, *words)
        assert "knows folders of this machine only" in said and mend in said

    def test_the_config_is_told(self, project, capsys):
        project.config.write_text(project.config.read_text() + ON_VERTEX)
        assert cli.main(["validate", str(project.config), "--set", TRAINS_THERE]) == 0
        said = capsys.readouterr().out
        assert "2,000 steps, on Vertex AI\n" in said
        assert (
            "pushed to   the endpoint late flights in a-project, europe-west4, 10 % of"
            " requests, if every check passes" in said
        )


class TestRollback:
    """Against the stub: the folder first, then the traffic."""

    @pytest.fixture
    def vertex(self, monkeypatch, tmp_path):
        with vertex_stubs.serve(monkeypatch, tmp_path / "key.json") as services:
            yield services

    @pytest.fixture
    def released(self, there, vertex, monkeypatch, tmp_path):
        """Two releases, the second with a tenth of the traffic; their digests."""
        from components.pusher import endpoint

        (tmp_path / "bucket").mkdir()
        bucket_stub.mount(monkeypatch, BUCKET, tmp_path / "bucket")
        config = load_config(str(there.config))
        folder = endpoints.serving(config)
        found = []
        for text in ("a", "b"):
            model = tmp_path / "models" / text
            (model / "variables").mkdir(parents=True)
            (model / "saved_model.pb").write_text("graph")
            (model / "variables" / "data").write_text(text)
            digest = digests.of_model(str(model))
            version = versions.publish(str(model), folder, digest, {"blessed": True})
            endpoint.serve(endpoints.target(config), version.path, digest)
            found.append(digest)
        return found

    def traffic(self, there):
        from components.pusher import endpoint

        target = endpoints.target(load_config(str(there.config)))
        return {one.digest: one.traffic for one in endpoint.deployed(target)}

    def test_moves_all_traffic_back(self, there, released, capsys, vertex):
        a, b = released
        assert self.traffic(there) == {a: 90, b: 10}
        assert cli.main(["rollback", str(there.config)]) == 0
        said = capsys.readouterr().out
        assert f"{b} is not pushed again" in said
        assert said.endswith(f"europe-west4 to flights-{a}\n")
        assert self.traffic(there) == {a: 100, b: 0}
        assert len(vertex.asked("DeployModel")) == 2  # a was still there
        folder = f"{BUCKET}/root/serving"
        assert versions.latest(folder).told == a
        assert list(versions.rolled_back(folder)) == [b]

    def test_deploys_what_is_there_no_more(self, there, released, vertex):
        a, b = released
        (at,) = vertex.endpoints.values()
        kept = [one for one in at.deployed_models if b in one.display_name]
        at.deployed_models, at.traffic_split = kept, {kept[0].id: 100}
        assert cli.main(["rollback", str(there.config)]) == 0
        assert self.traffic(there) == {a: 100, b: 0}

    def test_goes_on_where_it_ended(self, there, released, vertex, capsys):
        import grpc

        a, b = released
        vertex.fail["UpdateEndpoint"] = [(grpc.StatusCode.UNAVAILABLE, "away")] * 50
        assert cli.main(["rollback", str(there.config)]) == 1
        said = capsys.readouterr().err
        assert said.startswith("tfx-irm: the endpoint late flights in a-project")
        assert "run again, which goes on where this ended" in said
        assert self.traffic(there) == {a: 90, b: 10}
        vertex.fail.clear()
        assert cli.main(["rollback", str(there.config)]) == 0
        assert self.traffic(there) == {a: 100, b: 0}
        assert len(versions.versions(f"{BUCKET}/root/serving")) == 3

    def test_changes_nothing_where_the_endpoint_cannot_be_asked(
        self, there, released, vertex
    ):
        import grpc

        vertex.fail["ListEndpoints"] = [(grpc.StatusCode.PERMISSION_DENIED, "no")]
        assert cli.main(["rollback", str(there.config)]) == 2
        assert not versions.rolled_back(f"{BUCKET}/root/serving")
