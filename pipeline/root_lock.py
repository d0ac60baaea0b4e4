"""Who works under a root: any number that run, or one that prunes.

The lock is the kernel's, on `<root>/.lock`, and ends with the process that holds it.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from pipeline.errors import ConfigError

_FILE = ".lock"


@contextlib.contextmanager
def shared(root: str) -> Iterator[None]:
    """Keeps whoever prunes away; waits until he has ended.

    Args:
      root: the config's, which exists.
    """
    with open(os.path.join(root, _FILE), "a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def alone(root: str) -> Iterator[None]:
    """Keeps all others away.

    Args:
      root: the config's, which exists.

    Raises:
      ConfigError: somebody works there.
    """
    with open(os.path.join(root, _FILE), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{root} is at work: a run, a comparison or a search goes on there;"
                " prune when it has ended"
            ) from error
        yield
