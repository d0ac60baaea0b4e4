"""One real run of the pipeline, shared by the tests; and its later runs."""

import json
import textwrap

import pytest

from tests.e2e.helpers import CONFIG, Project, write_sample


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The sample project; nothing has run yet."""
    folder = tmp_path_factory.mktemp("flights")
    write_sample(folder / "data")
    project = Project(folder)
    project.config.write_text(textwrap.dedent(CONFIG))
    return project


@pytest.fixture(scope="session")
def first(project):
    """The first run: everything is executed, the model is released."""
    return project.run()


@pytest.fixture(scope="session")
def second(project, first):
    """The same command again: the released model is now the baseline."""
    return project.run()


@pytest.fixture(scope="session")
def third(project, second):
    """And again: nothing has changed since."""
    return project.run()


@pytest.fixture(scope="session")
def refused(project, third):
    """The same artifacts under a bound that no model can reach."""
    bound = {"worst": {"auc": {"min": 0.999, "over": "environment"}}}
    return project.run("--set", f"checks={json.dumps(bound)}")
