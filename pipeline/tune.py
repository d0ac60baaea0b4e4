"""`tfx-irm tune`: hyperparameters chosen without a look at the held-out environments.

Ingestion, statistics and Transform are those of `tfx-irm run`; the Tuner gets the
splits `train` and `eval`.
"""

import json
import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from pipeline import local_runner, run_log, tables
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError

TUNING = "tuning.json"


def tune(config: PipelineConfig, *, debug: bool = False) -> int:
    """Runs a search and leaves `tuning.json` under `<root>/tunings/<id>/`.

    Args:
      config: validated; `tune` says how many trials, and by which rule.
      debug: tracebacks on the terminal too.

    Returns:
      The exit code: 0, or 1 where no trial could be chosen.

    Raises:
      ConfigError, DataError: nothing could be tuned.
      KeyboardInterrupt: after the log was closed.
    """
    if wrong := config.tune.task_problem(config.task):
        raise ConfigError(f"{config.place('tune', 'select')} {wrong}")
    with run_log.begun(config.root, "tunings", "trial") as (folder, say):
        trials = config.tune.trials
        say(f"{config.name}: {config.method_label}, {trials} trials")
        results = _execute(config, folder, say, debug)
        with open(os.path.join(folder, TUNING), "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
        say("")
        for line in table(results):
            say(line)
        say("")
        chosen = results["chosen"]
        if chosen is None:
            say(
                f"{results['rule']} names none: no trial is clearly better than a"
                " constant prediction in every training environment"
                if results["rule"] == "invariance"
                else f"{results['rule']} names none: every trial failed"
            )
            return 1
        say(f"{results['rule']} names trial {chosen + 1}:")
        say(f"  tfx-irm run {shlex.quote(config.file)} {arguments(config, results)}")
        say(f"trials   {os.path.join(folder, TUNING)}")
    return 0


def _execute(
    config: PipelineConfig, folder: str, say: Callable[..., None], debug: bool
) -> dict[str, Any]:
    """Launches every node; what the Tuner wrote."""

    def graph() -> Any:
        from pipeline.pipeline import create_tuning
        from pipeline.runtime import Local

        return create_tuning(config, Local(config))

    progress = local_runner.launch(graph, folder, say, debug=debug)
    local_runner.raise_error(progress.error([]))
    (artifact,) = progress.outputs["Tuner"]["tuner_results"]
    with open(os.path.join(artifact.uri, "trials.json"), encoding="utf-8") as file:
        return tables.finite(json.load(file))


def table(results: Mapping[str, Any]) -> list[str]:
    """The trials as lines of a Markdown table; the chosen one has an arrow."""
    lines = [
        [
            "",
            "trial",
            "weight",
            "anneal",
            "learning rate",
            "hidden",
            "mean risk",
            "worst risk",
            "risk gap",
            "slope spread",
            "beats a constant",
        ]
    ]
    for i, trial in enumerate(results["trials"]):
        settings = trial["settings"]
        figures = ("mean_risk", "worst_risk", "risk_gap", "slope_spread")
        lines.append(
            [
                "->" if i == results["chosen"] else "",
                str(i + 1),
                ", ".join(f"{weight:.3g}" for weight in settings["weights"]),
                str(settings["anneal_steps"]),
                f"{settings['learning_rate']:.2g}",
                "-".join(map(str, settings["hidden"])),
                *("-" if trial[f] is None else f"{trial[f]:.4f}" for f in figures),
                "failed" if trial["error"] else "yes" if trial["counts"] else "no",
            ]
        )
    return tables.markdown(lines)


def arguments(config: PipelineConfig, results: Mapping[str, Any]) -> str:
    """The `--set`s that train as the chosen trial was."""
    settings = results["trials"][results["chosen"]]["settings"]
    sets = {
        "train.learning_rate": f"{settings['learning_rate']:.6g}",
        "train.penalty.anneal_steps": str(settings["anneal_steps"]),
    }
    if not config.train.model.build:
        sets["train.model.hidden"] = str(settings["hidden"])
    weights = [f"{weight:.6g}" for weight in settings["weights"]]
    for i, (term, weight) in enumerate(zip(config.train.method, weights, strict=True)):
        if len(weights) == 1 and term.weight is None:
            sets["train.penalty.weight"] = weight
        elif term.name != "erm":
            sets[f"train.method.{i}.weight"] = weight
    if not config.train.has_penalty:
        del sets["train.penalty.anneal_steps"]
        sets.pop("train.penalty.weight", None)
    return " ".join(f"--set {shlex.quote(f'{k}={v}')}" for k, v in sets.items())
