"""The loop that launches the nodes of every graph."""

import pytest

from pipeline import local_runner
from pipeline.errors import ConfigError


class Node:
    """Stands for a node of `tfx_local`."""

    def __init__(self, name, failure=None):
        self.name, self.failure = name, failure

    def launch(self):
        if self.failure:
            raise self.failure
        return True, {"out": [self.name]}


class TestLaunch:
    @pytest.fixture
    def launch(self, monkeypatch, tmp_path):
        def launch(nodes, **options):
            monkeypatch.setattr("pipeline.tfx_local.prepare", lambda graph, run: nodes)
            said = []
            path = str(tmp_path)
            progress = local_runner.launch(
                lambda: None, path, lambda text, **_: said.append(text), **options
            )
            return progress, said

        return launch

    def test_a_part_that_fails_leaves_the_others_alone(self, launch):
        nodes = [
            *(Node("A.1"), Node("A.2", ConfigError("it is 3; write 4")), Node("A.3")),
            *(Node("M"), Node("B.1"), Node("B.2"), Node("B.3")),
        ]
        progress, said = launch(nodes, parts={"1": "one", "2": "two"})
        names = [stage.name for stage in progress.stages]
        assert names == ["start", "M", "A.1", "B.1", "A.2", "A.3", "B.3"]
        assert set(progress.outputs) == {"M", "A.1", "B.1", "A.3", "B.3"}
        sentence = {"exit": 2, "sentence": "it is 3; write 4"}
        assert progress.errors == {"2": sentence}
        assert progress.error(["1", "2", "3"]) == {**sentence, "exit": 1}
        assert progress.error(["2"]) == sentence
        assert progress.error(["1", "3"]) is None
        assert any(line.startswith("  A, one ") for line in said)
        assert any(line.startswith("  B.3 ") for line in said)
        assert "  it is 3; write 4" in said

    def test_what_all_need_ends_it(self, launch):
        progress, _ = launch([Node("M", ValueError("no")), Node("A.1")])
        assert [stage.name for stage in progress.stages] == ["start", "M"]
        assert progress.error(["1"])["exit"] == 1
        assert progress.error(["1"])["sentence"].startswith("M failed: ValueError: no;")
        with pytest.raises(RuntimeError, match="M failed"):
            local_runner.raise_error(progress.error(["1"]))
