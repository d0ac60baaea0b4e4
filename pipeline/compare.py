"""`tfx-irm compare`: several methods and seeds, trained and evaluated on the same data.

Ingestion, statistics and Transform run once, and are those of `tfx-irm run`. No
baseline, no verdict, no push: it shows, and decides nothing.
"""

import dataclasses
import datetime
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline import local_runner, run_log, tables
from pipeline.config import ENVIRONMENT, PipelineConfig
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

MOST_RUNS = 1000


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A method with a seed, and the config that trains it."""

    method: str
    seed: int
    config: PipelineConfig

    @property
    def label(self) -> str:
        """Of its nodes."""
        return f"{self.method}.{self.seed}"


def candidates(
    path: str, methods: Sequence[str] | None, seeds: int, sets: Sequence[str] = ()
) -> list[Candidate]:
    """The runs of a comparison, the configured method's name first if none is given.

    Args:
      path: of the config.
      methods: names; None for `erm` beside what the config trains with.
      seeds: how many of each; they count up from `train.seed`.
      sets: `a.b=value` each, for all of them.

    Raises:
      ConfigError: an unknown method, a wrong config or number.
    """
    if not 1 <= seeds <= MOST_RUNS:
        raise ConfigError(f"--seeds is {seeds}; expected 1 to {MOST_RUNS}")
    plain = load_config(path, sets=sets)
    if methods is None:
        configs = {plain.method_label.replace(" ", ""): plain}
        configs.setdefault("erm", load_config(path, sets=sets, method="erm"))
    else:
        twice = sorted({m for m in methods if methods.count(m) > 1})
        if twice:
            raise ConfigError(f"--methods has {twice[0]!r} twice; name it once")
        configs = {m: load_config(path, sets=sets, method=m) for m in methods}
    if len(configs) * seeds > MOST_RUNS:
        raise ConfigError(
            f"--methods and --seeds make {len(configs) * seeds} runs; expected at most "
            f"{MOST_RUNS}"
        )
    return [
        Candidate(method, config.train.seed + i, _seeded(config, i))
        for method, config in configs.items()
        for i in range(seeds)
    ]


def _seeded(config: PipelineConfig, more: int) -> PipelineConfig:
    train = config.train.model_copy(update={"seed": config.train.seed + more})
    return config.model_copy(update={"train": train})


def compare(found: Sequence[Candidate], *, debug: bool = False) -> tuple[str, int]:
    """Runs a comparison and leaves `comparison.json` and `comparison.html`.

    Args:
      found: of `candidates`.
      debug: tracebacks on the terminal too.

    Returns:
      The folder that they lie in, and the exit code: 0, or 1 where a run failed.

    Raises:
      ConfigError, DataError: nothing could be compared.
      KeyboardInterrupt: after the log was closed.
    """
    started = time.time()
    config = found[0].config
    with run_log.begun(config.root, "comparisons") as (folder, say):
        say(f"{config.name}: {len(found)} runs compared")
        runs = _execute(found, folder, say, debug)
        from pipeline import comparison, comparison_page

        methods = list(dict.fromkeys(candidate.method for candidate in found))
        document: dict[str, Any] = {
            "name": config.name,
            "date": datetime.date.fromtimestamp(started).isoformat(),
            "seconds": round(time.time() - started, 1),
            "training": _training(runs),
            "held_out": list(config.data.held_out),
            "settings": {c.method: _settings(c.config) for c in found},
            "methods": comparison.summarize(runs, methods),
            "runs": runs,
        }
        page = comparison_page.page(document)
        for name, text in (
            ("comparison.html", page),
            ("comparison.json", json.dumps(tables.finite(document), indent=1)),
        ):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        say("")
        for line in comparison_page.table(document["methods"]):
            say(line)
        say("")
        say(f"report   {os.path.join(folder, 'comparison.html')}")
    return folder, int(any(run["error"] for run in runs))


def _execute(
    found: Sequence[Candidate], folder: str, say: Callable[..., None], debug: bool
) -> list[dict[str, Any]]:
    """Launches every node; a candidate that fails leaves the others alone."""

    def graph() -> Any:
        from pipeline.pipeline import create_comparison
        from pipeline.runtime import Local

        configs = {candidate.label: candidate.config for candidate in found}
        return create_comparison(configs, Local(found[0].config))

    progress = local_runner.launch(graph, folder, say, debug=debug)
    error = progress.error([candidate.label for candidate in found])
    if error and ("" in progress.errors or error["exit"] == 2):
        local_runner.raise_error(error)
    return [_run(candidate, progress) for candidate in found]


def _run(candidate: Candidate, progress: local_runner.Progress) -> dict[str, Any]:
    from components.evaluator import results
    from pipeline import comparison

    error = progress.errors.get(candidate.label)
    environments = {}
    if error is None:
        node = f"Evaluator.{candidate.label}"
        (evaluation,) = progress.outputs[node]["evaluation"]
        environments = comparison.environments_of(
            results.load_results(evaluation.uri),
            ENVIRONMENT,
            candidate.config.data.held_out,
        )
    return {
        "method": candidate.method,
        "seed": candidate.seed,
        "error": error and error["sentence"],
        "figures": comparison.figures_of(environments),
        "environments": environments,
    }


def _training(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for run in runs:
        for name, entry in run["environments"].items():
            if entry["split"] == "eval":
                names[name] = None
    return list(names)


def _settings(config: PipelineConfig) -> str:
    """What a method is trained with, in a line."""
    train = config.train
    parts = []
    for term in train.terms:
        options = [f"{key}={value}" for key, value in term["options"].items()]
        weight = [] if term["name"] == "erm" else [f"weight {term['weight']:g}"]
        parts.append(" ".join([term["name"], *weight, *options]))
    if train.has_penalty:
        parts.append(f"{train.penalty.schedule} at {train.anneal_steps}")
    hidden = "-".join(map(str, train.model.hidden))
    network = train.model.build or f"{hidden}, L2 {train.model.l2:g}"
    return ", ".join(
        [
            *parts,
            f"{train.steps} steps of {train.batch_size}",
            f"{train.optimizer} {train.learning_rate:g}",
            network,
        ]
    )
