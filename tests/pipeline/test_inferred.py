"""Environments that are inferred: config, validate, graph."""

import json

import pytest
import yaml

from pipeline import cli, sources_check
from pipeline.config_io import load_config
from pipeline.errors import ConfigError
from pipeline.pipeline import create_comparison, create_pipeline, create_tuning
from pipeline.runtime import Local

KNOWN = {"LGA": {"tfrecord": "data/lga.tfrecord"}}


@pytest.fixture
def infer(project):
    """Two of the three sources have lost their names."""

    def go(held_out=KNOWN, **changes):
        data = yaml.safe_load(project.config.read_text())["data"]
        data["environments"] = {
            "sources": [{"parquet": "data/ewr.parquet"}, {"csv": "data/jfk-*.csv.gz"}],
            "infer": {"method": "eiil", **changes},
            "held_out": held_out,
        }
        project.update(data=data)
        return project

    return go


def load(project, *sets, method=None):
    return load_config(str(project.config), sets=sets, method=method)


def test_names_roles_and_sources(infer):
    data = load(infer()).data
    assert data.training == ("inferred-1", "inferred-2")
    assert data.held_out == ("LGA",)
    roles = [(s["environment"], s["format"], s["held_out"]) for s in data.sources]
    assert roles == [
        (None, "parquet", False),
        (None, "csv", False),
        ("LGA", "tfrecord", True),
    ]
    assert (data.environment_column, data.naming, data.telltale) == (None, None, None)


def test_one_source_needs_no_list(project):
    project.replace(
        "    EWR: {parquet: data/ewr.parquet}\n    JFK: {csv: data/jfk-*.csv.gz}\n"
        "    LGA: {tfrecord: data/lga.tfrecord, held_out: true}\n",
        "    parquet: data/ewr.parquet\n    infer:\n",
    )
    data = load(project).data
    assert len(data.sources) == 1
    assert (data.inferred.infer.method, data.held_out) == ("eiil", ())


def test_an_environment_may_be_named_infer(project):
    project.replace("EWR: {parquet", "infer: {parquet")
    assert load(project).data.training == ("infer", "JFK")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("infer.number", "3", "infer.number is 3, and eiil makes exactly 2"),
        ("infer.number", "1", "infer.number is 1; it must be at least 2"),
        ("infer.method", "em", "infer.method is 'em'; legal are eiil, clusters"),
        ("infer.sample", "10", "infer.sample is 10; it must be at least 1000"),
        ("infer.min_stability", "2", "infer.min_stability is 2; it must be at most 1"),
        ("infer.on_uncertain", "go", "legal are refuse, accept"),
        ("infer.folds", "3", "infer.folds is an unknown key"),
        ("environment_column", "origin", "has environment_column and infer"),
        ("parquet", "a.parquet", "parquet stands beside sources"),
        ("held_out", "[LGA]", "held_out is ['LGA']; beside infer it holds"),
        ("held_out", "each", "held_out is 'each'; beside infer it holds"),
        ("held_out.LGA.held_out", "false", "held_out.LGA.held_out is false; beside"),
        (
            "held_out",
            "{inferred-2: {csv: a.csv}}",
            "held_out.inferred-2 is named as an inferred environment",
        ),
        ("held_out.LGA", "a.csv", "held_out.LGA is 'a.csv'; say the format"),
    ],
)
def test_mistakes(infer, key, value, said):
    with pytest.raises(ConfigError) as raised:
        load(infer(), f"data.environments.{key}={value}")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_one_is_held_out_in_turn(infer):
    with pytest.raises(ConfigError, match="data.held_out stands beside infer"):
        load(infer(), "data.held_out=each")


def test_validate_says_what_is_inferred(infer, capsys):
    project = infer()
    assert cli.main(["validate", str(project.config)]) == 0
    said = capsys.readouterr().out
    assert "environment inferred        1 parquet file" in said
    assert "2 by eiil" in said
    assert "pushed to" in said
    assert cli.main(["validate", str(infer({}).config)]) == 0
    said = capsys.readouterr().out
    assert "INSUFFICIENT_DATA at best" in said
    assert "pushed to" not in said


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("data.environments.held_out.LGA.tfrecord=no", "environments.held_out.LGA.tf"),
        ("data.environments.sources.0.parquet=no", "matches no file"),
        ("data.features.numeric=[nothing]", "names the column 'nothing'"),
    ],
)
def test_validate_names_what_is_not_there(infer, sets, said):
    config = load(infer(), sets)
    with pytest.raises(ConfigError, match=said):
        sources_check.check(config)


def test_a_file_is_not_in_both(infer):
    config = load(infer({"EWR": {"parquet": "data/ewr.parquet"}}))
    with pytest.raises(ConfigError, match="held_out.EWR has the file .* too"):
        sources_check.check(config)


def nodes(project, *sets):
    found = load(project, *sets)
    made = create_pipeline(found, Local(found))
    return {component.id: component for component in made.components}


def test_it_stands_before_the_split(infer, project):
    made = nodes(infer())
    inferrer, example_gen = made["EnvironmentInferrer"], made["MultiEnvExampleGen"]
    assert inferrer.inputs["manifest"].producer_component_id == "SourceManifest"
    assert example_gen.inputs["manifest"].producer_component_id == "EnvironmentInferrer"
    inference = made["InvarianceValidator"].inputs["inference"]
    assert inference.producer_component_id == "EnvironmentInferrer"
    never = json.loads(inferrer.exec_properties["never"])
    assert {"late", "arr_delay", "dep_delay", "environment"} <= set(never)


def test_known_environments_need_no_inferrer(project):
    made = nodes(project)
    assert "EnvironmentInferrer" not in made
    assert "inference" not in made["InvarianceValidator"].inputs


def test_only_what_it_reads_infers_anew(infer):
    def properties(*sets):
        return dict(nodes(infer(), *sets)["EnvironmentInferrer"].exec_properties)

    same = properties()
    assert properties("data.split.eval=0.4", "evaluate={}", "train.steps=600") == same
    assert properties("data.environments.infer.seed=1") != same
    assert properties("data.split.by=[]") != same


def test_compare_and_tune_infer_once(infer):
    project = infer()
    config, erm = load(project), load(project, method="erm")
    runtime = Local(config)
    for made in (
        create_comparison({"v_rex.0": config, "erm.0": erm}, runtime),
        create_tuning(config, runtime),
    ):
        ids = [component.id for component in made.components]
        assert ids.count("EnvironmentInferrer") == 1
