"""Training as a custom job: what Vertex AI is asked for, and how the job ends."""

import copy
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.cloud.aiplatform_v1.types import JobState, Scheduling
from tfx.types import artifact_utils, channel_utils, standard_artifacts

from components import cloud
from components.errors import DataError
from components.trainer import custom_job, vertex_job
from components.trainer.component import Trainer
from tests.components import bucket_stub, vertex_stubs
from tests.trainer_module.conftest import CONFIG, make_rows, run_transform
from tests.trainer_module.conftest import write_examples as write

ROOT = pathlib.Path(__file__).parents[3]
BUCKET = "gs://tfx-irm-test"
FEW = {**copy.deepcopy(CONFIG), "steps": 20, "schedule": {"kind": "constant"}}
OTHER = {**FEW, "methods": [{"name": "irm_v1", "weight": 1.0}]}
JOB = custom_job.Job(
    project="a-project",
    region="europe-west4",
    name="toy-trainer",
    image="registry.example.com/tfx-irm:1",
    machine="n1-standard-8",
    accelerator="NVIDIA_TESLA_T4",
    count=2,
    workers=3,
    spot=True,
    seconds=3600,
    service_account="trainer@a-project.iam.gserviceaccount.com",
    network="projects/12345/global/networks/a-network",
    labels={"team": "a-team"},
)
WHAT = "the training job toy-trainer in a-project, europe-west4"


@pytest.fixture
def vertex(monkeypatch, tmp_path):
    monkeypatch.setattr(vertex_job, "POLL_SECONDS", 0.01)
    with vertex_stubs.serve(monkeypatch, tmp_path / "key.json") as services:
        yield services


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    bucket_stub.mount(monkeypatch, BUCKET, folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """What a Trainer reads, as the stages before it leave it."""
    folder = tmp_path_factory.mktemp("inputs")
    rows = make_rows(120, seed=1)
    write(rows, f"{folder}/Examples/Split-train/data-00000-of-00001.gz")
    write(make_rows(40, seed=2), f"{folder}/Examples/Split-eval/data-0-of-1.gz")
    run_transform(rows, CONFIG, f"{folder}/TransformGraph")
    (folder / "Schema").mkdir()
    (folder / "Schema" / "schema.pbtxt").write_text("")
    return folder


@pytest.fixture
def train(bucket):
    """Runs the executor that the component names; returns the outputs."""

    def go(job=JOB, method=None, root=f"{BUCKET}/root"):
        component = trainer(job, method)
        made = {
            "examples": standard_artifacts.Examples(),
            "schema": standard_artifacts.Schema(),
            "transform_graph": standard_artifacts.TransformGraph(),
        }
        for artifact in made.values():
            artifact.uri = f"{BUCKET}/inputs/{artifact.type_name}"
        examples = made["examples"]
        examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
        examples.set_string_custom_property("counts", "x" * 200_000)
        outputs = {
            "model": [standard_artifacts.Model()],
            "model_run": [standard_artifacts.ModelRun()],
        }
        for key, (artifact,) in outputs.items():
            artifact.uri = f"{root}/Trainer/{key}/7"
        executor = component.executor_spec.executor_class()
        executor.Do(
            {key: [artifact] for key, artifact in made.items()},
            outputs,
            dict(component.exec_properties),
        )
        assert examples.get_string_custom_property("counts")
        return outputs

    return go


def trainer(job, method=None):
    return Trainer(
        run_fn="trainer_module.run_fn.run_fn",
        examples=channel_utils.as_channel([standard_artifacts.Examples()]),
        schema=channel_utils.as_channel([standard_artifacts.Schema()]),
        transform_graph=channel_utils.as_channel([standard_artifacts.TransformGraph()]),
        custom_config=FEW,
        methods={"irm_v1": OTHER},
        method=method,
        job=job,
    )


def succeeds(job):
    del job
    return JobState.JOB_STATE_SUCCEEDED, ""


def command_of(job, pool=0):
    return list(job.job_spec.worker_pool_specs[pool].container_spec.command)


def word(command, option):
    return command[command.index(option) + 1]


class TestWhatIsAsked:
    def test_the_job(self, vertex, train):
        vertex.work = succeeds
        train()
        (asked,) = vertex.asked("CreateCustomJob")
        assert asked.parent == "projects/a-project/locations/europe-west4"
        assert set(vertex.hosts) == {"europe-west4-aiplatform.googleapis.com:443"}
        job = asked.custom_job
        spec = job.job_spec
        assert job.display_name == "toy-trainer"
        assert job.labels["team"] == "a-team"
        assert [pool.replica_count for pool in spec.worker_pool_specs] == [1, 2]
        for pool in spec.worker_pool_specs:
            machine = pool.machine_spec
            assert machine.machine_type == "n1-standard-8"
            assert machine.accelerator_type.name == "NVIDIA_TESLA_T4"
            assert machine.accelerator_count == 2
            assert pool.container_spec.image_uri == "registry.example.com/tfx-irm:1"
            assert not pool.container_spec.env
        assert spec.scheduling.strategy == Scheduling.Strategy.SPOT
        assert spec.scheduling.timeout.total_seconds() == 3600
        assert spec.scheduling.restart_job_on_worker_restart
        assert spec.service_account == "trainer@a-project.iam.gserviceaccount.com"
        assert spec.network == "projects/12345/global/networks/a-network"

    def test_a_job_of_one_machine_asks_for_no_more(self, vertex, train):
        vertex.work = succeeds
        train(
            custom_job.Job(
                project="a-project",
                region="us-central1",
                name="toy-trainer",
                image="registry.example.com/tfx-irm:1",
                machine="e2-standard-4",
            )
        )
        (asked,) = vertex.asked("CreateCustomJob")
        spec = asked.custom_job.job_spec
        (pool,) = spec.worker_pool_specs
        assert pool.replica_count == 1
        assert pool.machine_spec.accelerator_count == 0
        scheduling = spec.scheduling
        assert scheduling.strategy == Scheduling.Strategy.STRATEGY_UNSPECIFIED
        assert not scheduling.restart_job_on_worker_restart
        assert (spec.service_account, spec.network) == ("", "")

    @pytest.mark.parametrize(
        ("method", "names"), [(None, ["v_rex"]), ("irm_v1", ["irm_v1"])]
    )
    def test_the_method_is_picked_before(self, vertex, train, method, names):
        vertex.work = succeeds
        train(method=method)
        (job,) = vertex.jobs.values()
        first, second = command_of(job, 0), command_of(job, 1)
        assert first == second
        assert first[:3] == ["python", "-m", "tfx.scripts.run_executor"]
        path = word(first, "--executor_class_path")
        assert path == "components.trainer.executor.Executor"
        told = json.loads(word(first, "--exec-properties"))
        assert not {"method", "job"} & set(told)
        config = json.loads(told["custom_config"])
        assert "variants" not in config
        assert [term["name"] for term in config["methods"]] == names

    def test_what_was_counted_is_left_out(self, vertex, train):
        vertex.work = succeeds
        train()
        (job,) = vertex.jobs.values()
        assert "xxxxx" not in word(command_of(job), "--inputs")

    def test_no_secret_leaves_this_machine(self, vertex, train, tmp_path, caplog):
        caplog.set_level("DEBUG")
        caplog.set_level("INFO", logger="google")  # whose clients log what they send
        vertex.work = succeeds
        train()
        properties = json.dumps(trainer(JOB).exec_properties, default=str)
        said = [caplog.text, properties, *(str(m) for _, m in vertex.requests)]
        assert len(vertex.requests) >= 4
        written = [p for p in (tmp_path / "bucket").rglob("*") if p.is_file()]
        said += [path.read_text(errors="replace") for path in written]
        for secret in vertex_stubs.secrets_of(tmp_path / "key.json"):
            assert len(secret) > 30
            assert not [text for text in said if secret in text]


class TestHowItEnds:
    def error(self, bucket):
        with open(bucket / "root" / "Trainer" / "error.json") as file:
            return json.load(file)

    def test_a_job_that_succeeds(self, vertex, train, bucket):
        vertex.work = succeeds
        train()
        assert not (bucket / "root" / "Trainer" / "error.json").exists()

    @pytest.mark.parametrize(
        ("state", "said"),
        [
            ("FAILED", "failed: The replica workerpool0-0 was preempted; its log says"),
            ("CANCELLED", "was cancelled: The replica"),
            ("EXPIRED", "expired: The replica"),
        ],
    )
    def test_a_job_that_does_not(self, vertex, train, bucket, state, said):
        why = "The replica workerpool0-0 was preempted."
        vertex.work = lambda job: (JobState[f"JOB_STATE_{state}"], why)
        with pytest.raises(cloud.CloudError, match=f"^{WHAT} {said}") as raised:
            train()
        text = str(raised.value)
        assert "locations/europe-west4/training/1?project=a-project" in text
        assert "taken away (vertex.training.spot)" in text
        assert len(text) < 500
        assert self.error(bucket) == {"exit": 1, "sentence": text}

    @pytest.mark.parametrize(("code", "kind"), [(2, DataError), (1, cloud.CloudError)])
    def test_the_jobs_own_reason_comes_first(self, vertex, train, bucket, code, kind):
        told = {"exit": code, "sentence": "train.steps is no good; change it"}

        def fails(job):
            del job
            (bucket / "root" / "Trainer").mkdir(parents=True)
            (bucket / "root" / "Trainer" / "error.json").write_text(json.dumps(told))
            return JobState.JOB_STATE_FAILED, "exit status 1"

        vertex.work = fails
        with pytest.raises(kind, match="^train.steps is no good; change it$"):
            train()
        assert self.error(bucket) == told

    def test_a_reason_of_an_earlier_try_is_none(self, vertex, train, bucket):
        (bucket / "root" / "Trainer").mkdir(parents=True)
        old = {"exit": 2, "sentence": "an old one"}
        (bucket / "root" / "Trainer" / "error.json").write_text(json.dumps(old))
        vertex.work = lambda job: (JobState.JOB_STATE_FAILED, "Out of memory")
        with pytest.raises(cloud.CloudError, match="failed: Out of memory"):
            train()

    @pytest.mark.parametrize(
        ("status", "kind", "said"),
        [
            ("PERMISSION_DENIED", DataError, "refused it .*correct the section vertex"),
            ("INVALID_ARGUMENT", DataError, "refused it .InvalidArgument: no"),
            ("RESOURCE_EXHAUSTED", cloud.CloudError, "did not do it .*run again"),
            ("INTERNAL", cloud.CloudError, "did not do it .*run again"),
        ],
    )
    def test_a_job_that_is_refused(self, vertex, train, bucket, status, kind, said):
        vertex.fail["CreateCustomJob"] = [(grpc.StatusCode[status], "no such thing")]
        with pytest.raises(kind, match=f"^{WHAT}: Vertex AI {said}") as raised:
            train()
        told = self.error(bucket)
        assert told == {"exit": kind.exit_code, "sentence": str(raised.value)}

    def test_without_credentials(self, vertex, train, monkeypatch, tmp_path):
        missing = str(tmp_path / "no-such.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", missing)
        with pytest.raises(DataError, match=f"^{WHAT}: there are no credentials"):
            train()

    def test_a_service_that_is_away_for_a_while(self, vertex, train):
        vertex.work = succeeds
        vertex.fail["GetCustomJob"] = [(grpc.StatusCode.PERMISSION_DENIED, "away")] * 5
        train()
        assert len(vertex.jobs) == 1

    def test_a_service_that_stays_away(self, vertex, train):
        vertex.fail["GetCustomJob"] = [(grpc.StatusCode.PERMISSION_DENIED, "away")] * 9
        with pytest.raises(cloud.CloudError, match="customJobs/1, and nothing can be"):
            train()

    def test_a_stage_that_is_tried_again_follows_its_job(self, vertex, train):
        vertex.fail["GetCustomJob"] = [(grpc.StatusCode.PERMISSION_DENIED, "away")] * 6
        with pytest.raises(cloud.CloudError):
            train()
        vertex.work = succeeds
        train()
        assert len(vertex.jobs) == 1
        train()  # its job has ended, so this is another run
        assert len(vertex.jobs) == 2
        train(root=f"{BUCKET}/elsewhere")
        assert len(vertex.jobs) == 3

    def test_an_end_from_outside_cancels_it(self, vertex, train):
        def stopped(job):
            del job
            main = threading.main_thread().ident
            signal.pthread_kill(main, signal.SIGTERM)
            return JobState.JOB_STATE_RUNNING, ""

        vertex.work = stopped
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit):
            train()
        (job,) = vertex.jobs.values()
        assert job.state == JobState.JOB_STATE_CANCELLED
        assert signal.getsignal(signal.SIGTERM) == before

    def test_artifacts_of_this_machine(self, vertex, train, tmp_path):
        with pytest.raises(DataError, match="no job of Vertex AI reads; compile"):
            train(root=str(tmp_path / "here"))
        assert not vertex.requests

    def test_settings_that_no_container_takes(self, vertex, train, monkeypatch):
        monkeypatch.setitem(FEW, "environments", ["e" * 140_000])
        with pytest.raises(DataError, match="bytes long, and a container is started"):
            train()


class Containers:
    """Runs the containers of a job here: their command, and the TF_CONFIG of each."""

    def __init__(self, bucket):
        self.bucket = bucket
        self.logs = []

    def __call__(self, job):
        pools = job.job_spec.worker_pool_specs
        tasks = [
            (kind, index, command_of(job, number))
            for number, kind in enumerate(["chief", "worker"][: len(pools)])
            for index in range(pools[number].replica_count)
        ]
        cluster = {kind: [] for kind, _, _ in tasks}
        for (kind, _, _), port in zip(tasks, free_ports(len(tasks)), strict=True):
            cluster[kind].append(f"localhost:{port}")
        started = [self.start(cluster, *task) for task in tasks]
        self.logs = [process.communicate(timeout=500)[0] for process in started]
        failed = [process.returncode for process in started if process.returncode]
        if failed:
            return JobState.JOB_STATE_FAILED, f"exit status {failed[0]}"
        return JobState.JOB_STATE_SUCCEEDED, ""

    def start(self, cluster, kind, index, command):
        here = [part.replace(BUCKET, str(self.bucket)) for part in command[1:]]
        # https://cloud.google.com/vertex-ai/docs/training/distributed-training
        told = {
            "cluster": cluster,
            "task": {"type": kind, "index": index, "trial": ""},
            "environment": "cloud",
        }
        kept = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
        return subprocess.Popen(
            [sys.executable, *here],
            env={
                **kept,
                "PYTHONPATH": str(ROOT),
                "TF_CONFIG": json.dumps(told),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def job_of(workers):
    return custom_job.Job(
        project="a-project",
        region="europe-west4",
        name="toy-trainer",
        image="registry.example.com/tfx-irm:1",
        machine="n1-standard-8",
        workers=workers,
    )


class TestTheCommand:
    """What the job runs, run here: from the JSON that the service got."""

    def scores(self, folder):
        model = tf.saved_model.load(str(folder))
        rows = [tf.constant([r]) for r in self.examples()]
        score = model.signatures["serving_default"]
        return np.array([next(iter(score(r).values())).numpy() for r in rows]).ravel()

    def examples(self):
        from tests.trainer_module.conftest import to_example

        return [to_example(row) for row in make_rows(6, seed=3)]

    @pytest.fixture
    def containers(self, vertex, bucket, inputs):
        shutil.copytree(inputs, bucket / "inputs")
        vertex.work = Containers(bucket)
        return vertex.work

    @pytest.mark.parametrize(
        "workers", [1, pytest.param(2, marks=pytest.mark.long)], ids=["one", "two"]
    )
    def test_leaves_a_model(self, containers, train, bucket, workers):
        train(job_of(workers))
        model = bucket / "root" / "Trainer" / "model" / "7" / "Format-Serving"
        scores = self.scores(model)
        assert scores.shape == (6,)
        assert np.isfinite(scores).all() and np.ptp(scores) > 0
        history = bucket / "root" / "Trainer" / "model_run" / "7" / "history.json"
        assert json.loads(history.read_text())
        assert len(containers.logs) == workers
        if workers > 1:
            replicas = re.findall(r"Training on (\d+) replicas", containers.logs[0])
            assert replicas == ["2"], containers.logs[0][-3000:]

    @pytest.mark.long
    def test_goes_on_when_its_machine_was_taken_away(
        self, containers, vertex, train, bucket, monkeypatch
    ):
        checkpoints = {"checkpoints": f"{BUCKET}/root/checkpoints"}
        for key, value in {
            **checkpoints,
            "steps": 3000,
            "checkpoint_every": 20,
        }.items():
            monkeypatch.setitem(FEW, key, value)

        def taken_away_once(job):
            folder = bucket / "root" / "checkpoints"
            alone = {"chief": ["localhost:1"]}
            process = containers.start(alone, "chief", 0, command_of(job))
            while process.poll() is None and not list(folder.glob("*/checkpoint")):
                time.sleep(0.01)
            process.kill()
            log = process.communicate()[0]
            assert process.returncode == -signal.SIGKILL, log[-3000:]
            assert not (bucket / "root" / "Trainer" / "model").exists()
            return containers(job)

        vertex.work = taken_away_once
        train(job_of(1))
        (log,) = containers.logs
        done = re.search(r"(\d+) steps were done before", log)
        assert done and 20 <= int(done[1]) < 3000, log[-3000:]
        assert (bucket / "root" / "Trainer" / "model").exists()

    def test_tells_its_reason(self, containers, train, bucket, monkeypatch):
        monkeypatch.setitem(FEW, "engine", {"accelerators": 64})
        with pytest.raises(DataError, match="train.accelerators asks for 64 GPU"):
            train(job_of(1))
        with open(bucket / "root" / "Trainer" / "error.json") as file:
            told = json.load(file)
        assert told["exit"] == 2
        assert told["sentence"].startswith("train.accelerators asks for 64 GPU")
