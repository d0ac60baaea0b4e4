"""Follows a job that was sent away, and fetches what it left.

Two layouts are known. Vertex AI: `<root>/<project>/<job>/RunRecord_<id>/record`;
Kubeflow Pipelines: `<root>/<pipeline>/<run>/RunRecord/record`, in newer versions with
a folder more before `record`. A stage that fails leaves `error.json` two folders above
its outputs.
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Collection
from typing import Any

from components import filesystem
from components.environment_validator.page import PAGE_FILE
from components.errors import ERROR_FILE
from pipeline import run_log
from pipeline.runs import REPORT, SUMMARY
from pipeline.services import Refused, Service, Silent, State, Task

STAGE = "RunRecord"
_RECORDS = ("*/*/RunRecord*/record", "*/*/RunRecord/*/record")
_ERRORS = (f"*/*/{ERROR_FILE}", f"*/*/*/{ERROR_FILE}")
_SKEW = 60.0  # seconds that two clocks may differ by
_PAGES = (REPORT, PAGE_FILE)


@dataclasses.dataclass(frozen=True)
class Patience:
    """How often a service is asked, in seconds.

    Attributes:
      first: between the first looks; it grows by half each time.
      most: between looks.
      silence: for how long it may answer nothing.
    """

    first: float = 5.0
    most: float = 30.0
    silence: float = 900.0

    def longer(self, wait: float) -> float:
        """The wait after a wait."""
        return min(wait * 1.5, self.most)


PATIENCE = Patience()


def follow(
    service: Service,
    job: str,
    expected: Collection[str],
    tell: Callable[[run_log.Stage, str], None],
    again: str,
) -> State:
    """Waits until a job has ended; tells each stage once, when it has ended.

    Args:
      service: that runs it.
      job: the name that it knows it by.
      expected: names of the stages.
      tell: called with a stage, and `failed`, `reused` or nothing.
      again: how to follow it later.

    Raises:
      Refused: the service says no, or was silent for too long.
    """
    told: set[str] = set()
    wait, heard = PATIENCE.first, time.monotonic()
    while True:
        try:
            state = service.state(job)
        except Silent as silence:
            quiet = time.monotonic() - heard
            if quiet > PATIENCE.silence:
                raise Refused(
                    f"{silence}, for {quiet / 60:.0f} minutes; the job may well go on:"
                    f" {again}"
                ) from silence
        else:
            heard = time.monotonic()
            _tell(state, told, expected, tell)
            if state.outcome != "running":
                return state
        time.sleep(wait)
        wait = PATIENCE.longer(wait)


def _tell(
    state: State,
    told: set[str],
    expected: Collection[str],
    tell: Callable[[run_log.Stage, str], None],
) -> None:
    ended = [t for t in state.tasks if t.outcome is not None and t.name in expected]
    for task in sorted(ended, key=lambda t: (t.ended, t.name)):
        if task.name in told:
            continue
        told.add(task.name)
        outcome = "reused" if task.cached else ""
        stage = run_log.Stage(task.name, round(task.seconds, 3), task.cached)
        tell(stage, "failed" if task.outcome == "failed" else outcome)


def fetch(ended: State, root: str, folder: str) -> dict[str, Any]:
    """Copies what RunRecord left; the fields of its summary.

    Args:
      ended: of a job that succeeded.
      root: folder that all artifacts of the run lie under.
      folder: of the run, here.

    Raises:
      Refused: it left no record, or one that cannot be read from here.
    """
    try:
        found = _record(ended, root)
        if found is None:
            raise Refused(
                f"the job succeeded, and left no {SUMMARY} of its stage {STAGE} below"
                f" {root}; look whether you may list that folder, and what lies there"
            )
        content = _read(os.path.join(found, SUMMARY))
        for name in _PAGES:
            if filesystem.exists(os.path.join(found, name)):
                filesystem.replace_file(
                    os.path.join(folder, name), _read(os.path.join(found, name))
                )
        record: dict[str, Any] = json.loads(content)
        return record
    except Refused:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise Refused(
            f"the job succeeded, and what it left below {root} cannot be read from here"
            f" ({said}); you need the role roles/storage.objectViewer there"
        ) from error


def _record(ended: State, root: str) -> str | None:
    """Folder of the record: where the service says so, else as it is known to lie."""
    for task in ended.tasks:
        told = task.record if task.name == STAGE else ""
        if told and filesystem.exists(os.path.join(told, SUMMARY)):
            return told
    found = _newest([f"{root}/{pattern}/{SUMMARY}" for pattern in _RECORDS])
    return None if found is None else os.path.dirname(found)


def why(
    ended: State, root: str, expected: Collection[str], where: str
) -> dict[str, Any]:
    """Exit and sentence of a job that did not succeed.

    Args:
      ended: how it came out.
      root: folder that all artifacts of the run lie under.
      expected: names of the stages.
      where: the service, and the page that shows the job.
    """
    if ended.outcome == "cancelled":
        return {"exit": 1, "sentence": f"the job was cancelled; see {where}"}
    failed = [t for t in ended.tasks if t.outcome == "failed" and t.name in expected]
    told = _left(root, failed)
    if told is not None:
        return told
    first = min(failed, key=lambda t: t.ended, default=None)
    name = "the job" if first is None else first.name
    said = (first and first.error) or ended.error or "without a reason"
    return {"exit": 1, "sentence": f"{name} failed: {said}; its log: {where}"}


def _left(root: str, failed: Collection[Task]) -> dict[str, Any] | None:
    """What a stage left to tell its reason; None where there is nothing legible."""
    try:
        path = _newest([f"{root}/{pattern}" for pattern in _ERRORS])
        if path is None or filesystem.modified(path) < _began(failed) - _SKEW:
            return None  # none, or of another stage, which was tried again
        told = json.loads(_read(path))
        exit_code, sentence = int(told["exit"]), str(told["sentence"])
    except Exception:
        return None  # the service has a reason of its own
    if exit_code == 1 and len(failed) == 1:
        (task,) = failed
        sentence = f"{task.name} failed: {sentence}"
    return {"exit": exit_code if exit_code in (1, 2) else 1, "sentence": sentence}


def _began(failed: Collection[Task]) -> float:
    """When the first of these began; 0 where the service tells none."""
    return min((task.ended - task.seconds for task in failed), default=0.0)


def _newest(patterns: Collection[str]) -> str | None:
    found = {path for pattern in patterns for path in filesystem.find(pattern)}
    return max(sorted(found), key=filesystem.modified, default=None)


def _read(path: str) -> bytes:
    with filesystem.open_file(path) as file:
        content: bytes = file.read()
        return content
