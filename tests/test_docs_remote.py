"""What docs/vertex.md and docs/kubeflow.md show works as far as it can here."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from pipeline import cli, remote_config
from pipeline.config_io import load_config

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    "vertex": (ROOT / "docs" / "vertex.md").read_text(),
    "kubeflow": (ROOT / "docs" / "kubeflow.md").read_text(),
}
SECTIONS = {"vertex": remote_config.Vertex, "kubeflow": remote_config.Kubeflow}
FLIGHTS = ROOT / "examples" / "flights"


def snippets(page, language):
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


COMMANDS = [
    line.strip()
    for page in PAGES
    for block in snippets(page, "bash")
    for line in block.splitlines()
]


@pytest.mark.parametrize("page", PAGES)
def test_the_section_is_legal_and_every_key_is_told(page):
    (snippet,) = snippets(page, "yaml")
    section = yaml.safe_load(snippet)[page]
    made = SECTIONS[page].model_validate(section)
    fields = type(made).model_fields
    assert set(section) | {"training"} == set(fields) | {"training"}
    for name in fields:
        assert f"`{name}`" in PAGES[page] or f".{name}`" in PAGES[page], name


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_the_commands_parse(command):
    words = shlex.split(command)
    assert words[0] == "tfx-irm"
    options = cli._parser().parse_args(words[1:])
    assert callable(options.do)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_ours_is_marked_as_not_run(page):
    """Commands of others stand in `sh` blocks, of which the page says so."""
    assert "**were not run**" in PAGES[page] or "**was not run**" in PAGES[page]
    for block in snippets(page, "sh"):
        assert "tfx-irm run" not in block
    told = re.findall(r"^(\w+) ", "\n".join(snippets(page, "sh")), re.MULTILINE)
    assert set(told) <= {"gcloud", "kubectl", "docker", "export", "compute"}


def test_the_sentences_of_the_tables_are_the_code_s():
    """What a reader searches a page for is what the command says."""
    code = "".join(
        path.read_text()
        for path in (
            *(ROOT / "pipeline").glob("*.py"),
            ROOT / "components" / "source_manifest" / "executor.py",
        )
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # sentences are written in pieces
    code = re.sub(r"\{[^{}]*\}", "...", code)
    titles = ("Vertex AI ", "Kubeflow Pipelines ")
    for page, text in PAGES.items():
        table = text[text.index("## When it goes wrong") :]
        cells = re.findall(r"^\| `([^`]+)` ", table, re.MULTILINE)
        assert len(cells) >= 9
        for cell in cells:
            if cell == "ModuleNotFoundError: components" or cell == "ImagePullBackOff":
                continue
            for title in titles:
                cell = cell.removeprefix(title)
            pieces = [piece.strip(" .:") for piece in re.split(r"\.\.\.|; ", cell)]
            for piece in filter(None, pieces):
                said = re.sub(r"^says: (Permission|\d+)$", "says:", piece)
                assert said in code or said in ("denied", "train.methods"), (
                    page,
                    piece,
                )


def test_the_links_lead_somewhere():
    for text in PAGES.values():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if target not in ("image.md", "vertex_training.md"):
                assert (ROOT / "docs" / target).resolve().exists(), target


class TestTheExample:
    def test_trains_and_checks_what_the_demo_does(self):
        demo = load_config(str(FLIGHTS / "config.yaml"))
        there = load_config(str(FLIGHTS / "vertex.yaml"))
        for name in ("train", "evaluate", "checks", "verdict", "task", "name"):
            assert getattr(there, name) == getattr(demo, name), name
        for name in ("label", "exclude", "split", "features"):
            assert getattr(there.data, name) == getattr(demo.data, name), name
        assert there.data.held_out == demo.data.held_out

    def test_reads_what_the_page_uploads(self):
        there = load_config(str(FLIGHTS / "vertex.yaml"))
        uploaded = " ".join(snippets("vertex", "sh"))
        for source in there.data.sources:
            for pattern in source["patterns"]:
                folder, _, name = pattern.rpartition("/")
                assert f"{folder}/" in uploaded
                assert list((FLIGHTS / "data").glob(name)), name

    def test_compiles_without_credentials(self, tmp_path):
        output = tmp_path / "pipeline.json"
        kept = {k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pipeline.cli", "compile"),
                *("examples/flights/vertex.yaml", "--output", str(output)),
            ],
            cwd=ROOT,
            env={**kept, "HOME": str(tmp_path), "NO_GCE_CHECK": "true"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        job = json.loads(output.read_text())
        assert job["runtimeConfig"]["parameterValues"] == {
            "fingerprint": "",
            "method": "",
        }
