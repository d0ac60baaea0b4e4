"""Runs a pipeline on this machine: TFX's launcher, node by node, a line a stage.

What TFX, Beam and TensorFlow print goes to `<root>/runs/<run id>/log.txt`; the
terminal gets one line a stage and then the verdict. No metadata connection is logged.
"""

import dataclasses
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline import imports, run_log
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.tables import SENTENCE, brief


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
    with run_log.begun(config.root, "runs") as (folder, say):
        run_id = os.path.basename(folder)
        say(f"{config.name}: {config.method_label}, run {run_id}")
        progress = launch(lambda: _graph(config), folder, say, debug=debug)
        from pipeline import inspection, summary

        kept = inspection.collect(config.root, progress.outputs, folder, started)
        result = summary.build(
            config=config,
            run_id=run_id,
            stages=progress.stages,
            outputs=progress.outputs,
            error=progress.error([]),
            findings=kept["findings"] if kept else None,
        )
        path = summary.write(result, folder, progress.outputs)
        summary.tell(result, folder, progress.outputs, say, time.time() - started)
    return RunResult(summary.exit_code(result), path)


def _graph(config: PipelineConfig) -> Any:
    from pipeline.pipeline import create_pipeline
    from pipeline.runtime import Local

    return create_pipeline(config, Local(config))


@dataclasses.dataclass
class Progress:
    """How far the nodes of a graph came.

    Attributes:
      stages: what was launched, in order.
      outputs: node -> output key -> artifacts.
      errors: part -> exit and sentence of its failure; the part "" is what all others
        are built on, and after its failure nothing more was launched.
    """

    stages: list[run_log.Stage] = dataclasses.field(default_factory=list)
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    errors: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def error(self, parts: Sequence[str]) -> dict[str, Any] | None:
        """What the whole ended in: exit and sentence, or None where no part failed.

        The exit is 2 only where what all parts need, or every part, failed with 2.
        """
        if "" in self.errors:
            return self.errors[""]
        failed = [self.errors[part] for part in parts if part in self.errors]
        if not failed:
            return None
        everywhere = len(failed) == len(parts)
        wrong = everywhere and all(error["exit"] == 2 for error in failed)
        return {"exit": 2 if wrong else 1, "sentence": failed[0]["sentence"]}


def launch(
    make_graph: Callable[[], Any],
    folder: str,
    say: Callable[..., None],
    *,
    parts: Mapping[str, str] | None = None,
    debug: bool = False,
) -> Progress:
    """Launches every node of a graph, part by part.

    The part of a node is what its name has after the first dot. A part that fails
    leaves the others alone.

    Args:
      make_graph: makes the `tfx.dsl.Pipeline`.
      folder: that the log lies in; its name is the run's id.
      say: of `run_log.captured`.
      parts: part -> what the terminal calls it; default: nodes by their names.
      debug: tracebacks on the terminal too.
    """
    progress = Progress()

    def failed(failure: Exception, part: str) -> None:
        traceback.print_exc()
        if debug:
            say(traceback.format_exc())
        progress.errors[part] = explain(failure, progress.stages, folder)
        if part:
            say(f"  {brief(progress.errors[part]['sentence'], SENTENCE)}")

    try:
        with run_log.stage("start", progress.stages, say) as _:
            imports.quickly("pipeline.pipeline", "pipeline.tfx_local")
            from pipeline import tfx_local

            nodes = tfx_local.prepare(make_graph(), os.path.basename(folder))
    except Exception as failure:
        failed(failure, "")
        return progress
    shown = {node.name: _shown(node.name, parts or {}) for node in nodes}
    width = max(24, *map(len, shown.values()))
    for node in _by_part(nodes):
        part = _part(node)
        if not progress.errors.keys().isdisjoint(("", part)):
            continue
        try:
            with run_log.stage(
                node.name, progress.stages, say, shown[node.name], width
            ) as note:
                note.cached, progress.outputs[node.name] = node.launch()
        except Exception as failure:
            failed(failure, part)
    return progress


def _part(node: Any) -> str:
    return node.name.partition(".")[2]


def _by_part(nodes: Sequence[Any]) -> list[Any]:
    """What all need first, then one part after the other; each in its own order."""
    parts = list(dict.fromkeys(["", *map(_part, nodes)]))
    return sorted(nodes, key=lambda node: parts.index(_part(node)))


def _shown(name: str, parts: Mapping[str, str]) -> str:
    kind, _, part = name.partition(".")
    return f"{kind}, {parts[part]}" if part in parts else name


def raise_error(error: Mapping[str, Any] | None) -> None:
    """Raises what a command ended in that leaves nothing behind.

    Raises:
      ConfigError: the config or the data is wrong.
      RuntimeError: anything else.
    """
    if error is not None:
        raise (ConfigError if error["exit"] == 2 else RuntimeError)(error["sentence"])


def explain(
    failure: BaseException, stages: list[run_log.Stage], folder: str
) -> dict[str, Any]:
    """Exit code and sentence of a failure: the innermost error meant for the user."""
    chain: list[BaseException] = []
    at: BaseException | None = failure
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for link in chain:
        if (code := getattr(link, "exit_code", None)) is not None:
            return {"exit": code, "sentence": str(link)}
    first = (str(failure).strip() or type(failure).__name__).splitlines()[0]
    stage = stages[-1].name if stages else "start"
    return {
        "exit": 1,
        "sentence": f"{stage} failed: {type(failure).__name__}: {first[:400]}; the"
        f" traceback is in {os.path.join(folder, 'log.txt')}",
    }
