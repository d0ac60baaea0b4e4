"""What lies in a bucket, or on a volume of the cluster, and is asked for from here."""

import json
import pathlib

import pytest

from components import digests
from components.blessings import Blessing
from components.pusher import release, versions
from pipeline import source_columns
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

SCHEMA = """
feature { name: "distance" type: FLOAT }
feature { name: "carrier" type: INT }
"""


class TestASchemaInABucket:
    @pytest.fixture
    def config(self, project, bucket):
        line = "  label: {name: late"
        project.replace(line, f"  schema: gs://a-bucket/schema.pbtxt\n{line}")
        return str(project.config)

    def test_is_what_the_stage_imports(self, config, command, tmp_path):
        output = tmp_path / "job.json"
        words = ("compile", config, "--on", "vertex", "--output", str(output))
        assert command(*words)[0] == 0
        spec = json.loads(output.read_text())["pipelineSpec"]
        assert "gs://a-bucket/schema.pbtxt" in json.dumps(spec["deploymentSpec"]) + (
            json.dumps(spec["root"])
        )

    def test_is_read_from_there(self, config, bucket):
        loaded = load_config(config)
        assert loaded.data.schema_path == "gs://a-bucket/schema.pbtxt"
        path = pathlib.Path(bucket.folder, "a-bucket")
        path.mkdir()
        (path / "schema.pbtxt").write_text(SCHEMA)
        columns = source_columns.Column
        fits = {"distance": columns("float"), "carrier": columns("int")}
        source_columns._check_schema(loaded, fits)
        with pytest.raises(ConfigError, match="'carrier' is INT in the schema"):
            source_columns._check_schema(loaded, {**fits, "carrier": columns("bytes")})

    def test_that_is_not_there(self, config, bucket):
        with pytest.raises(ConfigError, match="which is no schema in text form"):
            source_columns._check_schema(load_config(config), {})


def test_a_schema_elsewhere_is_still_refused(project):
    line = "  label: {name: late"
    project.replace(line, f"  schema: https://example.com/schema.pbtxt\n{line}")
    with pytest.raises(ConfigError, match="a remote address"):
        load_config(str(project.config))


def test_what_was_released_there_is_rolled_back(project, tmp_path, command):
    text = project.config.read_text()
    section = text.index("vertex:"), text.index("kubeflow:")
    text = text[: section[0]] + text[section[1] :]
    volume = tmp_path / "volume"
    project.config.write_text(text.replace("gs://a-bucket", str(volume)))
    serving = str(volume / "root" / "serving")
    known = []
    for number in (1, 2):
        model = tmp_path / f"model-{number}"
        model.mkdir()
        (model / "saved_model.pb").write_text(f"graph {number}")
        known.append(digests.of_model(str(model)))
        blessing = Blessing(True, "PASS", known[-1], "e" * 32, "c" * 32)
        told = {"run": str(number), "pipeline": "flights", "model": str(number)}
        release.release(str(model), blessing, serving, None, told)
    code, out, err = command("rollback", str(project.config))
    assert code == 2
    assert "so there is nothing to roll back" in err  # nothing is served from here
    code, out, _ = command("rollback", str(project.config), "--on", "kubeflow")
    assert code == 0
    found = versions.versions(serving)
    assert [version.told for version in found] == [*known, known[0]]
    assert found[-1].path in out
