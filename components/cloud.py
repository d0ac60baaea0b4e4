"""Vertex AI's services: their errors as sentences, and how a wait for one ends."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from components.errors import DataError

_MOST = 400  # characters of an error that was not written for the user


class CloudError(Exception):
    """A service, or a machine of it, did not do what it was asked (exit 1).

    `str(error)` is one sentence: what was asked, what was answered, and the mend.
    """

    exit_code = 1


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns errors of Google's clients into sentences.

    Args:
      what: was asked for, and of what: "the endpoint flights in europe-west4".

    Raises:
      DataError: whoever asks may not, or asks for what there is not.
      CloudError: the service did not answer, or has no room.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    wrong = (
        exceptions.BadRequest,
        exceptions.Unauthorized,
        exceptions.Forbidden,
        exceptions.NotFound,
    )
    try:
        yield
    except GoogleAuthError as error:
        raise DataError(
            f"{what}: there are no credentials ({reason(error)}); run where a service"
            " account is attached, or gcloud auth application-default login"
        ) from error
    except wrong as error:
        raise DataError(
            f"{what}: Vertex AI refused it ({_named(error)}); correct the section"
            " vertex, or what its service account may do"
        ) from error
    except (exceptions.GoogleAPIError, ConnectionError) as error:
        raise CloudError(
            f"{what}: Vertex AI did not do it ({_named(error)}); run again, which goes"
            " on where this ended"
        ) from error


def reason(error: Any) -> str:
    """What an error says, in a line."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")[:_MOST]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """SIGTERM raises SystemExit within, so that what was begun can be ended.

    It is how an orchestrator stops a container. In a thread nothing changes.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
