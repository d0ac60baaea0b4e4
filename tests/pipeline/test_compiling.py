"""The compiled job: what it says, and what is refused before it is made."""

import json
import pathlib
import subprocess
import sys
import textwrap

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline import compiling, kubeflow_v2_runner
from pipeline.config_io import load_config
from pipeline.errors import ConfigError
from pipeline.remote_config import STAGES

ROOT = pathlib.Path(__file__).parents[2]
IMAGE = "registry.example.com/tfx-irm:1"
CONFIG = f"""
    name: flights
    data:
      label: {{name: late, from: arr_delay, above: 15}}
      environments:
        EWR: {{parquet: "gs://b-1/{{SPAN}}/EWR.parquet", spans: {{last: 3}}}}
        JFK: {{csv: gs://b-1/jfk.csv}}
        LGA: {{tfrecord: gs://b-1/lga, held_out: true}}
    train:
      method: v_rex
      steps: 200
      methods: {{irm_v1: {{steps: 100, penalty: {{weight: 1000, anneal_steps: 5}}}}}}
    checks: {{worst: {{auc: {{min: 0.5}}}}}}
    vertex:
      project: a-project
      region: europe-west4
      root: gs://b-1/root/
      image: {IMAGE}
      resources:
        default: {{cpu: 2, memory: 8Gi, retries: 1}}
        trainer: {{accelerator: NVIDIA_TESLA_T4, count: 2, memory: 32G}}
        evaluator: {{cpu: 16, retries: 0}}
    kubeflow:
      host: https://kfp.example.com
      root: gs://b-1/root
      image: {IMAGE}
      resources: {{trainer: {{accelerator: nvidia.com/gpu}}}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("compiling") / "config.yaml"
    path.write_text(textwrap.dedent(CONFIG))
    return str(path)


@pytest.fixture(scope="module")
def jobs(config, tmp_path_factory):
    """Target -> the job, as the command writes it."""
    made = {}
    for target in compiling.TARGETS:
        path = tmp_path_factory.mktemp("jobs") / "below" / f"{target}.json"
        compiling.compile_to(str(path), runtime(config, target))
        made[target] = json.loads(path.read_text())
    return made


def runtime(config, on=None, *sets):
    return compiling.runtime_of(
        lambda method: load_config(config, sets=sets, method=method), on
    )


def tasks(job):
    return job["pipelineSpec"]["root"]["dag"]["tasks"]


def containers(job):
    """Task -> its container; those that a service runs itself are left out."""
    spec = job["pipelineSpec"]
    found = {}
    for name, task in tasks(job).items():
        component = spec["components"][task["componentRef"]["name"]]
        executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
        if "container" in executor:
            found[name] = executor["container"]
    return found


@pytest.mark.parametrize("target", compiling.TARGETS)
class TestJob:
    def test_parses_as_the_published_protos(self, jobs, target):
        job = jobs[target]
        json_format.ParseDict(job, pipeline_spec_pb2.PipelineJob())
        spec = pipeline_spec_pb2.PipelineSpec()
        json_format.ParseDict(job["pipelineSpec"], spec)
        deployment = pipeline_spec_pb2.PipelineDeploymentConfig()
        json_format.ParseDict(job["pipelineSpec"]["deploymentSpec"], deployment)
        assert spec.schema_version == "2.1.0"
        assert spec.pipeline_info.name == "flights"

    def test_every_container_has_image_command_and_resources(self, jobs, target):
        found = containers(jobs[target])
        assert len(found) >= 14
        for name, container in found.items():
            assert container["image"] == IMAGE, name
            assert container["command"][:2] == ["python", "-m"], name
            assert container["resources"]["cpuLimit"] > 0, name
            assert container["resources"]["memoryLimit"] > 0, name
            assert kubeflow_v2_runner._snake(name) in STAGES

    def test_what_no_driver_watches_is_never_cached(self, jobs, target):
        off = {
            name
            for name, task in tasks(jobs[target]).items()
            if not task.get("cachingOptions", {}).get("enableCache")
        }
        ours = {"SourceManifest", "Pusher", "RunRecord"}
        assert {n for n in off if not n.startswith("LatestBlessedModel")} == ours
        assert any(n.startswith("LatestBlessedModel") for n in off)

    def test_parameters_have_values(self, jobs, target):
        job = jobs[target]
        told = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
        assert set(told) == {"span", "method", "fingerprint"}
        assert all(one["defaultValue"] == "" for one in told.values())
        assert job["runtimeConfig"]["parameterValues"] == dict.fromkeys(told, "")
        for name, task in (("Trainer", "method"), ("SourceManifest", "span")):
            given = tasks(job)[name]["inputs"]["parameters"][task]
            assert given == {"componentInputParameter": task}

    def test_lies_in_the_bucket(self, jobs, target):
        job = jobs[target]
        assert job["runtimeConfig"]["gcsOutputDirectory"].startswith("gs://b-1/root/")
        given = tasks(job)["Pusher"]["inputs"]["parameters"]["push_destination"]
        assert "gs://b-1/root/serving" in given["runtimeValue"]["constant"]
        told = tasks(job)["Trainer"]["inputs"]["parameters"]["custom_config"]
        settings = json.loads(told["runtimeValue"]["constant"])
        assert settings["checkpoints"] == "gs://b-1/root/checkpoints"
        assert str(pathlib.Path.cwd()) not in json.dumps(job)

    def test_other_methods_lie_beside_the_own(self, jobs, target):
        told = tasks(jobs[target])["Trainer"]["inputs"]["parameters"]["custom_config"]
        settings = json.loads(told["runtimeValue"]["constant"])
        assert settings["methods"][0]["name"] == "v_rex"
        (name,) = settings["variants"]
        other = settings["variants"][name]
        assert name == "irm_v1" == other["methods"][0]["name"]
        assert (settings["steps"], other["steps"]) == (200, 100)
        assert other["methods"][0]["weight"] == 1000


def test_resources_are_those_of_the_config(jobs):
    vertex, cluster = (containers(jobs[t]) for t in compiling.TARGETS)
    assert vertex["Trainer"]["resources"] == {
        "cpuLimit": 2.0,
        "memoryLimit": 32.0,
        "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"},
    }
    assert vertex["Transform"]["resources"] == {
        "cpuLimit": 2.0,
        "memoryLimit": pytest.approx(8 * 2**30 / 1e9),
    }
    assert vertex["Evaluator"]["resources"]["cpuLimit"] == 16
    accelerator = cluster["Trainer"]["resources"]["accelerator"]
    assert accelerator == {"type": "nvidia.com/gpu", "count": "1"}


def test_retries_are_written_into_the_tasks(jobs):
    vertex = tasks(jobs["vertex"])
    assert vertex["Trainer"]["retryPolicy"]["maxRetryCount"] == 1
    assert "retryPolicy" not in vertex["Evaluator"]
    assert not any("retryPolicy" in task for task in tasks(jobs["kubeflow"]).values())


def resolvers(job):
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    return [name for name, one in executors.items() if "container" not in one]


def test_a_cluster_gets_no_task_that_it_cannot_run(jobs):
    assert len(resolvers(jobs["vertex"])) == 2
    assert resolvers(jobs["kubeflow"]) == []
    component = tasks(jobs["kubeflow"])["InvarianceValidator"]["inputs"]["parameters"]
    index = component["index"]["runtimeValue"]["constant"]
    found = tasks(jobs["kubeflow"])["LatestBlessedModel"]["inputs"]["parameters"]
    assert index == "gs://b-1/root/blessed/flights"
    assert found["index"]["runtimeValue"]["constant"] == index


def test_the_same_graph_as_here(config, jobs):
    from pipeline.pipeline import create_pipeline
    from pipeline.runtime import Local

    there = load_config(config)
    here = create_pipeline(there, Local(there)).components
    names = {node.id for node in here} | {"RunRecord"}
    assert set(tasks(jobs["kubeflow"])) == names


def test_one_task_runs_from_its_json(config, tmp_path):
    """Executed by TFX's entry point, in a process of its own."""
    data = tmp_path / "data.csv"
    data.write_text("x,arr_delay\n1,20\n2,3\n")
    sets = [
        *(f"data.environments.{e}={{csv: {data}}}" for e in ("EWR", "JFK")),
        f"data.environments.LGA={{csv: {data}, held_out: true}}",
        f"kubeflow.root={tmp_path}/root",
    ]
    job = kubeflow_v2_runner.compile_job(runtime(config, "kubeflow", *sets))
    container = containers(job)["SourceManifest"]
    given = tasks(job)["SourceManifest"]["inputs"]["parameters"]
    values = {
        k: v.get("runtimeValue", {}).get("constant", "") for k, v in given.items()
    }
    component = job["pipelineSpec"]["components"]["SourceManifest"]
    (output,) = component["outputDefinitions"]["artifacts"].values()
    artifact = {
        "name": "projects/1/artifacts/2",
        "uri": str(tmp_path / "out" / "manifest"),
        "type": output["artifactType"],
    }
    said = {
        "inputs": {"parameterValues": values},
        "outputs": {
            "artifacts": {"manifest": {"artifacts": [artifact]}},
            "outputFile": str(tmp_path / "out" / "executor_output.json"),
        },
    }
    words = [json.dumps(said) if w == "{{$}}" else w for w in container["args"]]
    done = subprocess.run(
        [sys.executable, *container["command"][1:], *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    left = json.loads((tmp_path / "out" / "executor_output.json").read_text())
    (told,) = left["artifacts"]["manifest"]["artifacts"]
    assert told["metadata"]["files"] == 3
    listed = json.loads((tmp_path / "out" / "manifest" / "manifest.json").read_text())
    assert len(listed) == 3


def test_the_users_model_is_part_of_the_key(config, tmp_path):
    """Of the command: it lies beside the config, and nowhere on the path."""
    folder = tmp_path / "project"
    folder.mkdir()
    text = pathlib.Path(config).read_text()
    text = text.replace(
        "steps: 200", "steps: 200\n  model: {build: my_net_of_compile.make}"
    )
    (folder / "config.yaml").write_text(text)
    told = []
    for content in ("make = None\n", "make = 1\n"):
        (folder / "my_net_of_compile.py").write_text(content)
        output = tmp_path / f"{len(told)}.json"
        words = ["compile", str(folder / "config.yaml"), "--on", "vertex"]
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *words, "--output", str(output)],
            cwd=ROOT,
            check=True,
        )
        given = tasks(json.loads(output.read_text()))["Trainer"]["inputs"]["parameters"]
        settings = json.loads(given["custom_config"]["runtimeValue"]["constant"])
        told.append(settings["code"])
    assert told[0] != told[1]


@pytest.mark.parametrize(
    ("on", "sets", "said"),
    [
        (None, (), "has the sections vertex and kubeflow; say which with --on"),
        (None, ("vertex=", "kubeflow="), "has neither a section vertex nor kubeflow"),
        ("vertex", ("vertex=",), "--on is vertex, and .* has no section vertex"),
        (
            "vertex",
            ("data.environments.EWR={csv: here.csv}",),
            "data.environments.EWR is .*here.csv, a path of this machine, which no"
            " container of vertex can read",
        ),
        (
            "kubeflow",
            ("push.path=here",),
            "push.path is .*here, a path of this machine",
        ),
        ("kubeflow", ("data.schema=s.pbtxt",), "data.schema is .*s.pbtxt, a path of"),
        (
            "vertex",
            ("data.environments.LGA.held_out=false", "data.held_out=each"),
            "is each, which is a training for each environment",
        ),
        ("vertex", (f"name={'a' * 64}",), "name has 64 characters; TFX takes at most"),
    ],
)
def test_what_is_refused(config, on, sets, said):
    with pytest.raises(ConfigError, match=said):
        runtime(config, on, *sets)


def test_a_volume_may_hold_all(config):
    sets = ("kubeflow.root=/mnt/shared", "data.environments.JFK={csv: /mnt/j.csv}")
    made = runtime(config, "kubeflow", *sets)
    assert made.config.push.path == "/mnt/shared/serving"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("job.yaml", "name a .json file"),
        ("/proc/nowhere/job.json", "cannot be written"),
    ],
)
def test_wrong_outputs(config, monkeypatch, path, said):
    monkeypatch.setattr(kubeflow_v2_runner, "compile_job", lambda _: {})
    with pytest.raises(ConfigError, match=said):
        compiling.compile_to(path, runtime(config, "vertex"))


class TestMistakes:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("vertex.root=s3://b/x", "give a folder of Cloud Storage"),
            ("vertex.root=/tmp/x", "give a folder of Cloud Storage"),
            ("vertex.region=Europe", "give a region"),
            ("vertex.resources.trainr.cpu=1", "did you mean 'trainer'"),
            ("vertex.resources.transform.accelerator=T4", "only trainer and evaluator"),
            ("vertex.resources.trainer={count: 2}", "no accelerator is named"),
            ("vertex.resources.trainer.memory=16", "memory is 16"),
            ("vertex.resources.trainer.memory=16 GB", "write a number with M, G"),
            ("vertex.service_account='{\"private_key\": 1}'", "never a key"),
            ("vertex.labels.Team=a", "labels are lower-case"),
            ("kubeflow.host=https://me:secret@kfp.example.com", "without a user"),
            ("kubeflow.token={env: eyJhbGciOi.abc}", "not the token"),
            ("kubeflow.token={env: A, file: b}", "give env or file, not both"),
            ("kubeflow.token={}", "give env or file, not both"),
        ],
    )
    def test_are_told_at_their_key(self, config, change, said):
        with pytest.raises(ConfigError, match=said) as caught:
            load_config(config, sets=[change])
        assert ".".join(change.partition("=")[0].split(".")[:2]) in str(caught.value)
        told = str(caught.value).replace(f"--set {change}", "")
        for secret in ("private_key", "secret", "eyJhbGciOi"):
            assert secret not in told
