"""Where a secret lies; a config never holds one."""

import os
import re
from typing import ClassVar

from pydantic import field_validator, model_validator

from pipeline.config_types import LocalPath, Section, problem

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Secret(Section):
    """Where a secret lies: in a variable of the environment, or in a file."""

    env: str | None = None
    file: LocalPath | None = None

    _what: ClassVar[str] = "secret"  # as errors call it

    @field_validator("env")
    @classmethod
    def _is_variable(cls, text: str | None) -> str | None:
        if text is not None and not _VARIABLE.fullmatch(text):
            raise ValueError(  # without what it is, which may be the secret
                "is no name of a variable; give that of the one that holds the"
                f" {cls._what}, not the {cls._what}"
            )
        return text

    @model_validator(mode="after")
    def _one_place(self) -> "Secret":
        if (self.env is None) == (self.file is None):
            raise problem(
                [], f"names where a {self._what} lies: give env or file, not both"
            )
        return self

    def read(self) -> str:
        """The secret.

        Raises:
          ValueError: there is none; the text goes on after the key.
        """
        if self.env is not None:
            found = os.environ.get(self.env, "")
            if not found:
                raise ValueError(f".env is {self.env}, which is not set; export it")
            return found
        assert self.file is not None
        try:
            with open(self.file, encoding="utf-8") as file:
                found = file.read().rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ValueError(
                f".file is {self.file}, which cannot be read ({reason}); correct the"
                " path or its permissions"
            ) from error
        if not found:
            raise ValueError(f".file is {self.file}, which is empty; write it there")
        return found
