"""What pruning removes, with TFX's own launcher and store."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from pipeline import cli, pruning, root_lock, run_log, tfx_local
from pipeline.config_io import load_config
from pipeline.errors import ConfigError
from pipeline.runtime import Local
from tests.pipeline import toy_stages


@pytest.fixture
def config(project):
    return load_config(str(project.config))


@pytest.fixture
def root(config):
    return pathlib.Path(config.root)


@pytest.fixture
def run(config):
    """Runs the toy; returns which stages the cache answered."""

    def go(**settings):
        with run_log.begun(config.root, "runs") as (folder, _):
            graph = toy_stages.graph(Local(config), **settings)
            nodes = tfx_local.prepare(graph, os.path.basename(folder))
            return [node.name for node in nodes if node.launch()[0]]

    return go


def outputs(root, stage):
    """Contents of what a stage made and is still there, in the order of the runs."""
    found = (root / "artifacts" / stage).glob("*/*/data")
    return [p.read_text() for p in sorted(found, key=lambda p: int(p.parent.name))]


EVERY = ["Ingest", "Train", "Judge", "Push"]


def test_what_no_kept_run_needs_goes_and_the_cache_knows(run, root, config):
    for seed in (1, 2, 3):
        run(seed=seed)
    assert run(seed=1) == EVERY  # before, the cache answers
    run(seed=4)
    pruning.prune(config, keep=1)
    assert outputs(root, "Train") == ["4"]
    assert len(outputs(root, "Judge")) == 2
    assert len(outputs(root, "Ingest")) == 1  # the kept run was answered with it
    assert run(seed=1) == ["Ingest"]
    assert run(seed=4) == EVERY
    assert outputs(root, "Train") == ["4", "1"]


def test_the_last_runs_stay(run, root, config):
    for seed in (1, 2, 3):
        run(seed=seed)
    names = sorted(os.listdir(root / "runs"))
    pruning.prune(config, keep=2)
    assert sorted(os.listdir(root / "runs")) == names[1:]
    assert outputs(root, "Train") == ["2", "3"]


def test_what_a_kept_run_was_answered_with_stays(run, root, config):
    run(seed=1)
    run(seed=2)
    run(seed=1)
    pruning.prune(config, keep=1)
    assert outputs(root, "Train") == ["1"]
    assert run(seed=1) == EVERY


@pytest.mark.parametrize("how", [{"good": 1}, {"anyway": 1}])
def test_what_was_released_stays_but_for_its_examples(run, root, config, how):
    """By a blessing, or without one."""
    run(seed=1, size=10, **how)
    run(seed=2, size=20)
    run(seed=3, size=30)
    pruning.prune(config, keep=1)
    assert outputs(root, "Train") == ["1", "3"]
    assert len(outputs(root, "Judge")) == 4
    assert len(outputs(root, "Push")) == 2
    assert outputs(root, "Ingest") == ["x" * 30]


def test_a_blessed_model_stays_though_it_was_not_pushed_since(run, root, config):
    run(seed=1, good=1)
    for seed in (2, 3, 4):
        run(seed=seed)
    for _ in range(2):
        pruning.prune(config, keep=1)
    assert outputs(root, "Train") == ["1", "4"]


def test_a_dry_run_says_the_same_and_removes_nothing(run, root, config):
    for seed in (1, 2):
        run(seed=seed, size=3_000_000 * seed)
    before = sorted(root.rglob("*"))
    dry = pruning.prune(config, 1, dry_run=True)
    assert sorted(set(root.rglob("*")) - {root / ".lock"}) == sorted(
        set(before) - {root / ".lock"}
    )
    assert run(seed=1, size=3_000_000) == EVERY
    run(seed=2, size=6_000_000)
    wet = pruning.prune(config, 1)
    (line,) = [x for x in wet if x.startswith("  Ingest ")]
    assert line in dry
    assert line.split() == ["Ingest", "1", "3.0", "MB"]
    assert dry[-1].startswith("would be removed  3.0 MB in ")
    assert wet[-1].startswith("removed  3.0 MB in ")
    assert wet[-1].endswith("the last 1 run stays")


def test_one_that_died_after_its_marks_is_taken_up(run, root, config, monkeypatch):
    for seed in (1, 2):
        run(seed=seed)
    with monkeypatch.context() as patch:
        patch.setattr(pruning.shutil, "rmtree", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pruning.prune(config, 1)
    assert outputs(root, "Train") == ["1", "2"]
    pruning.prune(config, 1)
    assert outputs(root, "Train") == ["2"]


def test_nothing_outside_of_the_root_goes(run, root, config, tmp_path):
    """Not by a link, nor where the store says so, nor what is served from within."""
    run(seed=1)
    model = next((root / "artifacts" / "Train").glob("model/*"))
    away = tmp_path / "away"
    model.rename(away)
    model.symlink_to(away)
    (tmp_path / "old").mkdir()
    (root / "runs" / "20000101-000000-000000").symlink_to(tmp_path / "old")
    served = next((root / "artifacts" / "Judge").glob("evaluation/*"))
    (served / "7").mkdir()
    run(seed=2)
    within = config.model_copy(
        update={"push": config.push.model_copy(update={"path": str(served / "7")})}
    )
    pruning.prune(within, 1)
    assert (away / "data").read_text() == "1"
    assert (tmp_path / "old").is_dir()
    assert (served / "7").is_dir()
    assert outputs(root, "Push") == ["0"]


def test_checkpoints_of_trainings_that_no_kept_run_may_go_on_with(run, root, config):
    run(seed=1)
    for name in ("old", "new"):
        (root / "checkpoints" / name).mkdir(parents=True)
        (root / "checkpoints" / name / "ckpt").write_text("x")
    past = time.time() - 86400
    os.utime(root / "checkpoints" / "old", (past, past))
    run(seed=2)
    pruning.prune(config, 2)
    assert os.listdir(root / "checkpoints") == ["new"]


def test_other_kinds_are_counted_apart(run, root, config):
    run(seed=1)
    for kind in ("comparisons", "inspections", "tunings"):
        for i in range(3):
            (root / kind / f"2020010{i + 1}-000000-000000").mkdir(parents=True)
    pruning.prune(config, 2)
    for kind in ("comparisons", "inspections", "tunings"):
        assert sorted(os.listdir(root / kind)) == [
            *("20200102-000000-000000", "20200103-000000-000000")
        ]


class TestLock:
    def test_while_a_run_goes_on_nothing_is_pruned(self, run, root, config):
        run(seed=1)
        code = (
            "import sys, time; from pipeline import run_log\n"
            f"with run_log.begun({str(root)!r}, 'runs') as (_, say):\n"
            "    say('begun'); time.sleep(60)"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        )
        try:
            assert other.stdout.readline() == "begun\n"
            with pytest.raises(ConfigError, match="is at work: a run, .* has ended"):
                pruning.prune(config, 1)
        finally:
            other.kill()
            other.wait()
            other.stdout.close()
        pruning.prune(config, 1)  # the lock went with the process

    def test_two_runs_share_it_and_one_prunes_alone(self, tmp_path):
        def refuses():
            with pytest.raises(ConfigError), root_lock.alone(tmp_path):
                pass

        with root_lock.shared(tmp_path), root_lock.shared(tmp_path):
            refuses()
        with root_lock.alone(tmp_path):
            refuses()


class TestCommand:
    def test_no_run(self, project, capsys):
        assert cli.main(["prune", str(project.config)]) == 2
        assert "tfx-irm: no run in " in capsys.readouterr().err
        assert not (project.folder / "runs-root").exists()

    @pytest.mark.parametrize("keep", ["0", "-1"])
    def test_at_least_the_last_stays(self, project, keep, capsys):
        assert cli.main(["prune", str(project.config), "--keep", keep]) == 2
        assert f"--keep is {keep}; at least the last run stays" in (
            capsys.readouterr().err
        )

    def test_runs_that_never_reached_the_store(self, project, root, capsys):
        for name in ("20200101-000000-000000", "20200102-000000-000000"):
            (root / "runs" / name).mkdir(parents=True)
        assert cli.main(["prune", str(project.config), "--keep", "1"]) == 0
        assert os.listdir(root / "runs") == ["20200102-000000-000000"]
        assert "the last 1 run stays" in capsys.readouterr().out


def test_models_on_a_store_are_no_folders_here(run, root, project, monkeypatch):
    """Where a URL was taken for a path it would protect, or not, what lies here."""
    monkeypatch.chdir(root.parent)
    config = load_config(str(project.config), sets=["push.path=gs://bucket/serving"])
    for seed in (1, 2):
        run(seed=seed)
    pruning.prune(config, keep=1)
    assert outputs(root, "Train") == ["2"]
