"""What the README shows works as it stands."""

import pathlib
import re
import shlex

import pytest

from pipeline import cli
from pipeline.config_io import load_config

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_config_is_valid(tmp_path):
    (snippet,) = blocks("yaml")
    path = tmp_path / "config.yaml"
    path.write_text(snippet)
    config = load_config(str(path))
    assert config.data.held_out == ("west",)
    assert config.method_label == "v_rex"


def commands():
    lines = "\n".join(blocks("bash")).splitlines()
    return [line.split("#")[0].strip() for line in lines if "tfx-irm" in line]


@pytest.mark.parametrize("command", commands())
def test_the_commands_parse(command):
    options = cli._parser().parse_args(shlex.split(command)[1:])
    assert callable(options.do)


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\S+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
