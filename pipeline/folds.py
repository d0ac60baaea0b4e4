"""`tfx-irm run` with `held_out: each`: every environment is held out in its turn.

A diagnosis: each fold trains on the other environments and is judged as a run is, and
nothing is ever released. What is released comes from a run that names what it holds
out.
"""

import dataclasses
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline import local_runner, run_log, sources_check
from pipeline.config import PipelineConfig
from pipeline.runs import REPORT
from pipeline.tables import SENTENCE, brief


def run(
    config: PipelineConfig,
    environments: Sequence[str] | None = None,
    *,
    debug: bool = False,
) -> local_runner.RunResult:
    """Runs all folds here and leaves their summary, page and reports.

    Args:
      config: validated, with `held_out: each`.
      environments: that a column was found to tell, or None.
      debug: tracebacks on the terminal too.

    Returns:
      Exit code 0 where a run would release the model of every fold, 3 where not; 1
      where a fold failed, 2 where config or data are wrong for all.

    Raises:
      ConfigError, DataError: the environments cannot be told from the data, or not
        each of them can be held out.
      KeyboardInterrupt: after the log was closed.
    """
    started = time.time()
    with run_log.begun(config.root, "runs") as (folder, say):
        run_id = os.path.basename(folder)
        names = config.data.training or environments or _read_names(config)
        say(
            f"{config.name}: {config.method_label}, each of {len(names)} environments"
            f" held out in turn, run {run_id}"
        )
        progress = local_runner.launch(
            lambda: _graph(config, names),
            folder,
            say,
            parts={part: brief(name) for part, name in _parts(names)},
            debug=debug,
        )
        result = summarize(config, run_id, names, progress)
        path = _write(config, result, folder, progress, time.time() - started)
        _tell(result, folder, say, time.time() - started)
    return local_runner.RunResult(exit_code(result), path)


def _parts(names: Sequence[str]) -> list[tuple[str, str]]:
    """What the names of a fold's nodes end in, and what it holds out."""
    return [(str(i), name) for i, name in enumerate(names, 1)]


def _read_names(config: PipelineConfig) -> tuple[str, ...]:
    from pipeline.stages import training_environments

    names = tuple(training_environments(config))
    sources_check.check_environment_names(config, names)
    return names


def _graph(config: PipelineConfig, names: Sequence[str]) -> Any:
    from pipeline.pipeline import create_folds
    from pipeline.runtime import Local

    return create_folds(config, names, Local(config))


def summarize(
    config: PipelineConfig,
    run_id: str,
    names: Sequence[str],
    progress: local_runner.Progress,
) -> dict[str, Any]:
    """The fields of `schema/summary.schema.json`, `folds` among them."""
    from components.invariance_validator.judging import SEVERITY
    from pipeline.stages import versions

    error = progress.error([part for part, _ in _parts(names)])
    common = "" in progress.errors
    folds = [] if common else [_fold(*part, progress) for part in _parts(names)]
    failed = [fold for fold in folds if fold["error"]]
    if error and failed:
        more = f" ({len(failed) - 1} more failed)" if len(failed) > 1 else ""
        held_out = brief(failed[0]["environment"])
        said = brief(error["sentence"], SENTENCE)
        error = {**error, "sentence": f"{held_out} held out: {said}{more}"}
    verdicts = [fold["verdict"] for fold in folds]
    return {
        "run_id": run_id,
        "verdict": None if error else min(verdicts, key=SEVERITY.__getitem__),
        "pushed": None,
        "error": error,
        "checks": [],
        "metrics": {},
        "environments": {},
        "folds": folds,
        "method": config.method_label,
        "stages": [dataclasses.asdict(stage) for stage in progress.stages],
        "versions": versions(),
    }


def _fold(part: str, name: str, progress: local_runner.Progress) -> dict[str, Any]:
    from components.run_record import facts

    error = progress.errors.get(part)
    validator = f"InvarianceValidator.{part}"
    decision = {} if error else facts.decision_of(progress.outputs, validator)
    return {
        "environment": name,
        "verdict": decision.get("verdict"),
        "blessed": decision.get("blessed", False),
        "error": error,
        "report": None if error else f"fold-{part}.html",
        "checks": decision.get("checks", []),
        "metrics": decision.get("metrics", {}),
        "undefined": decision.get("undefined", []),
        "environments": decision.get("environments", {}),
    }


def exit_code(result: Mapping[str, Any]) -> int:
    """0 where every fold's model would be released, 3 where not, else the error's."""
    if result["error"]:
        return int(result["error"]["exit"])
    return 0 if all(fold["blessed"] for fold in result["folds"]) else 3


def _write(
    config: PipelineConfig,
    result: dict[str, Any],
    folder: str,
    progress: local_runner.Progress,
    seconds: float,
) -> str:
    """Summary, page and the report of each fold; path of the summary."""
    from pipeline import folds_page, summary

    for part, fold in enumerate(result["folds"], 1):
        if fold["report"]:
            path = os.path.join(folder, fold["report"])
            summary.copy_report(progress.outputs, path, f"InvarianceValidator.{part}")
    if result["folds"]:
        page = folds_page.page(config.name, seconds, result)
        with open(os.path.join(folder, REPORT), "w", encoding="utf-8") as file:
            file.write(page)
    return summary.write_json(result, folder)


def _tell(
    result: Mapping[str, Any], folder: str, say: Callable[..., None], seconds: float
) -> None:
    """Says how it ended: a row for each fold, what did not pass, where the page is."""
    say("")
    if not result["folds"]:
        return
    from pipeline import folds_page

    for line in folds_page.table(result["folds"]):
        say(line)
    say("")
    for fold in result["folds"]:
        held_out = brief(fold["environment"])
        for check in fold["checks"]:
            if check["verdict"] != "PASS":
                say(f"  {held_out} held out, {check['name']}: {check['verdict']}")
                reason = textwrap.fill(brief(check["reason"], SENTENCE), 92)
                say(textwrap.indent(reason, " " * 4))
    if result["verdict"]:
        say(f"verdict  {result['verdict']}   ({seconds:.0f} s)")
    say("pushed   nothing: what is released is a run that names what it holds out")
    say(f"report   {os.path.join(folder, REPORT)}")
