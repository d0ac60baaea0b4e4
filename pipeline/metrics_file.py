"""`--metrics FILE`: what a command came to, for dashboards, in OpenMetrics' text."""

import os
import time
from collections.abc import Mapping
from typing import Any

from components import filesystem
from pipeline.errors import ConfigError

PREFIX = "tfx_irm"
VERDICTS = ("PASS", "FAIL", "INSUFFICIENT_DATA")
_QUANTILES = ("0.5", "0.99")


def check(path: str) -> None:
    """Refuses a file that could not be written, before anything runs.

    Raises:
      ConfigError: its folder is not there, or it is one.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ConfigError(f"--metrics: there is no folder {folder}; make it first")
    if os.path.isdir(path):
        raise ConfigError(f"--metrics: {path} is a folder; name a file in it")


def write(
    path: str,
    command: str,
    status: int,
    seconds: float,
    summary: Mapping[str, Any] | None = None,
    name: str = "",
    monitored: Mapping[str, Any] | None = None,
) -> None:
    """Writes the file, in one rename, so that no reader sees half of it.

    Args:
      path: of the file.
      command: `run`, `validate`, ...
      status: its exit status.
      seconds: that it took.
      summary: of a run, `summary.json`; None for other commands, and where it ended
        before there was one.
      name: the config's.
      monitored: record of a look, see `pipeline.monitoring`; None for other commands.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.openmetrics.exposition import generate_latest

    made = _Gauges(CollectorRegistry())
    made.put("exit_status", "Exit status of the command.", status, command=command)
    made.put("duration_seconds", "What the command took.", seconds, command=command)
    made.put(
        "finished_timestamp_seconds", "When it ended.", time.time(), command=command
    )
    if summary is not None:
        made.put(
            "run_info",
            "The last run.",
            1,
            pipeline=name,
            run_id=summary["run_id"],
            method=summary["method"],
        )
        _of_run(made, summary)
    if monitored is not None:
        _of_look(made, monitored)
    filesystem.replace_file(path, generate_latest(made.registry))


class _Gauges:
    """Gauges by name, each made when it is first put."""

    def __init__(self, registry: Any) -> None:
        self.registry = registry
        self._made: dict[str, Any] = {}

    def put(self, name: str, says: str, value: Any, **labels: str) -> None:
        """Sets a gauge; a value that is not there is left out."""
        from prometheus_client import Gauge

        if value is None:
            return
        if name not in self._made:
            self._made[name] = Gauge(
                f"{PREFIX}_{name}", says, list(labels), registry=self.registry
            )
        gauge = self._made[name]
        (gauge.labels(**labels) if labels else gauge).set(value)


def _of_run(made: _Gauges, summary: Mapping[str, Any]) -> None:
    for verdict in VERDICTS:
        made.put(
            "verdict",
            "The model's verdict: 1 for the one that it is.",
            int(summary["verdict"] == verdict),
            verdict=verdict,
        )
    made.put("pushed", "Whether a model was released.", int(bool(summary["pushed"])))
    for one in summary["checks"]:
        _of_check(made, one)
    for split, slices in summary["metrics"].items():
        for name, values in slices.items():
            for metric, value in values.items():
                made.put(
                    "metric",
                    "What was measured on a slice.",
                    value,
                    split=split,
                    slice=name,
                    metric=metric,
                )
    for name, splits in summary["environments"].items():
        for split, examples in splits.items():
            made.put(
                "examples",
                "Examples of an environment.",
                examples,
                environment=name,
                split=split,
            )
    for stage in summary["stages"]:
        made.put(
            "stage_duration_seconds",
            "What a stage took.",
            stage["seconds"],
            stage=stage["name"],
            reused=str(stage["cached"]).lower(),
        )
    for level in ("error", "warn", "note"):
        found = [f for f in summary.get("findings", []) if f["level"] == level]
        made.put("findings", "Of the environments.", len(found), level=level)
    _of_load_check(made, summary.get("load_check"))


def _of_look(made: _Gauges, record: Mapping[str, Any]) -> None:
    made.put(
        "monitor_info",
        "The version that was looked at.",
        1,
        pipeline=record["name"],
        version=str(record["version"]),
        digest=record["digest"],
    )
    holds = record["verdict"] == "HOLDS"
    made.put("monitor_holds", "Whether the served verdict holds.", int(holds))
    made.put("monitor_looks", "Looks at the served version so far.", record["look"])
    unfollowed = len(record["not_followed"])
    for followed, number in (
        ("true", record["checks"] - unfollowed),
        ("false", unfollowed),
    ):
        made.put(
            "monitor_checks",
            "Checks of the config, and whether a look can follow them.",
            number,
            followed=followed,
        )
    for name, share in record.get("missing", {}).items():
        made.put("monitor_missing", "Share without a value.", share, column=name)
    for name, one in record["environments"].items():
        made.put(
            "monitor_examples",
            "Examples of the last look.",
            one["rows"],
            environment=name,
        )
    for one in record["watches"]:
        names = {key: one[key] for key in ("check", "quantity", "side", "split")}
        labels = names | {"slice": one["slice"]}
        evidence = one["log_evidence"] / one["log_needed"]
        for name, says, value in (
            ("monitor_value", "Mean over all looks.", one["value"]),
            ("monitor_bound", "What it is held to.", one["bound"]),
            ("monitor_evidence", "Against it; 1 and more: broken.", evidence),
        ):
            made.put(name, says, value, **labels)


def _of_check(made: _Gauges, one: Mapping[str, Any]) -> None:
    name = one["name"]
    for verdict in VERDICTS:
        made.put(
            "check_verdict",
            "A check's verdict: 1 for the one that it is.",
            int(one["verdict"] == verdict),
            check=name,
            verdict=verdict,
        )
    made.put("check_value", "What was compared.", one.get("value"), check=name)
    made.put("check_bound", "What it was compared with.", one.get("bound"), check=name)
    for side, value in zip(
        ("lower", "upper"), one.get("interval") or (None, None), strict=True
    ):
        made.put("check_interval", "Two-sided interval.", value, check=name, side=side)


def _of_load_check(made: _Gauges, loaded: Mapping[str, Any] | None) -> None:
    if not loaded:
        return
    made.put("load_check_passed", "Whether it can be served.", int(loaded["blessed"]))
    made.put(
        "model_load_duration_seconds", "Loading the model.", loaded["load_seconds"]
    )
    peak = loaded["peak_mb"]
    made.put(
        "model_memory_bytes",
        "The most that a process with the model took.",
        None if peak is None else peak * 2**20,
    )
    for size, milliseconds in (loaded["latency_ms"] or {}).items():
        for quantile, value in zip(_QUANTILES, milliseconds, strict=True):
            made.put(
                "model_latency_seconds",
                "Answering a request of so many examples.",
                value / 1e3,
                examples=size,
                quantile=quantile,
            )
