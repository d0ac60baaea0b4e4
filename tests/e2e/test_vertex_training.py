"""The compiled Trainer, from its JSON to a model, by way of a custom job.

TFX's entrypoint for containers runs here with the arguments of the spec; the job that
the stub of Vertex AI gets is run with the very command that it was sent.
"""

import json
import shutil

import pytest
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from components.trainer import vertex_job
from pipeline import compiling, kubeflow_v2_runner
from pipeline.config_io import load_config
from tests.components import bucket_stub, vertex_stubs
from tests.components.trainer import test_vertex
from tests.components.trainer.test_vertex import BUCKET, FEW, OTHER
from tests.pipeline.conftest import Project
from tests.pipeline.test_endpoints import ON_VERTEX

inputs = test_vertex.inputs
PATHS = {
    "examples": "Examples",
    "schema": "Schema",
    "transform_graph": "TransformGraph",
}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("compiled"))
    text = project.config.read_text().replace(" data/", f" {BUCKET}/data/")
    project.config.write_text(text + ON_VERTEX)
    sets = ["train.where=vertex", "vertex.training.workers=1"]

    def load(method):
        return load_config(str(project.config), sets=sets, method=method)

    return kubeflow_v2_runner.compile_job(compiling.runtime_of(load))


def trainer(job, method):
    """Arguments of the Trainer's container, as an orchestrator fills them in."""
    spec = job["pipelineSpec"]
    task = spec["root"]["dag"]["tasks"]["Trainer"]
    component = spec["components"][task["componentRef"]["name"]]
    label = component["executorLabel"]
    container = spec["deploymentSpec"]["executors"][label]["container"]
    values = {
        key: given["runtimeValue"]["constant"] if "runtimeValue" in given else method
        for key, given in task["inputs"]["parameters"].items()
    }
    # Of the toy data, which the project's own settings do not know.
    assert json.loads(values["custom_config"])["variants"].keys() == {"irm_v1"}
    told = {**FEW, "variants": {"irm_v1": OTHER}}
    values["custom_config"] = json.dumps(told)
    folder = f"{BUCKET}/root/12345/flights-1/Trainer_678"

    def artifact(key, kind, uri, metadata=None):
        made = {"name": f"a/{key}", "type": kind, "uri": uri}
        return {"artifacts": [{**made, "metadata": metadata or {}}]}

    given = component["inputDefinitions"]["artifacts"]
    made = component["outputDefinitions"]["artifacts"]
    splits = {"split_names": '["train", "eval"]'}
    told = {
        "inputs": {
            "parameterValues": values,
            "artifacts": {
                key: artifact(
                    key,
                    given[key]["artifactType"],
                    f"{BUCKET}/inputs/{name}",
                    splits if key == "examples" else None,
                )
                for key, name in PATHS.items()
            },
        },
        "outputs": {
            "artifacts": {
                key: artifact(key, one["artifactType"], f"{folder}/{key}")
                for key, one in made.items()
            },
            "outputFile": f"{folder}/executor_output.json",
        },
    }
    text = json.dumps(told)
    return [text if word == "{{$}}" else word for word in container["args"]]


@pytest.mark.e2e
def test_the_compiled_trainer_trains(job, inputs, monkeypatch, tmp_path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    shutil.copytree(inputs, bucket / "inputs")
    bucket_stub.mount(monkeypatch, BUCKET, bucket)
    monkeypatch.setattr(vertex_job, "POLL_SECONDS", 0.01)
    with vertex_stubs.serve(monkeypatch, tmp_path / "key.json") as vertex:
        vertex.work = test_vertex.Containers(bucket)
        words = ["run_executor", *trainer(job, "irm_v1")]
        arguments, rest = kubeflow_v2_run_executor._parse_flags(words)
        kubeflow_v2_run_executor._run_executor(arguments, rest)
    (made,) = vertex.jobs.values()
    (pool,) = made.job_spec.worker_pool_specs
    assert pool.machine_spec.machine_type == "n1-highmem-8"
    folder = bucket / "root" / "12345" / "flights-1" / "Trainer_678"
    assert (folder / "model" / "Format-Serving" / "saved_model.pb").is_file()
    history = json.loads((folder / "model_run" / "history.json").read_text())
    assert history
    assert "irm_v1" in json.dumps(history)
    with open(folder / "executor_output.json") as file:
        assert json.load(file)["artifacts"]["model"]
