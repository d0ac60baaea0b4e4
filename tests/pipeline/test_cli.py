"""The command: exit codes, what goes where, and how fast a wrong config is answered."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import types

import pytest

from components.errors import DataError
from pipeline import cli
from pipeline.errors import ConfigError

ROOT = pathlib.Path(__file__).parents[2]


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


class TestValidate:
    def test_a_good_config(self, project, capsys):
        assert cli.main(["validate", str(project.config)]) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith(f"{project.config} is valid: flights\n")
        assert captured.err == ""

    def test_a_wrong_one(self, project, capsys):
        project.replace("method: v_rex", "method: vrex")
        assert cli.main(["validate", str(project.config)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        assert line.startswith(f"tfx-irm: {project.config}, line 14: train.method is")

    def test_wrong_data(self, project, capsys):
        project.file("ewr.parquet", b"")
        assert cli.main(["validate", str(project.config)]) == 2
        assert "cannot be read as parquet" in capsys.readouterr().err

    def test_set_and_method(self, project, capsys):
        arguments = ["--method", "irm_v1", "--set", "train.steps=700"]
        assert cli.main(["validate", str(project.config), *arguments]) == 0
        assert "irm_v1, 700 steps" in capsys.readouterr().out

    def test_debug_adds_the_traceback(self, project, capsys):
        project.replace("method: v_rex", "method: vrex")
        assert cli.main(["validate", str(project.config), "--debug"]) == 2
        error = capsys.readouterr().err
        assert "Traceback" in error
        assert error.splitlines()[-1].startswith(f"tfx-irm: {project.config}, line 14")

    def test_leaves_nothing_behind(self, project):
        before = sorted(project.folder.rglob("*"))
        cli.main(["validate", str(project.config)])
        assert sorted(project.folder.rglob("*")) == before

    def test_answers_a_wrong_config_in_under_a_second(self, project):
        project.replace("method: v_rex", "method: vrex")
        seconds = []
        for _ in range(3):  # of the processor: others use it too
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = command("validate", project.config)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = (after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
            seconds.append(sum(used))
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
        assert min(seconds) < 1

    def test_a_wrong_config_imports_nothing_heavy(self, project):
        project.replace("auc: {min: 0.65}", "auc: {min: 1.65}")
        code = (
            "import sys; from pipeline.cli import main; "
            f"assert main(['validate', {str(project.config)!r}]) == 2; "
            "heavy = {'numpy', 'pyarrow', 'scipy', 'tensorflow', 'tfx'}; "
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    def test_a_reader_that_has_gone(self, project):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "validate", str(project.config)],
            cwd=ROOT,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(write)
        assert done.returncode == 1
        assert done.stderr == ""


class TestArguments:
    def test_none_shows_help(self, capsys):
        assert cli.main([]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "usage: tfx-irm" in captured.err
        assert "validate" in captured.err

    @pytest.mark.parametrize(
        "name", ["", "run", "validate", "report", "rollback", "monitor", "prune"]
    )
    def test_help_has_examples(self, name, capsys):
        assert cli.main([name, "--help"] if name else ["--help"]) == 0
        out = capsys.readouterr().out
        assert f"examples:\n  tfx-irm {name or 'validate'} " in out
        assert "exit status:" in out

    @pytest.mark.parametrize(
        "name", ["", "run", "validate", "report", "rollback", "monitor", "prune"]
    )
    def test_the_examples_in_help_are_legal(self, name, capsys):
        cli.main([name, "--help"] if name else ["--help"])
        out = capsys.readouterr().out
        lines = [x.strip() for x in out.splitlines() if x.startswith("  tfx-irm ")]
        assert lines
        import shlex

        for line in lines:
            cli._parser().parse_args(shlex.split(line)[1:])

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["valid", "x"], "invalid choice: 'valid'"),
            (["deploy", "x"], "invalid choice: 'deploy'"),
            (["validate"], "the following arguments are required: CONFIG"),
            (["validate", "a", "b"], "unrecognized arguments: b"),
            (["validate", "a", "--set"], "expected one argument"),
            (["run", "a", "--log-format", "xml"], "invalid choice: 'xml'"),
            (["run", "a", "--deb"], "unrecognized arguments: --deb"),
            (["report", "a", "--method", "erm"], "unrecognized arguments"),
            (["monitor", "a"], "the following arguments are required: --data"),
        ],
    )
    def test_wrong_ones(self, arguments, said, capsys):
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert line.endswith("--help")

    def test_version(self, capsys):
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("tfx-irm ")

    def test_a_file_that_is_not_there(self, capsys):
        assert cli.main(["validate", "no/such.yaml"]) == 2
        assert capsys.readouterr().err == (
            "tfx-irm: no/such.yaml: there is no such file, nor the folder no; check the"
            " path\n"
        )


class TestRun:
    @pytest.fixture
    def runner(self, monkeypatch, tmp_path):
        """A stand-in for TFX: does what `do` says, remembers what it was given."""
        fake = types.SimpleNamespace(calls=[], do=lambda: 0, error=None)

        def run(config, *, debug):
            fake.calls.append((config, debug))
            status = fake.do()
            path = tmp_path / "summary.json"
            path.write_text(json.dumps({"error": fake.error}))
            return types.SimpleNamespace(exit_code=status, summary_path=str(path))

        module = types.ModuleType("pipeline.local_runner")
        module.run = run
        monkeypatch.setitem(sys.modules, "pipeline.local_runner", module)
        monkeypatch.setattr("pipeline.local_runner", module, raising=False)
        return fake

    @pytest.mark.parametrize("status", [0, 3])
    def test_hands_the_status_on(self, project, runner, status, capsys):
        runner.do = lambda: status
        arguments = ["run", str(project.config), "--method", "erm", "--debug"]
        assert cli.main(arguments) == status
        ((config, debug),) = runner.calls
        assert config.method_label == "erm"
        assert debug
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("status", [1, 2])
    def test_tells_the_error_of_a_run(self, project, runner, status, capsys):
        runner.do = lambda: status
        runner.error = {"exit": status, "sentence": "environment 'EWR' has no rows"}
        assert cli.main(["run", str(project.config)]) == status
        assert capsys.readouterr().err == "tfx-irm: environment 'EWR' has no rows\n"

    @pytest.mark.parametrize(
        ("error", "status", "said"),
        [
            (KeyboardInterrupt(), 130, "tfx-irm: interrupted\n"),
            (DataError("data"), 2, "tfx-irm: data\n"),
            (ConfigError("config"), 2, "tfx-irm: config\n"),
            (
                RuntimeError("two\nlines"),
                1,
                "tfx-irm: RuntimeError: two lines; --debug shows the traceback\n",
            ),
        ],
    )
    def test_errors(self, project, runner, error, status, said, capsys):
        def fail():
            raise error

        runner.do = fail
        assert cli.main(["run", str(project.config)]) == status
        assert capsys.readouterr().err == said

    @pytest.mark.parametrize("broken", ["config", "data"])
    def test_nothing_runs_where_validate_fails(self, project, runner, broken):
        if broken == "config":
            project.replace("steps: 2000", "stepz: 2000")
        else:
            (project.folder / "data" / "ewr.parquet").unlink()
        assert cli.main(["run", str(project.config)]) == 2
        assert runner.calls == []
        assert not (project.folder / "runs-root").exists()

    def test_finds_a_model_beside_the_config(self, project, runner, monkeypatch):
        monkeypatch.setattr(sys, "path", list(sys.path))
        (project.folder / "my_own_model.py").write_text("")
        build = "train.model={build: my_own_model.build}"
        assert cli.main(["run", str(project.config), "--set", build]) == 0
        assert sys.path[-1] == str(project.folder)


class TestReport:
    @pytest.fixture
    def run_folder(self, project):
        folder = project.folder / "runs-root" / "runs" / "20130101-000000"
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("")
        return folder

    def test_prints_the_path(self, project, run_folder, capsys):
        assert cli.main(["report", str(project.config)]) == 0
        assert capsys.readouterr().out == f"{run_folder}/report.html\n"

    def test_opens_it(self, project, run_folder, monkeypatch):
        opened = []
        monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
        assert cli.main(["report", str(project.config), "--open"]) == 0
        assert opened == [(run_folder / "report.html").as_uri()]

    def test_no_browser(self, project, run_folder, monkeypatch, capsys):
        monkeypatch.setattr("webbrowser.open", lambda url: False)
        assert cli.main(["report", str(project.config), "--open"]) == 2
        assert "--open: no browser was found" in capsys.readouterr().err

    def test_another_root(self, project, run_folder, capsys):
        arguments = ["report", str(project.config), "--set", "root=elsewhere"]
        assert cli.main(arguments) == 2
        assert f"no run in {project.folder}/elsewhere/runs" in capsys.readouterr().err

    def test_does_not_need_the_data(self, project, run_folder):
        for path in (project.folder / "data").iterdir():
            path.unlink()
        assert cli.main(["report", str(project.config)]) == 0


class TestRollback:
    def test_nothing_served(self, project, capsys):
        assert cli.main(["rollback", str(project.config)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "serving holds no version, so there is nothing to roll back" in line

    def test_says_what_it_did(self, project, capsys):
        from components import digests
        from components.pusher import versions

        serving, numbers = str(project.folder / "serving"), []
        for text in ("a", "b"):
            model = project.folder / text
            model.mkdir()
            (model / "saved_model.pb").write_text(text)
            digest = digests.of_model(str(model))
            made = versions.publish(str(model), serving, digest, {"blessed": True})
            numbers.append(made.number)
        assert cli.main(["rollback", str(project.config)]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"replaced {serving}/{numbers[1]}\n")
        assert f"{digest} is not pushed again" in out
        assert out.endswith(
            f"serving  {serving}/{numbers[1] + 1}, as version {numbers[0]} was\n"
        )

    def test_imports_nothing_heavy(self, project):
        """Whoever needs it has no time to wait for TFX."""
        code = (
            "import sys; from pipeline.cli import main; "
            f"assert main(['rollback', {str(project.config)!r}]) == 2; "
            "heavy = {'numpy', 'pyarrow', 'tensorflow', 'tfx'}; "
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

    def test_a_version_is_a_number(self, project, capsys):
        assert cli.main(["rollback", str(project.config), "--to", "x"]) == 2
        assert "invalid int value: 'x'" in capsys.readouterr().err
