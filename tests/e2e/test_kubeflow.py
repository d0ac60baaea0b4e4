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

import pytest

from tests.e2e import cluster
from tests.e2e.helpers import CONFIG, write_sample

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("pipeline", "components", "trainer_module")
BUCKET = "gs://tfx-irm-test"
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


@pytest.fixture(scope="session")
def vertex(python, bucket):
    """An orchestrator that resolves, as Vertex AI does."""
    return cluster.Cluster(python, (BUCKET, bucket))


@pytest.fixture(scope="session")
def first(vertex, compiled):
    """The first execution: everything runs, the model is released."""
    return vertex.execute(compiled("vertex"))


def record(run):
    """The summary that a run left."""
    (artifact,) = run.outputs["RunRecord"]["record"]
    with open(os.path.join(artifact["uri"], "summary.json")) as file:
        return json.load(file)


def test_the_first_model_is_pushed(first, bucket):
    found = record(first)
    assert (found["verdict"], found["error"]) == ("PASS", None)
    assert found["pushed"].startswith(str(bucket / "root" / "serving"))
