"""The config, typed: what it reads, its defaults, and the sentence for each mistake."""

import os
import pathlib
import typing

import pydantic
import pytest
import yaml

from pipeline.config_io import MAX_BYTES, load_config
from pipeline.errors import ConfigError
from pipeline.tune_config import Tune
from trainer_module import selection


def refused(project, **arguments):
    """The sentence, without the file's name at its beginning."""
    with pytest.raises(ConfigError) as error:
        load_config(str(project.config), **arguments)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(str(project.config))
    return text.removeprefix(str(project.config))


def test_reads_all_of_it(project):
    config = load_config(str(project.config))
    assert config.name == "flights"
    assert config.data.label.column == "arr_delay"
    assert config.data.label.above == 15
    assert config.data.exclude == ("dep_delay",)
    assert config.data.training == ("EWR", "JFK")
    assert config.data.held_out == ("LGA",)
    assert config.data.split.by == ("month",)
    assert config.evaluate.slices == (("carrier",), ("environment", "carrier"))
    assert config.method_label == "v_rex"
    assert config.train.terms == [{"name": "v_rex", "weight": 100.0, "options": {}}]


def test_paths_are_relative_to_the_file(project, monkeypatch):
    monkeypatch.chdir("/")
    config = load_config(str(project.config))
    folder = str(project.folder)
    assert config.root == os.path.join(folder, "runs-root")
    assert config.push.path == os.path.join(folder, "serving")
    assert config.data.sources[1] == {
        "environment": "JFK",
        "format": "csv",
        "patterns": [os.path.join(folder, "data", "jfk-*.csv.gz")],
        "options": {},
        "held_out": False,
    }


def test_wildcards_in_the_folders_own_name_are_no_pattern(tmp_path, project):
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    moved = project.config.rename(folder / "config.yaml")
    (patterns,) = load_config(str(moved)).data.environments["EWR"].parquet[:1]
    assert patterns == f"{tmp_path}/a[[]1][*]/data/ewr.parquet"


def test_a_folder_with_braces_in_its_name_has_no_spans(tmp_path, project):
    folder = tmp_path / "{SPAN}"
    folder.mkdir()
    moved = project.config.rename(folder / "config.yaml")
    source = load_config(str(moved)).data.sources[0]
    assert source["patterns"] == [f"{tmp_path}/[{{]SPAN}}/data/ewr.parquet"]
    assert "spans" not in source


@pytest.mark.parametrize(
    ("path", "spans", "wanted"),
    [
        ("data/{SPAN}/v{VERSION:3}/*", "", {"skip": 0}),
        ("data/{SPAN}/*", "{last: 7, skip: 1}", {"last": 7, "skip": 1}),
        ("data/{SPAN}/*", "{from: 3, to: 3}", {"from": 3, "to": 3, "skip": 0}),
        ("s3://b/{SPAN}/*", "{to: 3}", {"to": 3, "skip": 0}),
        (
            "data/{YYYY}/{MM}/{DD}",
            "{from: 2024-03-01, last: 7}",
            {"from": "2024-03-01", "last": 7, "skip": 0},
        ),
    ],
)
def test_spans(project, path, spans, wanted):
    key = f", spans: {spans}" if spans else ""
    project.replace("{parquet: data/ewr.parquet}", f"{{parquet: '{path}'{key}}}")
    source = load_config(str(project.config)).data.sources[0]
    assert source["spans"] == wanted


def test_the_spans_of_the_docs(project):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    text = text[text.index("## Spans") :].split("```")[1].removeprefix("yaml\n")
    environments = yaml.safe_load(text)["environments"]
    project.update(data={"label": "y", "environments": environments})
    sources = load_config(str(project.config)).data.sources
    assert {source["environment"]: source["spans"] for source in sources} == {
        "north": {"skip": 0},
        "south": {"last": 7, "skip": 0},
        "east": {"last": 7, "skip": 1},
        "west": {"from": 3, "to": 9, "skip": 0},
    }


@pytest.mark.parametrize("path", ["data/{SPAN}/*", "{YYYY}-{MM}-{DD}", "{SPAN:2}.csv"])
@pytest.mark.parametrize("form", ["{{csv: {}}}", "{{csv: [{}, b]}}"])
def test_braces_without_quotes(project, path, form):
    project.replace("{parquet: data/ewr.parquet}", form.format(path))
    said = refused(project)
    assert said.startswith(", line 6: not YAML: ")
    first = path[path.index("{") : path.index("}") + 1]
    mend = f"; quote the path that holds {first}, for YAML reads braces as keys"
    assert said.endswith(mend)


def test_defaults_of_a_short_config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "name: a\n"
        "data: {label: y, environments: {A: {csv: a.csv}}}\n"
        "train:\n"  # everything below it commented out
        "checks: {worst: {auc: {min: 0.6}}}\n"
    )
    config = load_config(str(path))
    assert config.data.label.name == config.data.label.column == "y"
    assert config.task == "binary"
    assert config.train.terms == [{"name": "erm", "weight": 1.0, "options": {}}]
    assert (config.train.steps, config.train.anneal_steps) == (2000, 500)
    assert config.train.model.hidden == (256, 128)
    assert config.verdict.as_json() == {
        "confidence": 0.95,
        "min_examples": 200,
        "allow_insufficient": [],
    }
    assert config.data.features.numeric is None
    assert config.push.to == "filesystem"
    assert config.beam == ()


@pytest.mark.parametrize("url", ["gs://bucket/serving", "ram://a/b/c/"])
def test_models_may_go_to_a_store(project, url):
    config = load_config(str(project.config), sets=[f"push.path={url}"])
    assert config.push.path == url.rstrip("/")


def test_is_frozen(project):
    config = load_config(str(project.config))
    with pytest.raises(pydantic.ValidationError):
        config.train.steps = 3


def test_one_source_with_a_column(project):
    project.replace("    EWR: {parquet: data/ewr.parquet}\n", "")
    project.replace("    JFK: {csv: data/jfk-*.csv.gz}\n", "")
    project.replace(
        "    LGA: {tfrecord: data/lga.tfrecord, held_out: true}\n",
        "    {csv: [a.csv, b.csv], environment_column: year, held_out: [2013, LGA]}\n",
    )
    data = load_config(str(project.config)).data
    assert data.environment_column == "year"
    assert data.held_out == ("2013", "LGA")
    assert data.training is None
    (source,) = data.sources
    assert source["environment"] is None
    assert source["held_out"] is False
    assert len(source["patterns"]) == 2


def test_checks_as_the_validator_takes_them(project):
    project.replace("worst: {auc: {min: 0.65}}", "worst: {auc: {min: 0, split: ood}}")
    assert load_config(str(project.config)).checks.as_json() == {
        "worst": {"auc": {"min": 0.0, "split": "ood"}},
        "gap": {"auc": {"max": 0.05, "over": [["environment"]]}},
    }


def test_a_sum_of_methods(project):
    project.replace("method: v_rex", "method: [{name: irm_v1, weight: 7}, v_rex]")
    config = load_config(str(project.config))
    assert config.method_label == "irm_v1 + v_rex"
    assert [(t["name"], t["weight"]) for t in config.train.terms] == [
        ("irm_v1", 7.0),
        ("v_rex", 100.0),
    ]


def test_the_engine_is_set_in_train(project):
    project.replace(
        "steps: 2000",
        "steps: 2000\n  jit: true\n  precision: bfloat16\n  clip_norm: 1\n"
        "  early_stopping: {patience: 2}\n  constraint: {risk_gap: 0.02}",
    )
    train = load_config(str(project.config)).train
    assert train.engine == {
        "jit": True,
        "precision": "bfloat16",
        "clip_norm": 1.0,
        "deterministic": True,
        "accelerators": 0,
    }
    assert train.early_stopping.patience == 2
    assert train.constraint.risk_gap == 0.02


class TestTune:
    def test_ends_hang_on_train_where_not_given(self, project):
        config = load_config(str(project.config))
        assert config.tune.select == "invariance"
        assert config.tune.space(config.train) == {
            "weight": [0.01, 100.0],
            "anneal_steps": [100, 1000],
            "learning_rate": [0.001 / 3, 0.003],
            "width": [0.5, 1.0, 2.0],
        }

    def test_ends_as_given(self, project):
        tune = "tune: {weight: [1, 10], anneal_steps: [5, 50], width: 1.5, trials: 3}"
        project.replace("verdict: {", f"{tune}\nverdict: {{")
        config = load_config(str(project.config))
        space = config.tune.space(config.train)
        assert (space["weight"], space["anneal_steps"]) == ([1.0, 10.0], [5, 50])
        assert space["width"] == [1.5]
        assert config.tune.trials == 3

    def test_without_a_penalty_its_weight_is_not_searched(self, project):
        config = load_config(str(project.config), method="erm")
        space = config.tune.space(config.train)
        assert space["weight"] == [1.0, 1.0]
        assert len(set(space["anneal_steps"])) == 1


class TestMethodArgument:
    def test_lays_its_changes_over_train(self, project):
        train = load_config(str(project.config), method="irm_v1").train
        assert train.terms == [{"name": "irm_v1", "weight": 1000.0, "options": {}}]
        assert train.anneal_steps == 500

    def test_without_changes(self, project):
        train = load_config(str(project.config), method="erm").train
        assert train.terms[0]["name"] == "erm"
        assert train.steps == 2000

    def test_replaces_a_sum(self, project):
        project.replace("method: v_rex", "method: [irm_v1, v_rex]")
        config = load_config(str(project.config), method="v_rex")
        assert config.method_label == "v_rex"

    def test_where_there_is_no_train_section(self, project):
        text = project.config.read_text()
        start, end = text.index("train:"), text.index("evaluate:")
        project.config.write_text(text[:start] + text[end:])
        config = load_config(str(project.config), method="irm_v1")
        assert config.method_label == "irm_v1"

    def test_drops_the_options_of_the_other_method(self, project):
        project.replace("method: v_rex", "method: wasserstein")
        project.replace("  steps: 2000", "  options: {order: 2}\n  steps: 2000")
        assert load_config(str(project.config)).train.terms[0]["options"] == {
            "order": 2
        }
        terms = load_config(str(project.config), method="irm_v1").train.terms
        assert terms[0]["options"] == {}

    def test_unknown(self, project):
        with pytest.raises(ConfigError) as error:
            load_config(str(project.config), method="vrex")
        assert str(error.value) == (
            "--method is 'vrex', which is no method; did you mean 'v_rex'?"
        )

    def test_an_error_in_its_changes_names_their_line(self, project):
        project.replace("weight: 1000}", "weight: -1}")
        said = refused(project, method="irm_v1")
        assert said.startswith(", line 16: train.")
        assert "is -1; it must be at least 0" in said


class TestSetArgument:
    def test_values_are_yaml(self, project):
        config = load_config(
            str(project.config),
            sets=[
                "train.learning_rate=1e-2",
                "train.model.hidden=[8, 4]",
                "data.environments.LGA.held_out=false",
                "evaluate=",
                "train.penalty.schedule=linear",
            ],
        )
        assert config.train.learning_rate == 0.01
        assert config.train.model.hidden == (8, 4)
        assert config.data.held_out == ()
        assert config.evaluate.slices == ()
        assert config.train.penalty.weight == 100

    def test_the_last_one_and_the_command_line_win(self, project):
        config = load_config(
            str(project.config),
            method="irm_v1",
            sets=["train.penalty.weight=5", "train.penalty.weight=6"],
        )
        assert config.train.terms == [{"name": "irm_v1", "weight": 6.0, "options": {}}]

    @pytest.mark.parametrize(
        "setting",
        ["train.methods.irm_v1.penalty.weight=7", "train.methods={irm_v1: {steps: 9}}"],
    )
    def test_what_is_set_for_a_method_is_laid_over_it(self, project, setting):
        asked = {"method": "irm_v1", "sets": [setting, "train.penalty.anneal_steps=3"]}
        train = load_config(str(project.config), **asked).train
        assert 7 in (train.penalty.weight, train.steps - 2)

    def test_an_item_of_a_list(self, project):
        config = load_config(str(project.config), sets=["data.exclude.0=origin"])
        assert config.data.exclude == ("origin",)

    def test_does_not_leak_through_aliases(self, project):
        project.replace("    JFK: {csv", "    JFK: &jfk {csv")
        project.replace(
            "LGA: {tfrecord: data/lga.tfrecord, held_out: true}", "LGA: *jfk"
        )
        config = load_config(
            str(project.config), sets=["data.environments.LGA.held_out=true"]
        )
        assert config.data.held_out == ("LGA",)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("train.stpes=3", "train.stpes is an unknown key; did you mean 'steps'?"),
            ("train.steps=x", "train.steps is 'x'; expected a whole number"),
            ("train={}x", "not YAML"),
            ("train.steps", "expected KEY=VALUE"),
            ("=3", "expected KEY=VALUE"),
            ("train..steps=3", "expected KEY=VALUE"),
            ("name.x=3", "name is a plain value, which has no key 'x'"),
            ("data.exclude.1=x", "data.exclude is a list of 1, so '1' is none"),
            ("train.seed=!!python/name:os.system", "would build an object"),
        ],
    )
    def test_refuses(self, project, text, said):
        with pytest.raises(ConfigError) as error:
            load_config(str(project.config), sets=[text])
        assert f"--set {text}" in str(error.value)
        assert said in str(error.value)


MISTAKES = yaml.safe_load((pathlib.Path(__file__).parent / "mistakes.yaml").read_text())


@pytest.mark.parametrize(
    "mistake", MISTAKES, ids=[f"{m['was']} to {m['becomes']}" for m in MISTAKES]
)
def test_mistakes(project, mistake):
    project.replace(mistake["was"], mistake["becomes"])
    said = refused(project)
    if mistake["said"].endswith("..."):
        assert said.startswith(mistake["said"].removesuffix("...").rstrip())
    else:
        assert said == mistake["said"]


@pytest.mark.parametrize(
    ("environments", "sentence"),
    [
        (
            {"A": {"csv": "a", "held_out": True}},
            "holds out all it names (A); at least one environment must be trained on",
        ),
        (
            {"parquet": "a"},
            "has files (parquet) but no environment; write NAME: {parquet: ...} for"
            " each, or add `environment_column`, the column that tells it",
        ),
        (
            [{"csv": "a"}],
            "is [{'csv': 'a'}]; expected keys with values, for example"
            " `environments: {EWR: {parquet: data/EWR.parquet}}`",
        ),
        ({}, "is empty; name at least one"),
        (
            {"environment_column": "origin"},
            "names no files; add one of parquet, csv, tfrecord, jsonl or avro",
        ),
    ],
)
def test_environments(project, environments, sentence):
    data = {"label": "y", "environments": environments}
    project.update(data=data, train={"method": "erm"})
    assert f"data.environments {sentence}" in refused(project)


def test_the_environment_column_is_no_feature(project):
    environments = {"csv": "a", "environment_column": "origin"}
    features = {"categorical": ["origin"]}
    data = {"label": "y", "environments": environments, "features": features}
    project.update(data=data)
    said = refused(project)
    assert "data.features.categorical.0 is 'origin', which is the environment" in said


def test_numbers_of_years_may_be_environments(project):
    project.replace("    EWR:", "    2013:")
    project.replace("    JFK:", "    NO:")
    assert load_config(str(project.config)).data.training == ("2013", "NO")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", ": is empty; write a config (see `tfx-irm --help`)"),
        (b"# nothing\n", ": is empty; write a config (see `tfx-irm --help`)"),
        (b"- a\n", ", line 1: holds a list; a config is keys with values, beginning"),
        (b"text\n", ", line 1: holds one value; a config is keys with values"),
        (b"a: 1\nb: \xe4\n", ", line 2: is not UTF-8 (byte 0xe4); save the file as"),
        (b"\xff\xfea\x00", ", line 1: is not UTF-8 (byte 0xff); save the file as"),
        (b"PAR1\x00\x00", ", line 1: holds the character U+0000"),
        (b"x: " + b"a" * MAX_BYTES, ": is larger than 1,048,576 bytes"),
    ],
)
def test_files_that_are_no_config(project, content, sentence):
    project.config.write_bytes(content)
    assert refused(project).startswith(sentence)


def test_a_byte_order_mark_does_no_harm(project):
    project.config.write_bytes(b"\xef\xbb\xbf" + project.config.read_bytes())
    assert load_config(str(project.config)).name == "flights"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("confg.yaml", "confg.yaml: there is no such file; did you mean config.yaml?"),
        ("no/config.yaml", "there is no such file, nor the folder no; check the path"),
        (".", ".: is a folder; name the config in it: config.yaml"),
        ("data", "data: is a folder; name a YAML file"),
        ("", "'': there is no such file; did you mean config.yaml?"),
        ("a\0b", "cannot be read (embedded null byte)"),
        ("data/ewr.parquet/x.yaml", "nor the folder data/ewr.parquet; check the path"),
    ],
)
def test_paths_that_are_no_file(project, monkeypatch, path, sentence):
    monkeypatch.chdir(project.folder)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert sentence in str(error.value)


def test_a_devices_endless_content_is_not_read():
    with pytest.raises(ConfigError, match="larger than"):
        load_config("/dev/zero")


def test_the_config_knows_the_rules_that_there_are():
    legal = typing.get_args(Tune.model_fields["select"].annotation)
    assert set(legal) == set(selection.RULES)
