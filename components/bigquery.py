"""BigQuery as a source: what a query would read, told by a dry run, which is free.

A query is told by the options of its source, plain JSON:

    {"query": "SELECT ... FROM ...",   # GoogleSQL
     "project": "my-project",          # which is billed
     "temp": "gs://bucket/folder"}     # where Beam exports the rows to
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from components import bigquery_pins
from components.errors import DataError

FORMAT = "bigquery"
_SHOWN = 70
_MOST_TABLES = 50  # of more, BigQuery does not list all
_PATIENCE, _ANSWER = 30.0, 20.0  # seconds: for all tries, for one
_TABLE = re.compile(r"`?([\w:-]+(?:\.[\w-]+){1,2})`?")


@dataclasses.dataclass(frozen=True)
class Field:
    """A column of a query's result: its name, its BigQuery type, lists or not."""

    name: str
    type: str
    is_list: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a dry run tells.

    Attributes:
      fields: of the result.
      size: bytes that the query reads, and is billed for.
      digest: another one for another text, or changed tables; 32 hexadecimal digits.
      unpinned: why the digest is another one each time; None where the tables tell all.
    """

    fields: tuple[Field, ...]
    size: int
    digest: str
    unpinned: str | None


def as_query(text: str) -> str:
    """A query as it stands; one of all rows for the name of a table."""
    table = _TABLE.fullmatch(text.strip())
    if table:
        return f"SELECT * FROM `{table[1].replace(':', '.')}`"
    return text.strip().rstrip(";").rstrip()


def name_of(query: str) -> str:
    """A query as errors and the manifest name it: one line, not long."""
    line = " ".join(query.split())
    if len(line) > _SHOWN:
        digest = hashlib.blake2b(query.encode(), digest_size=4).hexdigest()
        line = f"{line[: _SHOWN - 13]}... #{digest}"
    return f"{FORMAT}: {line}"


def explain(options: dict[str, Any], where: str) -> Plan:
    """Asks BigQuery what a query would do.

    Args:
      options: of the source.
      where: begins the error.

    Raises:
      DataError: BigQuery refuses it, denies access, or cannot be reached; it is no
        SELECT. One sentence.
    """
    with _client(options, where) as client:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        job = client.query(options["query"], config, job_retry=None, **_limits())
        if job.statement_type != "SELECT":
            raise DataError(
                f"{where}: its statement is {job.statement_type}, which returns no rows"
                " to train on; write one SELECT"
            )
        tables = job.referenced_tables
        reason = _reason_against(job, options)
        changes = None if reason else _changes(client, tables)
        if isinstance(changes, str):
            reason = changes
    fields = (
        Field(f.name, f.field_type, f.mode == "REPEATED") for f in job.schema or ()
    )
    digest = uuid.uuid4().hex
    if not reason:
        pinned = json.dumps([options["query"], changes]).encode()
        digest = hashlib.blake2b(pinned, digest_size=16).hexdigest()
    return Plan(tuple(fields), job.total_bytes_processed or 0, digest, reason)


def distinct(options: dict[str, Any], column: str, where: str) -> list[Any]:
    """All values of a column of the result; billed for what that reads.

    Raises:
      DataError: as `explain`.
    """
    text = f"SELECT DISTINCT `{column}` FROM (\n{options['query']}\n)"
    with _client(options, where) as client:
        job = client.query(text, **_limits())
        return [row[0] for row in job.result()]


def _limits() -> dict[str, Any]:
    from google.cloud import bigquery

    patient = bigquery.DEFAULT_RETRY.with_timeout(_PATIENCE)
    return {"retry": patient, "timeout": _ANSWER}


def _reason_against(job: Any, options: dict[str, Any]) -> str | None:
    """As `bigquery_pins.reason_against`, with what the dry run tells besides."""
    tables = {_full_name(table) for table in job.referenced_tables}
    if job._properties["statistics"]["query"].get("referencedRoutines"):
        return "calls a function that may change"
    if not 0 < len(tables) < _MOST_TABLES:
        return f"reads from {len(tables) or 'no'} tables"
    query, project = options["query"], options["project"]
    return bigquery_pins.reason_against(query, project, tables)


def _full_name(table: Any) -> str:
    return f"{table.project}.{table.dataset_id}.{table.table_id}"


def _changes(client: Any, tables: list[Any]) -> list[list[Any]] | str:
    """The last change of each table; or why it does not tell all."""
    from google.api_core import exceptions

    found = []
    for reference in tables:
        name = _full_name(reference)
        try:
            table = client.get_table(reference, **_limits())
        except (exceptions.Forbidden, exceptions.NotFound):
            return f"reads from {name}, of which the last change cannot be asked"
        if table.table_type not in ("TABLE", "SNAPSHOT"):
            return f"reads from {name}, of type {table.table_type}"
        if table.streaming_buffer is not None:
            return f"reads from {name}, which rows are being streamed into"
        if table.time_partitioning and table.time_partitioning.expiration_ms:
            return f"reads from {name}, of which old partitions expire"
        when = [str(table.created), str(table.modified)]
        found.append([name, *when, table.num_rows, table.num_bytes])
    return sorted(found)


@contextlib.contextmanager
def _client(options: dict[str, Any], where: str) -> Iterator[Any]:
    """A client; what it raises becomes one sentence."""
    # Here, as it takes two seconds to import.
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from google.cloud import bigquery

    project = options["project"]
    try:
        with contextlib.closing(bigquery.Client(project)) as client:
            yield client
    except auth.DefaultCredentialsError as error:
        raise DataError(
            f"{where}: there are no Google credentials ({_short(error)}); run `gcloud"
            " auth application-default login`, or name a key file in"
            " GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    except (auth.RefreshError, exceptions.Unauthorized) as error:
        raise DataError(
            f"{where}: Google refuses the credentials: {_short(error)}; renew them"
        ) from error
    except exceptions.Forbidden as error:
        raise DataError(
            f"{where}: BigQuery denies access: {_short(error)}; ask for the roles"
            f" BigQuery Job User on the project {project!r}, and Data Viewer of the"
            " tables"
        ) from error
    except exceptions.ClientError as error:
        raise DataError(
            f"{where}: BigQuery refuses the query: {_short(error)}; correct it, or the"
            f" project {project!r}"
        ) from error
    except (exceptions.GoogleAPIError, auth.GoogleAuthError, OSError) as error:
        raise DataError(
            f"{where}: BigQuery cannot be reached: {_short(error)}; check the network,"
            " or try again later"
        ) from error


def _short(error: Exception) -> str:
    """BigQuery's own message where there is one."""
    error = getattr(error, "cause", None) or error  # of the last try
    errors = getattr(error, "errors", None) or [{}]
    text = errors[0].get("message") if isinstance(errors[0], dict) else None
    text = text or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")[:300]
