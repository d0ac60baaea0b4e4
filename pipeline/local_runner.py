"""Runs a pipeline on this machine: TFX's launcher, node by node, a line a stage.

What TFX, Beam and TensorFlow print goes to `<root>/runs/<run id>/log.txt`; the
terminal gets one line a stage and then the verdict. No metadata connection is logged.
"""

import dataclasses
import datetime
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from pipeline import run_log
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
      exit_code: 0 pushed, 2 config or data wrong, 3 refused by a check, 1 else.
      summary_path: of `summary.json`.
    """

    exit_code: int
    summary_path: str


def run(config: PipelineConfig, *, debug: bool = False) -> RunResult:
    """Runs the pipeline of a config here and leaves its summary.

    Args:
      config: validated.
      debug: tracebacks on the terminal too.

    Raises:
      KeyboardInterrupt: after the log was closed.
    """
    started = time.time()
    run_id = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = os.path.join(config.root, "runs", run_id)
    os.makedirs(folder)
    with run_log.captured(os.path.join(folder, "log.txt")) as say:
        say(f"{config.name}: {config.method_label}, run {run_id}")
        stages: list[run_log.Stage] = []
        outputs: dict[str, Any] = {}
        error = None
        try:
            _execute(config, run_id, stages, outputs, say)
        except KeyboardInterrupt:
            say("\ninterrupted; the same command goes on after the last finished stage")
            raise
        except Exception as failure:
            traceback.print_exc()
            error = explain(failure, stages, folder)
            if debug:
                say(traceback.format_exc())
        from pipeline import summary

        result = summary.build(
            config=config,
            run_id=run_id,
            stages=stages,
            outputs=outputs,
            error=error,
        )
        path = summary.write(result, folder, outputs)
        summary.tell(result, folder, outputs, say, time.time() - started)
    return RunResult(summary.exit_code(result), path)


def _execute(
    config: PipelineConfig,
    run_id: str,
    stages: list[run_log.Stage],
    outputs: dict[str, Any],
    say: Callable[..., None],
) -> None:
    """Launches every node in order; fills `stages` and `outputs` as it goes."""
    with run_log.stage("start", stages, say) as _:
        from pipeline import tfx_local
        from pipeline.pipeline import create_pipeline
        from pipeline.runtime import Local

        graph = create_pipeline(config, Local(config))
        nodes = tfx_local.prepare(graph, run_id)
    for node in nodes:
        with run_log.stage(node.name, stages, say) as note:
            note.cached, outputs[node.name] = node.launch()


def explain(
    failure: BaseException, stages: list[run_log.Stage], folder: str
) -> dict[str, Any]:
    """Exit code and sentence of a failure: the innermost error meant for the user."""
    from components.errors import DataError
    from trainer_module.errors import SetupError

    chain: list[BaseException] = []
    at: BaseException | None = failure
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for link in chain:
        if isinstance(link, (ConfigError, DataError, SetupError)):
            return {"exit": 2, "sentence": str(link)}
    first = (str(failure).strip() or type(failure).__name__).splitlines()[0]
    stage = stages[-1].name if stages else "start"
    return {
        "exit": 1,
        "sentence": f"{stage} failed: {type(failure).__name__}: {first[:400]}; the"
        f" traceback is in {os.path.join(folder, 'log.txt')}",
    }
