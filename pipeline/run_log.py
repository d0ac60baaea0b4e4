"""The terminal of a run: one line a stage; everything else goes to the log."""

import contextlib
import dataclasses
import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from pipeline import lines, root_lock
from pipeline.errors import ConfigError


@contextlib.contextmanager
def captured(path: str) -> Iterator[Callable[..., None]]:
    """Sends file descriptors 1 and 2 to a log; yields a `say` for the terminal.

    Descriptors, not `sys.stdout`: TensorFlow's C++ and Beam's workers write there.

    Args:
      path: of the log, appended to.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    terminal_fd, errors_fd = os.dup(1), os.dup(2)
    with (
        open(path, "a", encoding="utf-8") as log,
        os.fdopen(os.dup(terminal_fd), "w", encoding="utf-8") as terminal,
    ):
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)

        def say(text: str, end: str = "\n", **fields: Any) -> None:
            terminal.write(lines.shaped(text, end, **fields))
            log.write(text + end)
            for stream in (terminal, log):
                stream.flush()

        live = terminal.isatty() and not lines.is_json()
        say.is_terminal = live  # type: ignore[attr-defined]
        try:
            with _told(log):
                yield say
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(terminal_fd, 1)
            os.dup2(errors_fd, 2)
            os.close(terminal_fd)
            os.close(errors_fd)


@contextlib.contextmanager
def begun(
    root: str, kind: str, unit: str | None = "stage"
) -> Iterator[tuple[str, Callable[..., None]]]:
    """Makes the folder of what begins, and captures its log.

    Whoever interrupts it is told how to go on.

    Args:
      root: the config's.
      kind: folder below it: `runs`, `comparisons`, ...
      unit: what is kept of an interrupted one up to the last that finished; None where
        whoever begins it tells how to go on.

    Yields:
      `<root>/<kind>/<time>`, of which the name is the id, and a `say` as `captured`.

    Raises:
      ConfigError: the folder cannot be made.
    """
    name = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = os.path.join(root, kind, name)
    with contextlib.ExitStack() as stack:
        try:
            os.makedirs(root, exist_ok=True)
            stack.enter_context(root_lock.shared(root))
            os.makedirs(folder)
            say = stack.enter_context(captured(os.path.join(folder, "log.txt")))
        except OSError as error:
            raise ConfigError(
                f"root is {root}, and {error.filename} cannot be written"
                f" ({error.strerror}); make room, change its permissions, or name"
                " another folder"
            ) from error
        try:
            yield folder, say
        except KeyboardInterrupt:
            if unit is not None:
                mend = f"the same command goes on after the last finished {unit}"
                say(f"\ninterrupted; {mend}")
            raise


@contextlib.contextmanager
def _told(log: TextIO) -> Iterator[None]:
    """What the trainer has to tell goes to the log: devices, checkpoints, progress."""
    logger, handler = logging.getLogger("trainer_module"), logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


@dataclasses.dataclass(frozen=True)
class Stage:
    """What became of one node: its seconds, and whether the cache answered."""

    name: str
    seconds: float
    cached: bool


class Note:
    """What a stage says of itself while it runs."""

    cached = False


@contextlib.contextmanager
def stage(
    name: str,
    stages: list[Stage],
    say: Callable[..., None],
    shown: str | None = None,
    width: int = 24,
) -> Iterator[Note]:
    """Times a stage and prints its line; a failed stage is listed as well.

    Args:
      name: of the node.
      stages: to which it is added.
      say: of `captured`.
      shown: what the terminal calls it; default: the name.
      width: of that, in characters.
    """
    text = _shown(shown or name, width)
    note, began = Note(), time.monotonic()
    live = getattr(say, "is_terminal", False)
    if live:
        say(text, end="")
    outcome = "failed"
    try:
        yield note
        outcome = "reused" if note.cached else ""
    finally:
        ended = Stage(name, round(time.monotonic() - began, 3), note.cached)
        stages.append(ended)
        tell_stage(ended, say, outcome, "" if live else text)


def tell_stage(
    stage: Stage,
    say: Callable[..., None],
    outcome: str = "",
    shown: str | None = None,
) -> None:
    """Prints the line of a stage that has ended.

    Args:
      stage: it.
      say: of `captured`.
      outcome: `reused`, `failed`, or empty.
      shown: what the line begins with; default: the name.
    """
    begins = _shown(stage.name) if shown is None else shown
    say(
        f"{begins}{stage.seconds:8.1f} s  {outcome}".rstrip(),
        stage=stage.name,
        seconds=stage.seconds,
        outcome=outcome or "done",
    )


def _shown(name: str, width: int = 24) -> str:
    return f"  {name:<{width}}"
