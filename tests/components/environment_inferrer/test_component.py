"""The contract of the component, and its executor on artifacts."""

import json
import os

import pytest
from tfx.types import channel_utils

from components.artifacts import EnvironmentInference, SourceManifest
from components.environment_inferrer import component, executor, rule
from components.errors import ERROR_FILE, DataError
from components.multi_env_example_gen import shards
from components.source_manifest import listing
from tests.components.environment_inferrer.conftest import LOCAL, NEVER, noise, planted

SPEC = shards.Spec({"name": "late"}, 0.5, (), ())


def make(**settings):
    manifest = channel_utils.as_channel([SourceManifest()])
    return component.EnvironmentInferrer(
        manifest, SPEC, rule.Settings(**settings), {}, NEVER
    )


def test_the_contract():
    made = make(method="clusters", number=3)
    assert made.outputs["inferred_manifest"].type is SourceManifest
    assert made.outputs["inference"].type is EnvironmentInference
    assert json.loads(made.exec_properties["settings"])["number"] == 3
    assert len(made.exec_properties["code"]) == 32


@pytest.mark.parametrize(
    "wrong", [{"method": "em"}, {"number": 3}, {"method": "clusters", "number": 1}]
)
def test_what_no_data_could_mend_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match=r"method is 'em'|number is"):
        make(**wrong)


def do(tmp_path, frame):
    frame.to_parquet(tmp_path / "a.parquet")
    source = {"environment": None, "format": "parquet", "held_out": False}
    files = listing.build_manifest([{**source, "patterns": [str(tmp_path / "a.*")]}])
    manifest, inferred = SourceManifest(), SourceManifest()
    inference = EnvironmentInference()
    manifest.uri = str(tmp_path / "manifest")
    inferred.uri = str(tmp_path / "EnvironmentInferrer" / "inferred_manifest" / "1")
    inference.uri = str(tmp_path / "EnvironmentInferrer" / "inference" / "1")
    os.makedirs(manifest.uri)
    with open(os.path.join(manifest.uri, "manifest.json"), "w") as file:
        file.write(listing.to_json(files))
    made = make(sample=2000)
    context = executor.Executor.Context(beam_pipeline_args=[LOCAL])
    executor.Executor(context).Do(
        {"manifest": [manifest]},
        {"inferred_manifest": [inferred], "inference": [inference]},
        made.exec_properties,
    )
    return inferred, inference


def test_the_executor_leaves_a_manifest_and_how_certain_it_is(tmp_path):
    inferred, inference = do(tmp_path, planted(3000))
    with open(os.path.join(inferred.uri, "manifest.json")) as file:
        files = listing.from_json(file.read())
    assert {f.environment for f in files} == {"inferred-1", "inferred-2"}
    for file in files:
        listing.check_unchanged(file)
    with open(os.path.join(inference.uri, "inference.json")) as file:
        found = json.load(file)
    assert found["sentence"] == inference.get_string_custom_property("sentence")


def test_a_refusal_leaves_its_reason(tmp_path):
    with pytest.raises(DataError):
        do(tmp_path, noise(1500))
    with open(tmp_path / "EnvironmentInferrer" / ERROR_FILE) as file:
        told = json.load(file)
    assert told["exit"] == 2
    assert told["sentence"].startswith("data.environments.infer: the environments")
