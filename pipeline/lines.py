"""Lines for the terminal, or for whatever collects them: text, or JSON objects.

As JSON every line has `time` (UTC), `level` and `message`, and what is known beside it:
`stage`, `seconds`, `outcome`; `check`, `verdict`; `exit`.
"""

import datetime
import json
import sys
from typing import Any

FORMATS = ("text", "json")
_chosen = FORMATS[0]


def choose(form: str) -> None:
    """Sets the form of all lines from now on, one of `FORMATS`."""
    global _chosen
    if form not in FORMATS:
        raise ValueError(f"a line is {' or '.join(FORMATS)}, not {form!r}")
    _chosen = form


def is_json() -> bool:
    """Whether lines are JSON objects."""
    return _chosen == "json"


def shaped(text: str, end: str = "\n", level: str = "info", **fields: Any) -> str:
    """A line as it is written: the text, or an object; an empty text makes none."""
    if not is_json():
        return text + end
    message = " ".join(text.split())
    if not message:
        return ""
    time = datetime.datetime.now(datetime.timezone.utc).isoformat("T", "milliseconds")
    return (
        json.dumps({"time": time, "level": level, "message": message, **fields}) + "\n"
    )


def tell(text: str) -> None:
    """Writes a line to standard output."""
    sys.stdout.write(shaped(text))


def tell_error(text: str, status: int) -> None:
    """Writes why a command fails to standard error."""
    shown = text if is_json() else f"tfx-irm: {text}"
    sys.stderr.write(shaped(shown, level="error", exit=status))
