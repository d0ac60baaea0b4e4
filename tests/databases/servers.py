"""Database servers of Debian's packages, started in a folder and stopped after."""

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

PASSWORD = "s3cret-of-the-store"
DATABASE = "mlmd"
USER = "irm"


def postgres_bin() -> str | None:
    """The folder of the newest PostgreSQL's programs; None where there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


def mariadb() -> str | None:
    """The program of MariaDB's server; None where there is none."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def postgresql(folder: pathlib.Path) -> Iterator["Server"]:
    """A PostgreSQL with a database and a user, on a port of its own."""
    programs = postgres_bin()
    assert programs is not None
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    data, port = folder / "data", free_port()
    _hand_over(folder, "postgres")
    _run(
        "postgres",
        *(f"{programs}/initdb", "-D", data, "-U", USER, f"--pwfile={secret}"),
        *("--auth=scram-sha-256", "--no-sync"),
    )
    command = [f"{programs}/postgres", "-D", str(data), "-p", str(port), "-F"]
    command += ["-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
    server = Server("postgresql", port, folder, _as("postgres", command))
    with server:
        _run(
            "postgres",
            *(f"{programs}/createdb", "-h", "127.0.0.1", "-p", port, "-U", USER),
            DATABASE,
            env={"PGPASSWORD": PASSWORD},
        )
        yield server


@contextlib.contextmanager
def mysql(folder: pathlib.Path) -> Iterator["Server"]:
    """A MariaDB with a database and a user, on a port of its own."""
    program = mariadb()
    assert program is not None
    data, port = folder / "data", free_port()
    _hand_over(folder, "mysql")
    _run(
        "mysql",
        *("mariadb-install-db", "--no-defaults", f"--datadir={data}"),
        *("--auth-root-authentication-method=normal", "--skip-test-db"),
    )
    init = folder / "init.sql"
    init.write_text(
        f"CREATE DATABASE {DATABASE};\n"
        f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON {DATABASE}.* TO '{USER}'@'%';\n"
    )
    _hand_over(folder, "mysql")
    command = [program, "--no-defaults", f"--datadir={data}", f"--port={port}"]
    command += [f"--socket={folder / 'socket'}", "--bind-address=127.0.0.1"]
    server = Server("mysql", port, folder, _as("mysql", command))
    server.first = [f"--init-file={init}"]
    with server:
        yield server


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, scheme: str, port: int, folder: pathlib.Path, command: list):
        self.scheme, self.port, self.folder = scheme, port, folder
        self.command, self.first = command, []
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Without the password."""
        return f"{self.scheme}://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *self.first], stdout=log, stderr=log
            )
        self.first = []
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.5)
                return
            assert self.process.poll() is None, (self.folder / "log.txt").read_text()
            time.sleep(0.1)
        raise AssertionError((self.folder / "log.txt").read_text())

    def stop(self) -> None:
        """Stops it as a crash does."""
        if self.process is not None:
            subprocess.run(["pkill", "-9", "-P", str(self.process.pid)], check=False)
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _as(user: str, command: list) -> list[str]:
    """The command as a user, since no database server runs as root."""
    words = list(map(str, command))
    return ["runuser", "-u", user, "--", *words] if os.geteuid() == 0 else words


def _run(user: str, *command: object, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        _as(user, list(command)),
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _hand_over(folder: pathlib.Path, user: str) -> None:
    """Gives a folder to a user, and lets him reach it."""
    if os.geteuid() != 0:
        return
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, user)
