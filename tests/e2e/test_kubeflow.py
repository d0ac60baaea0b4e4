"""The compiled pipeline, executed task by task from its JSON; see `cluster`."""

import json
import os
import pathlib
import shutil
import site
import subprocess
import sys
import textwrap
import venv

import jsonschema
import pytest

from components.source_manifest import listing
from pipeline import parameters
from pipeline.schema import make
from tests.e2e import cluster
from tests.e2e.helpers import CONFIG, write_sample

pytestmark = pytest.mark.e2e

ROOT = pathlib.Path(__file__).parents[2]
SCHEMA = pathlib.Path(make.CONFIG_SCHEMA).with_name("summary.schema.json")
PACKAGES = ("pipeline", "components", "trainer_module")
BUCKET = "gs://tfx-irm-test"
METHODS = """
  methods:
    irm_v1: {steps: 100, penalty: {weight: 100, anneal_steps: 20}}"""
CLOUD = f"""
    vertex:
      project: a-project
      region: europe-west4
      root: {BUCKET}/root
      image: registry.example.com/tfx-irm:1
      resources:
        default: {{cpu: 2, memory: 8G, retries: 1}}
        trainer: {{accelerator: NVIDIA_TESLA_T4, count: 1, memory: 16Gi}}
    kubeflow:
      host: https://kfp.example.com
      root: {BUCKET}/root
      image: registry.example.com/tfx-irm:1
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The built wheel; the checkout is copied, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    uv = pathlib.Path(sys.executable).with_name("uv")
    command = [uv, "build", "--wheel", "--no-build-isolation", "--offline", "--quiet"]
    told = [f"--python={sys.executable}", f"--out-dir={folder / 'dist'}", source]
    subprocess.run([*command, *told], check=True, cwd=folder)
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """A Python with the wheel and what it needs, and without this checkout."""
    folder = tmp_path_factory.mktemp("python")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    uv = pathlib.Path(sys.executable).with_name("uv")
    command = [uv, "pip", "install", "--offline", "--quiet", "--no-deps"]
    found = folder / "venv" / "bin" / "python"
    subprocess.run([*command, f"--python={found}", wheel], check=True, cwd=folder)
    # A path in a .pth adds that folder, and not what its own .pth files name.
    (own,) = (folder / "venv").glob("lib/python3*/site-packages")
    (own / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    asked = "import components, pipeline, tfx; print(components.__file__)"
    done = subprocess.run(
        [found, "-c", asked], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip().startswith(str(own))
    return str(found)


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """The folder that stands for the bucket, with the sample of the flights in it."""
    folder = tmp_path_factory.mktemp("bucket")
    write_sample(folder / "data")
    return folder


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Compiles the sample's config from the command line; the job."""
    folder = tmp_path_factory.mktemp("compiled")
    config = folder / "config.yaml"
    text = textwrap.dedent(CONFIG) + textwrap.dedent(CLOUD)
    text = text.replace("steps: 200", f"steps: 200{METHODS}")
    config.write_text(text.replace(" data/", f" {BUCKET}/data/"))

    def compile_on(target, *arguments):
        output = folder / f"{target}-{len(list(folder.iterdir()))}.json"
        command = [sys.executable, "-m", "pipeline.cli", "compile", str(config)]
        told = ["--output", str(output), "--on", target, *arguments]
        done = subprocess.run(
            [*command, *told], capture_output=True, text=True, cwd=ROOT
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout == f"compiled {output}\n"
        return json.loads(output.read_text())

    return compile_on


def as_submitted(job, bucket):
    """The job as `submit` sends it, which has listed the sources."""
    task = job["pipelineSpec"]["root"]["dag"]["tasks"]["SourceManifest"]
    told = task["inputs"]["parameters"]["sources"]["runtimeValue"]["constant"]
    files = listing.build_manifest(json.loads(told.replace(BUCKET, str(bucket))))
    values = job["runtimeConfig"]["parameterValues"]
    values["fingerprint"] = listing.fingerprint(files)
    parameters.with_cache(job)
    return job


@pytest.fixture(scope="session")
def vertex(python, bucket):
    """An orchestrator that resolves, as Vertex AI does."""
    return cluster.Cluster(python, (BUCKET, bucket))


@pytest.fixture(scope="session")
def job(compiled, bucket):
    """For Vertex AI."""
    return as_submitted(compiled("vertex"), bucket)


@pytest.fixture(scope="session")
def first(vertex, job):
    """The first execution: everything runs, the model is released."""
    return vertex.execute(job)


@pytest.fixture(scope="session")
def second(vertex, job, first):
    """The same job again."""
    return vertex.execute(job)


@pytest.fixture(scope="session")
def refused(vertex, compiled, bucket, second):
    """The same under a bound that no model can reach."""
    bound = {"worst": {"auc": {"min": 0.999, "over": "environment"}}}
    job = compiled("vertex", "--set", f"checks={json.dumps(bound)}")
    return vertex.execute(as_submitted(job, bucket))


@pytest.fixture(scope="session")
def kubeflow(python, bucket, vertex, first):
    """A cluster that resolves nothing; what is the same task there has run already."""
    return cluster.Cluster(python, (BUCKET, bucket), cache=dict(vertex.cache))


@pytest.fixture(scope="session")
def cluster_job(compiled, bucket):
    """For that cluster, which has a root of its own."""
    job = compiled("kubeflow", "--set", f"kubeflow.root={BUCKET}/kubeflow")
    return as_submitted(job, bucket)


@pytest.fixture(scope="session")
def first_there(kubeflow, cluster_job):
    """The first execution there."""
    return kubeflow.execute(cluster_job)


@pytest.fixture(scope="session")
def second_there(kubeflow, cluster_job, first_there):
    """Another, with another method."""
    return kubeflow.execute(cluster_job, {"method": "irm_v1"})


def record(run):
    """The summary that a run left."""
    (artifact,) = run.outputs["RunRecord"]["record"]
    with open(os.path.join(artifact["uri"], "summary.json")) as file:
        return json.load(file)


def versions(serving):
    """The versions of the served model."""
    return sorted(int(p.name) for p in serving.iterdir() if p.name.isdigit())


def baseline_of(run):
    """URI of the model that the candidate was compared with; None without."""
    (blessing,) = run.outputs["InvarianceValidator"]["blessing"]
    return blessing["metadata"].get("baseline_model")


class TestVertex:
    def test_the_first_model_is_pushed(self, first, bucket):
        found = record(first)
        assert (found["verdict"], found["error"]) == ("PASS", None)
        (version,) = versions(bucket / "root" / "serving")
        assert found["pushed"] == str(bucket / "root" / "serving" / str(version))
        assert first.cached == []
        assert baseline_of(first) is None

    def test_leaves_the_summary_of_a_run_here(self, first):
        schema = json.loads(SCHEMA.read_text())
        left = {"run_id": "id", "stages": []}
        jsonschema.validate(record(first) | left, schema)
        assert record(first)["method"] == "v_rex"
        (artifact,) = first.outputs["RunRecord"]["record"]
        files = sorted(os.listdir(artifact["uri"]))
        assert files == ["environments.html", "report.html", "summary.json"]

    def test_no_task_saw_the_checkout(self, first):
        logs = list(first.root.glob("*/log.txt"))
        assert len(logs) >= 14
        for log in logs:
            text = log.read_text()
            assert not [name for name in PACKAGES if f"{ROOT}/{name}" in text], log

    def test_the_second_finds_the_first_as_baseline(self, first, second, bucket):
        (model,) = first.outputs["Trainer"]["model"]
        assert baseline_of(second) == model["uri"]
        names = [check["name"] for check in record(second)["checks"]]
        assert "baseline.auc" in names
        assert {"MultiEnvExampleGen", "Transform", "Trainer"} <= set(second.cached)

    def test_the_same_model_is_not_pushed_twice(self, first, second, bucket):
        assert record(second)["pushed"] == record(first)["pushed"]
        assert len(versions(bucket / "root" / "serving")) == 1

    def test_a_refused_one_is_not_pushed(self, refused, bucket):
        found = record(refused)
        assert (found["verdict"], found["pushed"]) == ("FAIL", None)
        (pushed,) = refused.outputs["Pusher"]["pushed_model"]
        assert pushed["metadata"]["pushed"] == 0
        assert "Trainer" in refused.cached
        assert len(versions(bucket / "root" / "serving")) == 1

    def test_an_unknown_method_leaves_its_sentence(self, vertex, job, second):
        with pytest.raises(cluster.TaskFailed) as caught:
            vertex.execute(job, {"method": "irm_v2"})
        assert caught.value.task == "Trainer"
        (path,) = caught.value.root.glob("error.json")
        told = json.loads(path.read_text())
        assert told["exit"] == 2
        assert "'irm_v2', which is none of this pipeline's (irm_v1)" in told["sentence"]


class TestKubeflow:
    def test_has_no_resolver(self, cluster_job):
        executors = cluster_job["pipelineSpec"]["deploymentSpec"]["executors"]
        assert all("container" in one for one in executors.values())

    def test_the_first_model_is_pushed(self, first_there, bucket):
        found = record(first_there)
        assert (found["verdict"], found["error"]) == ("PASS", None)
        assert len(versions(bucket / "kubeflow" / "serving")) >= 1
        assert baseline_of(first_there) is None

    def test_the_second_finds_it_as_baseline(self, first_there, second_there):
        (model,) = first_there.outputs["Trainer"]["model"]
        assert baseline_of(second_there) == model["uri"]
        names = [check["name"] for check in record(second_there)["checks"]]
        assert "baseline.auc" in names

    def test_a_parameter_chose_the_method(self, second_there):
        assert record(second_there)["method"] == "irm_v1"
        (run,) = second_there.outputs["Trainer"]["model_run"]
        history = json.loads((pathlib.Path(run["uri"]) / "history.json").read_text())
        assert "irm_v1" in json.dumps(history)
