"""What all of our HTML pages share: every text escaped, and fit for XML."""

import re
from typing import Any

import jinja2

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """Text without characters that neither XML nor UTF-8 can hold."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def environment(folder: str) -> jinja2.Environment:
    """Jinja's, for the templates in a folder; a name that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: Any) -> Any:
    return printable(value) if type(value) is str else value
