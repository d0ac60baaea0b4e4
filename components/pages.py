"""What all of our HTML pages share: every text escaped, and fit for XML.

One script, `tables.js`, sorts and filters tables. Pages name it by its digest in their
Content-Security-Policy, so a browser runs nothing else.
"""

import base64
import hashlib
import math
import os
import re
from typing import Any

import jinja2
import markupsafe

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]"
)

_BREAKS = re.compile(r"(?<=[=,_/])(?=\w)|(?<=\.)(?=[^\W\d])")  # in no number
_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tables.js")
with open(_SCRIPT, encoding="utf-8") as _file:
    TABLES_SCRIPT = _file.read()


def printable(text: str) -> str:
    """Text without characters that neither XML nor UTF-8 can hold."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def environment(folder: str) -> jinja2.Environment:
    """Jinja's, for the templates in a folder; a name that is not given is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters["breakable"] = breakable
    made.globals["tables_script"] = markupsafe.Markup(TABLES_SCRIPT)
    made.globals["script_digest"] = markupsafe.Markup(script_digest())
    return made


def breakable(text: str) -> markupsafe.Markup:
    """Escaped text with a place to break after each of `= , . _ /` within a word."""
    parts = _BREAKS.split(printable(text))
    return markupsafe.Markup("<wbr />").join(parts)


def script_digest() -> str:
    """What a Content-Security-Policy names the tables' script by."""
    digest = hashlib.sha256(TABLES_SCRIPT.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def shade(share: float, warm: bool = False) -> str:
    """A background from white to blue (or orange); dark text stays readable on it.

    Args:
      share: 0 is white, 1 the full colour; beyond is the same as the nearer end.
      warm: orange instead of blue.

    Returns:
      `#rrggbb`.
    """
    share = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)
    red, green, blue = (245, 163, 92) if warm else (122, 170, 224)
    mixed = [round(255 - (255 - c) * share) for c in (red, green, blue)]
    return f"#{mixed[0]:02x}{mixed[1]:02x}{mixed[2]:02x}"


def _finalize(value: Any) -> Any:
    return printable(value) if type(value) is str else value
