"""What `tfx-irm submit` asks of a service that runs compiled pipelines.

`vertex_service` and `kubeflow_service` answer; `submitting` asks, and knows neither.
"""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, TypeVar

Outcome = Literal["running", "succeeded", "failed", "cancelled"]
T = TypeVar("T")
_SHOWN = 300  # characters of what a service says


class Refused(Exception):
    """The service says no, and would say it again.

    `str(error)` is one sentence: what was asked, what it said, and the mend.

    Attributes:
      exit_code: 2 where the config or the arguments are wrong, 1 else.
    """

    def __init__(self, sentence: str, exit_code: int = 1):
        super().__init__(sentence)
        self.exit_code = exit_code


class Silent(Exception):
    """The service did not answer, or not as itself; it may be asked again."""


@dataclasses.dataclass(frozen=True)
class Order:
    """A job to be run.

    Attributes:
      job: of `kubeflow_v2_runner.compile_job`; nothing of it is secret.
      name: of the pipeline.
      run_id: of this run.
      root: folder that all artifacts of the run lie under.
      values: of the job's parameters.
    """

    job: Mapping[str, Any]
    name: str
    run_id: str
    root: str
    values: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Task:
    """How far a stage came.

    Attributes:
      name: of the task in the spec.
      outcome: None where it has not ended.
      seconds: that it took.
      cached: whether the cache answered.
      ended: seconds since the epoch, to sort by; 0 where the service tells none.
      error: what the service says of a failure; one line, or empty.
      record: where an output `record` lies, as far as the service tells.
    """

    name: str
    outcome: Literal["succeeded", "failed"] | None
    seconds: float = 0.0
    cached: bool = False
    ended: float = 0.0
    error: str = ""
    record: str = ""


@dataclasses.dataclass(frozen=True)
class State:
    """How far a job came; `error` is what the service says, one line, or empty."""

    outcome: Outcome
    tasks: tuple[Task, ...] = ()
    error: str = ""


class Service(Protocol):
    """Runs jobs. Every method but `address` may raise Refused or Silent."""

    name: str  # of its section in the config
    title: str  # as sentences name it

    def connect(self) -> None:
        """Finds credentials, and the service where that is cheap; before all else."""

    def send(self, order: Order) -> str:
        """Starts a job; returns the name that the service knows it by."""

    def state(self, job: str) -> State:
        """How far a job came."""

    def address(self, job: str) -> str:
        """Of the page that shows a job."""


def one_line(text: str, *secrets: str) -> str:
    """What a service says, without line breaks and without what is secret."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "...")
    said = " ".join(text.split()).rstrip(".")
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."


def within(seconds: float, call: Callable[[], T], title: str) -> T:
    """Calls what may never come back, and waits so long.

    For clients that take no timeout. The thread is left to itself when it is late.

    Raises:
      Silent: it has not come back.
    """
    found: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise Silent(f"{title} has not answered for {seconds:.0f} s")
    return found[0]
