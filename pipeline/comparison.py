"""What a comparison found: figures of each run, and of each method over its seeds."""

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from components.evaluator.results import SliceResult

# Of each environment; the first two of a task make the figures of a run.
METRICS = {
    "binary": ("auc", "log_loss", "accuracy", "calibration_slope"),
    "multiclass": ("accuracy", "log_loss", "balanced_accuracy", "calibration_slope"),
    "regression": (
        "r_squared",
        "mean_squared_error",
        "mean_absolute_error",
        "calibration_slope",
    ),
}
TITLES = {
    "auc": "AUC",
    "log_loss": "Log loss",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "r_squared": "R²",
    "mean_squared_error": "Squared error",
    "mean_absolute_error": "Absolute error",
    "calibration_slope": "Slope",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A figure of a run.

    Attributes:
      key: in `comparison.json`.
      title: in tables.
      best: "high", "low" or "one", or None where none is.
      digits: after the point.
    """

    key: str
    title: str
    best: str | None
    digits: int = 3


def _columns() -> tuple[Column, ...]:
    columns = []
    for score, title in (("auc", "AUC"), ("accuracy", "accuracy"), ("r_squared", "R²")):
        columns += [
            Column(f"{score}_mean", f"{title}, mean", "high"),
            Column(f"{score}_worst", f"{title}, worst", "high"),
            Column(f"{score}_gap", f"{title} gap", "low"),
            Column(f"{score}_held_out", f"{title}, held out", "high"),
        ]
    for loss, title in (
        ("log_loss", "log loss"),
        ("mean_squared_error", "squared error"),
    ):
        columns += [
            Column(f"{loss}_mean", f"{title}, mean", "low"),
            Column(f"{loss}_held_out", f"{title}, held out", "low"),
        ]
    return (
        *columns,
        Column("slope_training", "slope, training", "one", 2),
        Column("slope_spread", "slope spread", "low", 2),
        Column("slope_held_out", "slope, held out", "one", 2),
    )


COLUMNS = _columns()  # of all tasks; a run has the figures of its own


def metrics_of(known: Collection[str]) -> tuple[str, ...]:
    """The metrics of `METRICS` by which the task of an evaluation is shown.

    Args:
      known: names of what was measured.
    """
    if "mean_squared_error" in known:
        return METRICS["regression"]
    of_classes = "accuracy" in known and "auc" not in known
    return METRICS["multiclass" if of_classes else "binary"]


def environments_of(
    results: Sequence[SliceResult], environment: str, held_out: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Metrics of each environment: training ones on `eval`, held-out ones on `ood`.

    Args:
      results: of one evaluation.
      environment: name of the feature that tells the environment.
      held_out: names of the environments that were not trained on.

    Returns:
      environment -> split, examples and metrics; NaN where undefined.
    """
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        if result.model != "candidate":  # but one under attack
            continue
        if [feature for feature, _ in result.slice] != [environment]:
            continue
        name = result.slice[0][1]
        if result.split != ("ood" if name in held_out else "eval"):
            continue
        found[name] = {
            "split": result.split,
            "examples": result.examples,
            **{
                metric: result.metrics[metric].value
                if metric in result.metrics
                else math.nan
                for metric in metrics_of(result.metrics)
            },
        }
    return found


def figures_of(environments: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The figures of one run, by the keys of `COLUMNS`; NaN where one is undefined.

    Means, worst values and gaps are over the training environments on `eval`. Of
    several held-out ones the worst counts; of slopes the one farthest from 1.
    """
    training = [e for e in environments.values() if e["split"] == "eval"]
    held_out = [e for e in environments.values() if e["split"] == "ood"]

    def values(entries: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
        return [float(entry[metric]) for entry in entries]

    score, loss = metrics_of({name for e in environments.values() for name in e})[:2]
    scores, losses = values(training, score), values(training, loss)
    slopes = values(training, "calibration_slope")
    return {
        f"{score}_mean": _mean(scores),
        f"{score}_worst": _extreme(min, scores),
        f"{score}_gap": _extreme(max, scores) - _extreme(min, scores),
        f"{score}_held_out": _extreme(min, values(held_out, score)),
        f"{loss}_mean": _mean(losses),
        f"{loss}_held_out": _extreme(max, values(held_out, loss)),
        "slope_training": _farthest_from_one(slopes),
        "slope_spread": _extreme(max, slopes) - _extreme(min, slopes),
        "slope_held_out": _farthest_from_one(values(held_out, "calibration_slope")),
    }


def summarize(
    runs: Sequence[Mapping[str, Any]], methods: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each method: mean and standard deviation over its seeds.

    Args:
      runs: with `method`, `seed`, `figures` and `error`, which is None or a sentence.
      methods: their order.

    Returns:
      Rows with `method`, `seeds`, `failed` and `figures`: key -> [mean, standard
      deviation], the latter NaN for one seed.
    """
    rows = []
    known = {key for run in runs if run["error"] is None for key in run["figures"]}
    for method in methods:
        mine = [run for run in runs if run["method"] == method]
        done = [run["figures"] for run in mine if run["error"] is None]
        figures = {}
        for column in COLUMNS:
            if column.key not in known:
                continue
            values = [found[column.key] for found in done]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            figures[column.key] = [_mean(values), spread]
        rows.append(
            {
                "method": method,
                "seeds": len(done),
                "failed": len(mine) - len(done),
                "figures": figures,
            }
        )
    return rows


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns in which any row has a figure."""
    return [
        column
        for column in COLUMNS
        if any(not math.isnan(_figure(row, column)[0]) for row in rows)
    ]


def best_of(rows: Sequence[Mapping[str, Any]], column: Column) -> set[str]:
    """Methods whose mean is the best of a column to the digits that are shown."""
    if column.best is None:
        return set()
    means = {row["method"]: _figure(row, column)[0] for row in rows}
    shown = {m: round(v, column.digits) for m, v in means.items() if not math.isnan(v)}

    def badness(value: float) -> float:
        return {"high": -value, "low": value}.get(
            column.best or "", _distance_from_one(value)
        )

    least = min((badness(value) for value in shown.values()), default=math.nan)
    return {method for method, value in shown.items() if badness(value) == least}


def numbers(entry: Mapping[str, Any]) -> list[str]:
    """`METRICS` of an environment as text; `-` where undefined."""
    values = [entry[metric] for metric in metrics_of(entry)]
    return ["-" if math.isnan(value) else f"{value:.3f}" for value in values]


def titles_of(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the columns of `numbers`."""
    return [TITLES[metric] for metric in metrics_of(entries[0] if entries else ())]


def figure_cell(row: Mapping[str, Any], column: Column) -> str:
    """A figure of a row of `summarize` as text; `-` where there is none."""
    return cell(_figure(row, column), column.digits)


def _figure(row: Mapping[str, Any], column: Column) -> Sequence[float]:
    return row["figures"].get(column.key, (math.nan, math.nan))


def cell(figures: Sequence[float], digits: int) -> str:
    """`0.712 ± 0.004`; without the second part for one seed, and `-` for none."""
    mean, spread = figures
    if math.isnan(mean):
        return "-"
    text = f"{mean:.{digits}f}"
    return text if math.isnan(spread) else f"{text} ± {spread:.{digits}f}"


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _extreme(choose: Any, values: Sequence[float]) -> float:
    """The smallest or largest; NaN where there is none or one is undefined."""
    if not values or any(map(math.isnan, values)):
        return math.nan
    return float(choose(values))


def _farthest_from_one(slopes: Sequence[float]) -> float:
    if not slopes or any(map(math.isnan, slopes)):
        return math.nan
    return max(slopes, key=_distance_from_one)


def _distance_from_one(slope: float) -> float:
    """0.5 is as far as 2; what is not positive is farther than all that is."""
    return abs(math.log(slope)) if slope > 0 else math.inf
