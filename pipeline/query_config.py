"""The config's queries: what BigQuery is asked, and who pays for it."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from components import bigquery
from pipeline.config_types import problem, short

BESIDE = ("project", "temp")  # what a query needs beside it, and nothing else has


def _query(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; write a query, or the name of a table")
    return bigquery.as_query(value)


def _project(value: str) -> str:
    if not re.fullmatch(r"[a-z][\w.:-]*", value):
        raise ValueError(
            f"is {short(value)}; write the id of the Google Cloud project that is"
            " billed, such as my-project"
        )
    return value


def _bucket(value: str) -> str:
    if not re.fullmatch(r"gs://[^/\s]+(/\S*)?", value):
        raise ValueError(
            f"is {short(value)}; BigQuery hands rows over in Cloud Storage alone, so"
            " write gs://bucket/folder"
        )
    return value.rstrip("/")


Query = Annotated[str, AfterValidator(_query)]
Project = Annotated[str, AfterValidator(_project)]
Bucket = Annotated[str, AfterValidator(_bucket)]

_NEEDED = {
    "project": "`project`, which is billed for the query",
    "temp": "`temp`, where its rows pass through: gs://bucket/folder",
}


def check_beside(name: str, values: Mapping[str, str | None]) -> None:
    """Refuses a query without a key of `BESIDE`, and files with one.

    Args:
      name: of the format.
      values: of these keys, None where not given.

    Raises:
      PydanticCustomError: as said.
    """
    for key, value in values.items():
        if name == bigquery.FORMAT and value is None:
            raise problem([name], f"has no {key} beside it; add {_NEEDED[key]}")
        if name != bigquery.FORMAT and value is not None:
            raise problem(
                [key], f"says how BigQuery is asked, and this is {name}; remove it"
            )
