"""The config's section `metadata`: a database server in the place of SQLite."""

import urllib.parse
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.config_types import LocalPath, Section, short
from pipeline.secret_config import Secret

PORTS = {"mysql": 3306, "postgresql": 5432}


def _url(text: str) -> str:
    form = "write postgresql://USER@HOST/DATABASE, or mysql:// and so on"
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"is no URL ({error}); {form}") from error
    if parts.password is not None:
        raise ValueError(  # without what it is
            "holds a password, and a config is no place for one; take it out, and name"
            " the variable or the file that holds it: metadata.password"
        )
    if parts.scheme not in PORTS:
        raise ValueError(
            f"is {short(text)}; {form} (leave metadata out for SQLite under root)"
        )
    database = parts.path.removeprefix("/")
    if not parts.hostname or not parts.username or not database or "/" in database:
        raise ValueError(f"is {short(text)}; {form}")
    if parts.query or parts.fragment:
        raise ValueError(f"is {short(text)}; take what follows the database out")
    return text


def _as_section(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


class Tls(Section):
    """Files of an encrypted connection to the server."""

    ca: LocalPath | None = None
    cert: LocalPath | None = None
    key: LocalPath | None = None


class Metadata(Section):
    """A PostgreSQL or MySQL server that keeps the metadata; its database exists."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        examples=["postgresql://irm@db.example.com/mlmd"]
    )
    password: Secret | None = None
    tls: Tls | None = None

    @property
    def parts(self) -> urllib.parse.SplitResult:
        """Of the URL."""
        return urllib.parse.urlsplit(self.url)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host = self.parts.hostname
        assert host is not None
        return host, self.parts.port or PORTS[self.parts.scheme]


MetadataOrUrl = Annotated[
    Metadata,
    BeforeValidator(_as_section, json_schema_input_type=str | Metadata),
]
