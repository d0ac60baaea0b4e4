"""What docs/vertex_training.md shows is legal, and its tables are complete."""

import pathlib
import re

import yaml

from pipeline.config_io import load_config
from pipeline.push_config import Push
from pipeline.vertex_config import Training
from tests.pipeline.conftest import Project

TEXT = (pathlib.Path(__file__).parents[1] / "docs" / "vertex_training.md").read_text()
(SNIPPET,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_config_is_legal(tmp_path):
    project = Project(tmp_path)
    shown = yaml.safe_load(SNIPPET)
    train = yaml.safe_load(project.config.read_text())["train"]
    project.update(**{**shown, "train": {**train, **shown["train"]}})
    config = load_config(str(project.config))
    assert config.train.where == "vertex"
    assert config.push.endpoint == "flights"
    assert config.vertex.training.workers == 2


def test_every_key_is_shown():
    shown = yaml.safe_load(SNIPPET)
    assert set(shown["vertex"]["training"]) == set(Training.model_fields)
    others = {"path", "override"}  # docs/release.md
    assert set(shown["push"]) == set(Push.model_fields) - others


def test_the_defaults_are_those_told():
    told = dict(re.findall(r"`vertex\.training\.(\w+)` \(`?([-\w]+)`?\)", TEXT))
    made = Training()
    assert told == {
        name: str(getattr(made, name)).replace("False", "false")
        for name in Training.model_fields
    }


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not link.startswith("https://"):
            assert (pathlib.Path(__file__).parents[1] / "docs" / link).is_file(), link
