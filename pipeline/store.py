"""The metadata store: how it is reached, and what is done while it is not.

The only module that sees the password. It goes into the connection, which is neither
logged nor stored, and nowhere else.
"""

import os
import socket
import time
import urllib.parse
from typing import Any

from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError

PATIENCE = 60.0  # seconds
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
_RETRIES = 30  # of a transaction that another run's got in the way of


def connection(config: PipelineConfig) -> Any:
    """A `metadata_store_pb2.ConnectionConfig`: SQLite under root, or a server.

    Raises:
      ConfigError: the password is not where the config says.
    """
    from ml_metadata.proto import metadata_store_pb2

    made = metadata_store_pb2.ConnectionConfig()
    made.retry_options.max_num_retries = _RETRIES
    given = config.metadata
    if given is None:
        os.makedirs(config.root, exist_ok=True)
        made.sqlite.filename_uri = os.path.join(config.root, "metadata.sqlite")
        made.sqlite.connection_mode = (
            metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        )
        return made
    host, port = given.address
    database = urllib.parse.unquote(given.parts.path.removeprefix("/"))
    tls = given.tls.model_dump(exclude_none=True) if given.tls else {}
    server: Any
    if given.parts.scheme == "mysql":
        server = made.mysql
        server.port, server.database = port, database
        for key, path in tls.items():
            setattr(server.ssl_options, key, path)
    else:
        server = made.postgresql
        server.port, server.dbname = str(port), database
        names = {"ca": "sslrootcert", "cert": "sslcert", "key": "sslkey"}
        for key, path in tls.items():
            setattr(server.ssloption, names[key], path)
        if tls:
            server.ssloption.sslmode = "verify-full"
    server.host, server.user = host, urllib.parse.unquote(given.parts.username or "")
    # Whoever may not create databases could not connect to one otherwise.
    server.skip_db_creation = True
    if given.password is not None:
        try:
            server.password = given.password.read()
        except ValueError as error:
            place = config.place("metadata", "password")
            raise ConfigError(f"{place}{error}") from error
    return made


def check(config: PipelineConfig) -> None:
    """Refuses a server that does not take us, before anything runs.

    Raises:
      ConfigError: the password is not there, nobody answers at the address, or the
        server refuses user, password or database.
    """
    if config.metadata is None:
        return
    made = connection(config)
    place = config.place("metadata", "url")
    host, port = config.metadata.address
    if not _answers(host, port):
        raise ConfigError(
            f"{place} names {host}:{port}, where nobody answers; start the server, or"
            " correct the address"
        )
    from ml_metadata import errors, metadata_store

    try:
        metadata_store.MetadataStore(made).get_artifact_types()
    except (errors.StatusError, RuntimeError) as error:
        raise ConfigError(
            f"{place} is {config.metadata.url}, and the server refuses it; check user,"
            " password and database, which must exist, and that the user may create"
            " tables in it"
        ) from error


def patient(made: Any) -> Any:
    """A `tfx.orchestration.metadata.Metadata` that waits for a server to come back.

    Each use opens a connection of its own, so whoever stops the server between two uses
    costs time alone. It waits up to `PATIENCE` seconds, longer from try to try.

    Args:
      made: of `connection`.
    """
    from tfx.orchestration import metadata

    class Patient(metadata.Metadata):
        """Tries again."""

        def __enter__(self) -> Any:
            if self._users:
                return super().__enter__()
            deadline, wait = time.monotonic() + PATIENCE, _FIRST_WAIT
            while True:
                try:
                    return super().__enter__()
                except RuntimeError as error:
                    if time.monotonic() + wait > deadline:
                        raise RuntimeError(_gone(made)) from error
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    return Patient(made)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 10).close()
    except OSError:
        return False
    return True


def _gone(made: Any) -> str:
    kind = made.WhichOneof("config")
    server = getattr(made, kind)
    if kind == "sqlite":
        return f"the metadata in {server.filename_uri} cannot be opened"
    return (
        f"the metadata store at {server.host}:{server.port} has not come back for"
        f" {PATIENCE:.0f} s; the same command goes on after the last finished stage"
    )
