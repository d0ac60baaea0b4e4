"""Metadata on real servers: PostgreSQL and MariaDB, and SQLite beside them."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

import pytest
from ml_metadata import metadata_store

from pipeline import store
from pipeline.config_io import load_config
from pipeline.errors import ConfigError
from tests.databases import servers
from tests.databases.one_run import launch

ROOT = pathlib.Path(__file__).parents[2]

VARIABLE = "TFX_IRM_TEST_STORE"
KINDS = {
    "postgresql": (servers.postgresql, servers.postgres_bin),
    "mysql": (servers.mysql, servers.mariadb),
}
CONFIG = """
name: toy
data: {label: y, environments: {A: {csv: a.csv}, B: {csv: b.csv}}}
checks: {worst: {auc: {min: 0.5}}}
"""


@pytest.fixture(scope="module", params=list(KINDS))
def server(request):
    """A running server of each kind."""
    start, find = KINDS[request.param]
    if find() is None:
        pytest.skip(f"no {request.param} server is installed")
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix=f"{request.param}-") as folder:
        os.chmod(folder, 0o755)
        with start(pathlib.Path(folder)) as found:
            yield found


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Makes a config of a store; with its password in the environment."""
    monkeypatch.setenv(VARIABLE, servers.PASSWORD)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)

    def made(server=None, *sets, folder=tmp_path):
        chosen = [f"root={folder / 'root'}"]
        if server is not None:
            password = f"password: {{env: {VARIABLE}}}"
            chosen.append(f"metadata={{url: '{server.url}', {password}}}")
        return load_config(str(path), sets=[*chosen, *sets])

    return made


def nothing_holds(folder, secret):
    """That no file below a folder holds a text."""
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                assert secret.encode() not in file.read(), os.path.join(at, name)


@pytest.mark.db
class TestServers:
    def test_a_second_run_is_answered_from_the_cache(self, server, config, tmp_path):
        given = config(server)
        first = launch(given, tmp_path / "1", seed=1)
        second = launch(given, tmp_path / "2", seed=1)
        assert not first.errors and not second.errors
        assert [s.cached for s in second.stages[1:]] == [True] * 4
        assert not os.path.exists(tmp_path / "root" / "metadata.sqlite")
        nothing_holds(tmp_path, servers.PASSWORD)

    def test_two_runs_at_once_both_finish(self, server, config, tmp_path):
        both(config(server), tmp_path)

    def test_comes_back_after_a_crash(self, server, config, tmp_path):
        given = config(server)
        server.stop()
        back = threading.Timer(8, server.start)
        back.start()
        try:
            made = launch(given, tmp_path / "run", seed=7)
        finally:
            back.join()
        assert not made.errors
        assert len(made.stages) == 5
        assert sum(stage.seconds for stage in made.stages) > 5

    def test_says_so_where_it_does_not(self, server, config, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "PATIENCE", 2.0)
        given = config(server)
        server.stop()
        try:
            made = launch(given, tmp_path / "run", seed=8)
        finally:
            server.start()
        sentence = made.errors[""]["sentence"]
        assert f"127.0.0.1:{server.port} has not come back for 2 s" in sentence
        assert servers.PASSWORD not in json.dumps(made.errors)

    def test_check_takes_it(self, server, config):
        store.check(config(server))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("metadata.password={env: NOBODY_SET_THIS}", "which is not set; export it"),
            ("metadata.password={file: nowhere}", "cannot be read"),
            ("metadata.password={env: HOME}", "the server refuses it; check user"),
            ("metadata.password=", "the server refuses it; check user"),
        ],
    )
    def test_check_refuses(self, server, config, change, said):
        with pytest.raises(ConfigError, match=said) as caught:
            store.check(config(server, change))
        assert "config.yaml" in str(caught.value)
        assert servers.PASSWORD not in str(caught.value)

    def test_check_of_a_database_that_is_not_there(self, server, config):
        url = server.url.replace(servers.DATABASE, "nowhere")
        with pytest.raises(ConfigError, match="database, which must exist"):
            store.check(config(server, f"metadata.url={url}"))

    def test_the_password_may_lie_in_a_file(self, server, config, tmp_path):
        path = tmp_path / "outside" / "secret"
        path.parent.mkdir()
        path.write_text(f"{servers.PASSWORD}\n")
        store.check(config(server, f"metadata.password={{file: {path}}}"))


def test_check_where_nobody_answers(config):
    url = f"postgresql://me@127.0.0.1:{servers.free_port()}/mlmd"
    with pytest.raises(ConfigError, match="where nobody answers; start the server"):
        store.check(config(None, f"metadata={url}"))


def test_two_runs_at_once_on_sqlite(config, tmp_path):
    both(config(), tmp_path)


def both(config, folder):
    """Two processes on one store: both finish, and neither is lost."""
    sets = [f"root={config.root}"]
    if config.metadata is not None:
        sets.append(f"metadata={config.metadata.model_dump_json(exclude_none=True)}")
    module = [sys.executable, "-m", "tests.databases.one_run", config.file]
    runs = [
        subprocess.Popen([*module, str(folder / str(i)), str(100 + i), *sets], cwd=ROOT)
        for i in range(2)
    ]
    assert [run.wait(300) for run in runs] == [0, 0]
    found = metadata_store.MetadataStore(store.connection(config))
    made = found.get_contexts_by_type("pipeline_run")
    for i in range(2):
        (run,) = [c for c in made if c.name == str(i)]
        assert len(found.get_executions_by_context(run.id)) == 4


def test_only_the_connection_knows_the_password(config):
    password = f"password: {{env: {VARIABLE}}}"
    given = config(None, f"metadata={{url: 'mysql://me@h/d', {password}}}")
    assert servers.PASSWORD not in given.model_dump_json()
    made = store.connection(given)
    assert made.mysql.password == servers.PASSWORD
    assert (made.mysql.host, made.mysql.port, made.mysql.user) == ("h", 3306, "me")
