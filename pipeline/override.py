"""The file that lets one model pass that no check blessed.

It says who answers for it, why, which model and until when:

    who: Ada Example, head of cardiology
    why: the false alarms of the served model stop the ward; this one has fewer
    digest: 0123456789abcdef0123456789abcdef
    expires: 2026-01-31
"""

import datetime
import re
from typing import Any

from components import digests, pages
from components.pusher import release
from pipeline import plain_yaml
from pipeline.config import PipelineConfig
from pipeline.config_types import nearest, short
from pipeline.errors import ConfigError

KEYS = ("who", "why", "digest", "expires")
MOST_DAYS = 90
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def read(config: PipelineConfig) -> dict[str, str] | None:
    """Reads the override that a config names.

    Whether it has expired is not judged here but where the model is pushed.

    Args:
      config: validated.

    Returns:
      `who`, `why`, `digest` and `expires` (ISO 8601, in UTC); None where none is named.

    Raises:
      ConfigError: the file is not legible or not complete, in one sentence.
    """
    path = config.push.override
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        place = config.place("push", "override")
        raise ConfigError(
            f"{place} is {path}, which cannot be read ({reason}); correct the path, or"
            " take the key out"
        ) from error
    document = plain_yaml.parse(text, path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: holds no keys; it takes {', '.join(KEYS)}")
    return _validated(document, path)


def told(override: dict[str, str]) -> str:
    """An override in a line, for the terminal."""
    expires, lasts = override["expires"], release.in_force(override)
    when = f"until {expires}" if lasts else f"no more, as it expired at {expires}"
    who = pages.printable(" ".join(override["who"].split()))
    return f"model {override['digest']} may pass without, {when} ({who})"


def _validated(document: plain_yaml.Document, path: str) -> dict[str, str]:
    given: dict[str, Any] = document.data

    def wrong(key: str, text: str) -> ConfigError:
        line = document.lines.get((key,))
        place = path if line is None else f"{path}, line {line}"
        return ConfigError(f"{place}: {key} {text}")

    for key in given:
        if key not in KEYS:
            raise wrong(key, f"is no key of an override{nearest(key, KEYS)}")
    for key in KEYS:
        if key not in given:
            raise ConfigError(f"{path}: {key} is missing; it takes {', '.join(KEYS)}")
        value = given[key]
        if not isinstance(value, str) or not value.strip():
            raise wrong(key, f"is {short(value)}; write it as text, in quotes")
    digest = given["digest"].strip()
    if not digests.is_digest(digest):
        raise wrong(
            "digest",
            f"is {short(digest)}; give the 32 hexadecimal digits that the report and"
            " summary.json tell",
        )
    try:
        expires = _instant(given["expires"].strip())
    except ValueError as error:
        raise wrong("expires", f"is {short(given['expires'])}; {error}") from error
    return {
        "who": given["who"].strip(),
        "why": given["why"].strip(),
        "digest": digest,
        "expires": expires.isoformat(),
    }


def _instant(text: str) -> datetime.datetime:
    """The last moment, in UTC; of a date its last second there.

    Raises:
      ValueError: it is none, or too far ahead; the text is the mend.
    """
    form = "write a date such as 2026-01-31, or a time such as 2026-01-31T12:00+01:00"
    whole = f"{text}T23:59:59+00:00" if _DATE.fullmatch(text) else text
    whole = re.sub("[zZ]$", "+00:00", whole)
    try:
        found = datetime.datetime.fromisoformat(whole)
        if found.tzinfo is None:
            raise ValueError(form)
        found = found.astimezone(datetime.timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ValueError(form) from error
    now = datetime.datetime.now(datetime.timezone.utc)
    if found > now + datetime.timedelta(days=MOST_DAYS):
        raise ValueError(f"an override lasts at most {MOST_DAYS} days; shorten it")
    return found
