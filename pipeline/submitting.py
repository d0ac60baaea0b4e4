"""`tfx-irm submit`: sends a pipeline away, follows it, and ends as `tfx-irm run` does.

All of a run lies under one folder of the target, `<root>/runs/<run id>`, so what a
stage left is found without asking the service: `summary.json` of the stage RunRecord,
`error.json` of a stage that failed. The copy of it that stays here, under the config's
own `root`, is what `tfx-irm report` shows.
"""

import contextlib
import dataclasses
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from pipeline import (
    following,
    local_runner,
    parameters,
    root_lock,
    run_log,
)
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.local_runner import RunResult
from pipeline.services import Order, Refused, Service, Silent

SENT, JOB = "submitted.json", "job.json"


@dataclasses.dataclass(frozen=True)
class Sent:
    """What is kept of a job, to follow it again.

    Attributes:
      on: `vertex` or `kubeflow`.
      job: the name that the service knows it by.
      root: folder that all artifacts of the run lie under.
      address: of the page that shows it.
      began: when, in seconds since the epoch.
      values: of the job's parameters.
    """

    on: str
    job: str
    root: str
    address: str
    began: float
    values: dict[str, str]


def submit(
    config: PipelineConfig,
    made: Any,
    service: Service,
    asked: parameters.Asked,
    *,
    follow: bool = True,
    debug: bool = False,
) -> RunResult | None:
    """Sends a pipeline away and follows it to its end.

    Args:
      config: as it is here; its `root` holds the run's folder.
      made: of `compiling.runtime_of`.
      service: that runs it.
      asked: values of parameters.
      follow: whether to wait for its end.
      debug: tracebacks on the terminal too.

    Returns:
      What the run came to; None where it is not followed.

    Raises:
      ConfigError, DataError: what is asked for cannot be; nothing was sent.
      KeyboardInterrupt: after it was told that the job goes on.
    """
    values = parameters.chosen(made, asked)
    with run_log.begun(config.root, "runs", unit=None) as (folder, say):
        run_id = os.path.basename(folder)
        method = values.get("method") or config.method_label
        text = f"{config.name}: {method}, run {run_id}, on {service.title}"
        say(text, run=run_id, method=method)
        run = _Run(config, service, folder, say, time.time())
        with run.explained(debug):
            sent = run.send(made, values, asked.span)
            if not follow:
                say(f"sent     {sent.address}", address=sent.address)
                say(f"\n{_again(config, run_id)}")
                return None
            run.follow(sent)
        return run.end()


def follow(
    config: PipelineConfig, service: Service, run_id: str, *, debug: bool = False
) -> RunResult:
    """Follows a run that was sent before, to its end.

    Args:
      config: as it is here.
      service: that runs it.
      run_id: of the run.
      debug: tracebacks on the terminal too.

    Raises:
      ConfigError: no such run was sent from here.
      KeyboardInterrupt: after it was told that the job goes on.
    """
    sent = read_sent(config, run_id)
    folder = os.path.join(config.root, "runs", run_id)
    log = os.path.join(folder, "log.txt")
    with root_lock.shared(config.root), run_log.captured(log) as say:
        say(f"{config.name}: run {run_id}, on {service.title}", run=run_id)
        run = _Run(config, service, folder, say, sent.began)
        with run.explained(debug):
            service.connect()
            run.follow(sent)
        return run.end()


def read_sent(config: PipelineConfig, run_id: str) -> Sent:
    """What is kept of a run that was sent.

    Raises:
      ConfigError: there is none.
    """
    path = os.path.join(config.root, "runs", run_id, SENT)
    try:
        with open(path, encoding="utf-8") as file:
            return Sent(**json.load(file))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--follow: {run_id!r} is no run that was sent from here ({path} is not"
            " there, or not legible); name a folder of"
            f" {os.path.join(config.root, 'runs')}"
        ) from error


def _again(config: PipelineConfig, run_id: str) -> str:
    return f"tfx-irm submit {config.file} --follow {run_id} follows it to its end"


class _Run:
    """One run: what is known of it, and what it came to."""

    def __init__(
        self,
        config: PipelineConfig,
        service: Service,
        folder: str,
        say: Callable[..., None],
        began: float,
    ):
        self.config, self.service = config, service
        self.folder, self.say, self.began = folder, say, began
        self.stages: list[run_log.Stage] = []
        self.sent: Sent | None = None
        self.error: dict[str, Any] | None = None
        self.record: dict[str, Any] | None = None

    @property
    def run_id(self) -> str:
        return os.path.basename(self.folder)

    @contextlib.contextmanager
    def explained(self, debug: bool) -> Iterator[None]:
        """Turns a failure into the run's error, and tells that a job goes on."""
        try:
            yield
        except KeyboardInterrupt:
            if self.sent is None:
                self.say("\ninterrupted; nothing was sent, as far as is known here")
            else:
                again = _again(self.config, self.run_id)
                self.say("\nno longer followed; the job goes on:")
                self.say(f"{self.sent.address}\n{again}")
            raise
        except Silent as silence:
            self._failed(Refused(f"{silence}; try again later"), debug)
        except Exception as failure:
            self._failed(failure, debug)

    def _failed(self, failure: Exception, debug: bool) -> None:
        told = "".join(traceback.format_exception(failure))
        print(told, file=sys.stderr, flush=True)  # the log
        if debug:
            self.say(told)
        self.error = local_runner.explain(failure, self.stages, self.folder)

    def send(self, made: Any, values: dict[str, str], span: str | None) -> Sent:
        """Compiles a job and hands it to the service."""
        from pipeline import kubeflow_v2_runner

        self.service.connect()
        with run_log.stage("compile", self.stages, self.say):
            job = kubeflow_v2_runner.compile_job(made)
        found = parameters.fingerprint(made, span, self.say)
        if found:
            parameters.with_cache(job)
        values = {**values, "fingerprint": found}
        root = f"{made.config.root}/runs/{self.run_id}"
        with open(os.path.join(self.folder, JOB), "w", encoding="utf-8") as file:
            file.write(kubeflow_v2_runner.text(job))
        order = Order(job, self.config.name, self.run_id, root, values)
        with run_log.stage("submit", self.stages, self.say):
            name = self._handed(order)
        address = self.service.address(name)
        self.sent = Sent(self.service.name, name, root, address, self.began, values)
        with open(os.path.join(self.folder, SENT), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self.sent), file, indent=1)
        return self.sent

    def _handed(self, order: Order) -> str:
        try:
            return self.service.send(order)
        except Silent as silence:
            named = f"{order.name}-{order.run_id}"
            raise Refused(
                f"{silence}; it may have taken the job {named} all the same: look there"
                " before you submit again"
            ) from silence

    def follow(self, sent: Sent) -> None:
        """Waits for the end, and fetches what the run left."""
        self.sent = sent
        self.say(f"follow   {sent.address}", address=sent.address)
        again = _again(self.config, self.run_id)
        ended = following.follow(
            self.service, sent.job, self._expected(), self._tell, again
        )
        if ended.outcome == "succeeded":
            self.record = following.fetch(ended, sent.root, self.folder)
        else:
            where = f"{self.service.title}, {sent.address}"
            self.error = following.why(ended, sent.root, self._expected(), where)

    def _expected(self) -> frozenset[str]:
        """Tasks of the spec; a service tells of its own besides."""
        with open(os.path.join(self.folder, JOB), encoding="utf-8") as file:
            return frozenset(json.load(file)["pipelineSpec"]["root"]["dag"]["tasks"])

    def _tell(self, stage: run_log.Stage, outcome: str) -> None:
        self.stages.append(stage)
        run_log.tell_stage(stage, self.say, outcome)

    def end(self) -> RunResult:
        """Leaves the summary and tells the verdict."""
        from pipeline import summary  # imports TensorFlow, which writes to the terminal

        if self.error is not None or self.record is None:
            found = summary.build(self.config, self.run_id, self.stages, {}, self.error)
        else:
            found = {
                "run_id": self.run_id,
                **self.record,
                "stages": [dataclasses.asdict(stage) for stage in self.stages],
            }
        path = summary.write_json(found, self.folder)
        seconds = time.time() - self.began
        summary.tell(found, self.folder, {}, self.say, seconds)
        return RunResult(summary.exit_code(found), path)
