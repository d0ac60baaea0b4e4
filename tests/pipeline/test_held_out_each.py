"""`held_out: each`: what the config says of it, and what the commands do."""

import json
import pathlib

import jsonschema
import pytest
import yaml

from pipeline import cli, folds, local_runner
from pipeline.config_io import load_config
from pipeline.errors import ConfigError
from pipeline.schema import make
from pipeline.tables import brief
from tests.pipeline.conftest import EACH, ROWS


def refused(project, *sets):
    with pytest.raises(ConfigError) as error:
        load_config(str(project.config), sets=sets)
    return str(error.value)


class TestConfig:
    def test_named_environments(self, project):
        data = load_config(str(project.config), sets=EACH).data
        assert data.each
        assert data.held_out == ()
        assert data.training == ("EWR", "JFK", "LGA")

    def test_without_it_nothing_is_held_out_in_turn(self, project):
        assert not load_config(str(project.config)).data.each
        sets = [*EACH, "data.held_out="]
        assert not load_config(str(project.config), sets=sets).data.each

    def test_a_column(self, project):
        project.by_column()
        data = load_config(str(project.config)).data
        assert data.each
        assert data.held_out == ()
        assert data.training is None

    def test_an_environment_may_be_called_each(self, project):
        project.by_column(held_out=["each"])
        data = load_config(str(project.config)).data
        assert not data.each
        assert data.held_out == ("each",)

    def test_the_schema_takes_it(self, project):
        schema = json.loads(pathlib.Path(make.CONFIG_SCHEMA).read_text())
        project.by_column()
        jsonschema.validate(yaml.safe_load(project.config.read_text()), schema)
        data = {"label": "y", "environments": {"A": {"csv": "a"}}, "held_out": "each"}
        project.update(data=data)
        jsonschema.validate(yaml.safe_load(project.config.read_text()), schema)
        project.update(data={**data, "held_out": "A"})
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(project.config.read_text()), schema)

    @pytest.mark.parametrize("value", ["LGA", "[LGA]", "true", "Each"])
    def test_any_other_value(self, project, value):
        said = refused(project, EACH[0], f"data.held_out={value}")
        assert "the one value here is each" in said
        assert "write `held_out: true` beside its files" in said
        assert "more problem" not in said

    def test_one_environment_says_so_too(self, project):
        said = refused(project, "data.held_out=each")
        assert "line 8: data.environments.LGA.held_out is true, but" in said
        assert said.endswith("remove one of the two")

    def test_beside_a_column(self, project):
        project.by_column(held_out=[])
        said = refused(project, "data.held_out=each")
        assert (
            "data.held_out stands beside environment_column; write `held_out:" in said
        )

    @pytest.mark.parametrize(
        ("method", "environments", "said"),
        [
            ("v_rex", "AB", "has 2 environments, and v_rex needs at least 3"),
            ("erm", "A", "has 1 environment, and erm needs at least 2"),
            ("v_rex", "ABC", None),
            ("erm", "AB", None),
        ],
    )
    def test_enough_are_left(self, project, method, environments, said):
        named = {name: {"csv": name} for name in environments}
        data = {"label": "y", "environments": named, "held_out": "each"}
        project.update(data=data, train={"method": method})
        if said is None:
            assert load_config(str(project.config)).data.each
        else:
            assert said in refused(project)

    def test_a_batch_has_a_row_of_each_that_is_trained_on(self, project):
        sets = [*EACH, "train.batch_size=2"]
        assert load_config(str(project.config), sets=sets).train.batch_size == 2
        said = refused(project, *EACH, "train.batch_size=1")
        assert "each of the 2 training environments" in said

    def test_what_is_held_out_in_its_turn_is_no_target(self, project):
        said = refused(project, *EACH, "train.importance={target: EWR}")
        assert "target is 'EWR', which is held out in its turn; write pooled" in said

    def test_the_released_model_is_no_check(self, project):
        checks = "checks={baseline: {auc: {max_drop: 0.01}}}"
        assert "checks has baseline alone" in refused(project, *EACH, checks)

    def test_a_fold(self, project):
        sets = [
            *EACH,
            "checks.baseline={auc: {max_drop: 0.01}}",
            "verdict.allow_insufficient=[gap.auc, baseline.auc]",
        ]
        fold = load_config(str(project.config), sets=sets).fold("JFK")
        assert not fold.data.each
        assert fold.data.held_out == ("JFK",)
        assert fold.data.training == ("EWR", "LGA")
        assert set(fold.checks.as_json()) == {"worst", "gap"}
        assert fold.verdict.allow_insufficient == ("gap.auc",)
        assert fold.folder == str(project.folder)

    def test_a_fold_of_a_column(self, project):
        project.by_column(values={"city": ["JFK", "LGA"], "Newark": "EWR"})
        config = load_config(str(project.config), method="erm")
        assert config.fold("city").data.held_out == ("city",)
        assert config.fold("city").data.training == ("Newark",)


class TestCommands:
    def test_validate_names_them(self, project, capsys):
        sets = [part for text in EACH for part in ("--set", text)]
        assert cli.main(["validate", str(project.config), *sets]) == 0
        out = capsys.readouterr().out
        assert "each of EWR, JFK, LGA is held out in turn; nothing is released" in out
        assert "pushed to" not in out

    def test_validate_reads_their_names(self, project, capsys):
        project.parquet("ewr.parquet", {**ROWS, "origin": ["b\x1b[31m", "c", "a", "a"]})
        project.by_column()
        assert cli.main(["validate", str(project.config)]) == 0
        assert "each of a, b\ufffd[31m, c is held" in capsys.readouterr().out

    def test_too_few_in_the_data(self, project, capsys):
        project.parquet("ewr.parquet", {**ROWS, "origin": ["a", "b", "a", "a"]})
        project.by_column()
        assert cli.main(["validate", str(project.config)]) == 2
        said = capsys.readouterr().err
        assert (
            "data.environments has 2 environments, and v_rex needs at least 3" in said
        )
        assert cli.main(["validate", str(project.config), "--method", "erm"]) == 0

    @pytest.mark.parametrize("command", ["compare", "tune"])
    def test_others_refuse_it(self, project, capsys, command):
        sets = [part for text in EACH for part in ("--set", text)]
        assert cli.main([command, str(project.config), *sets]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert (
            f"data.held_out is each, and tfx-irm {command} trains on the same" in line
        )
        assert line.endswith(
            "--set data.held_out= --set data.environments.NAME.held_out=true"
        )
        project.by_column()
        assert cli.main([command, str(project.config)]) == 2
        assert "--set data.environments.held_out=NAME" in capsys.readouterr().err
        assert not (project.folder / "runs-root").exists()

    def test_run_hands_it_to_the_folds(self, project, monkeypatch):
        project.by_column()
        called = []

        def run(config, environments, *, debug):
            called.append((config.data.each, environments, debug))
            path = project.folder / "summary.json"
            path.write_text(json.dumps({"error": None}))
            return local_runner.RunResult(3, str(path))

        monkeypatch.setattr(folds, "run", run)
        assert cli.main(["run", str(project.config)]) == 3
        assert called == [(True, ("EWR", "JFK", "LGA"), False)]


def test_names_are_brief_on_the_terminal():
    assert brief("EWR") == "EWR"
    assert brief("a\nb\x1b") == "a\ufffdb\ufffd"
    assert len(brief("x" * 10_000)) <= 24
