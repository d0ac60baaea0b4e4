"""What the graph hands to the report."""

import json

import pytest

from components import digests
from pipeline import stages
from pipeline.config_io import load_config
from pipeline.pipeline import create_pipeline
from pipeline.runtime import Local


def load(project, *sets):
    return load_config(str(project.config), sets=sets)


def validator(project, *sets):
    config = load(project, *sets)
    nodes = create_pipeline(config, Local(config)).components
    return next(node for node in nodes if node.id == "InvarianceValidator")


def test_the_report_gets_the_load_check(project):
    given = validator(project).inputs["infra_blessing"]
    assert given.producer_component_id == "ModelValidator"
    assert given.type.TYPE_NAME == "InfraBlessing"


def test_the_context_has_the_digest_of_the_config(project):
    properties = validator(project).exec_properties
    found = json.loads(properties["context"])["config"]
    assert digests.is_digest(found)
    assert found == stages.config_digest(load(project))


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ("train.steps=7777", True),
        ("verdict.confidence=0.9", True),
        ("evaluate.slices=[]", True),
        ("push.path=elsewhere", False),
        ("root=elsewhere", False),
        ("beam=[--direct_num_workers=2]", False),
    ],
)
def test_another_config_has_another_digest_but_not_another_place(
    project, change, another
):
    config, other = load(project), load(project, change)
    assert config != other
    digest = stages.config_digest(config)
    assert (stages.config_digest(other) != digest) == another
