"""The kinds of checks, and a check as it is parsed.

Imports neither TFX nor NumPy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components import attack as attacks
from components.attack import Attack
from components.invariance_validator import metrics
from components.invariance_validator.metrics import (
    BINARY,
    CALIBRATION_ERROR,
    CALIBRATION_SLOPE,
    RISK_VARIANCE,
    SCORE_DISTANCE,
)

ENVIRONMENT = "environment"
SPLITS = ("eval", "ood")
OVERALL: tuple[str, ...] = ()
ROBUSTNESS = "robustness"
SEVERAL = ("floor", ROBUSTNESS)  # kinds whose metric may have a list of leaves

Slice = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Kind:
    """What the config says of a kind of check.

    Attributes:
      bounds: keys, one of which at least is given.
      metric: what it judges; None where the config names a metric below the kind.
      places: the other keys.
      unit: what it judges: `slices`, `pairs` or `groups` of slices.
      least: how it bounds: None anywhere in the metric's range, else what the bound
        must be to 0: `above` or `at least`.
    """

    bounds: tuple[str, ...]
    metric: str | None = None
    places: tuple[str, ...] = ("split", "over")
    unit: str = "slices"
    least: str | None = None

    @property
    def compares(self) -> bool:
        """Whether it takes two slices."""
        return self.unit != "slices"


KINDS = {
    "worst": Kind(("min", "max")),
    "floor": Kind(("min", "max"), places=("slice", "split")),
    ROBUSTNESS: Kind(("min", "max"), places=("split", "over", *attacks.KEYS)),
    "gap": Kind(("max",), unit="pairs", least="above"),
    CALIBRATION_SLOPE: Kind(("min", "max"), CALIBRATION_SLOPE),
    CALIBRATION_ERROR: Kind(("max",), CALIBRATION_ERROR, least="above"),
    SCORE_DISTANCE: Kind(("max",), SCORE_DISTANCE, unit="pairs", least="above"),
    RISK_VARIANCE: Kind(("max",), RISK_VARIANCE, unit="groups", least="above"),
    "ood_drop": Kind(("max",), places=(), least="at least"),
    "baseline": Kind(("max_drop", "max_rise"), least="at least"),
}


@dataclass(frozen=True)
class Check:
    """One check: a metric, or what is made of it, must lie between two bounds.

    Attributes:
      kind: worst (the metric of each slice), floor (of one named slice), robustness (as
        worst, of the attacked candidate), gap (absolute difference of two slices),
        calibration_slope and calibration_error (as worst), score_distance (of two
        slices), risk_variance (of the task's risk over slices), ood_drop (how much
        worse a held-out environment than the trained ones) or baseline (candidate minus
        released model).
      metric: of the task's metrics or norms.
      minimum: the compared number must be at least this, or None.
      maximum: the compared number must be at most this, or None.
      splits: of `SPLITS`.
      over: features to slice by, a tuple each (`()` is overall); None: overall,
        environment and every single feature.
      split_named: whether the config names the splits: then each must be there.
      slice: of floor, (feature, value) pairs; () is overall. Otherwise None.
      task: of `metrics.TASKS`.
      attack: of robustness; otherwise None.
    """

    kind: str
    metric: str
    minimum: float | None
    maximum: float | None
    splits: tuple[str, ...] = SPLITS
    over: tuple[tuple[str, ...], ...] | None = None
    split_named: bool = False
    slice: Slice | None = None
    task: str = BINARY
    attack: Attack | None = None

    @property
    def of_task(self) -> metrics.Task:
        """What is known of its task."""
        return metrics.TASKS[self.task]

    @property
    def info(self) -> metrics.Metric:
        """What is known of its metric."""
        return self.of_task.info(self.metric)

    @property
    def name(self) -> str:
        """The path in the config: `worst.auc`, `calibration_slope`.

        Of a floor with its slice: `floor.auc.environment=LGA,carrier=UA`; of robustness
        with its attack: `robustness.log_loss.fgsm-linf-0.1`.
        """
        if KINDS[self.kind].metric:
            return self.kind
        name = f"{self.kind}.{self.metric}"
        if self.attack is not None:
            return f"{name}.{self.attack.name}"
        return name if self.slice is None else f"{name}.{slice_name(self.slice)}"

    @property
    def unit(self) -> str:
        """`slices`, `pairs` or `groups`."""
        return KINDS[self.kind].unit


@dataclass(frozen=True)
class Rule:
    """When a check passes.

    Attributes:
      confidence: of each one-sided bound, 0.5 <= confidence < 1.
      min_examples: a slice with fewer decides nothing.
      allow_insufficient: names of checks that may end without enough data.
    """

    confidence: float = 0.95
    min_examples: int = 200
    allow_insufficient: tuple[str, ...] = ()


def slice_name(pairs: Slice) -> str:
    """`overall` or `environment=EWR,carrier=UA`."""
    return ",".join(f"{feature}={value}" for feature, value in pairs) or "overall"


def leaves(checks: Any) -> Iterator[tuple[str, str, Any]]:
    """(kind, metric, leaf) of every well-formed branch; `SEVERAL` may have lists."""
    if not isinstance(checks, Mapping):
        return
    for name, section in checks.items():
        kind = KINDS.get(name)
        if kind is None or not isinstance(section, Mapping):
            continue
        if kind.metric:
            if section:
                yield name, kind.metric, section
            continue
        for metric, leaf in section.items():
            several = name in SEVERAL and isinstance(leaf, list | tuple)
            for part in leaf if several else [leaf]:
                yield name, metric, part


def kinds_of(task: metrics.Task) -> list[str]:
    """The kinds of checks that a task has."""
    return [
        name
        for name, kind in KINDS.items()
        if kind.metric is None or kind.metric in {**task.metrics, **task.norms}
    ]


def parse(kind: str, metric: str, leaf: Mapping[str, Any], task: str = BINARY) -> Check:
    """A leaf that has no problem, as a check."""
    low, high = leaf.get("min"), leaf.get("max")
    if kind == "baseline":
        drop, high = leaf.get("max_drop"), leaf.get("max_rise")
        low = None if drop is None else 0.0 - drop
    split = leaf.get("split")
    splits = (split,) if isinstance(split, str) else tuple(split or SPLITS)
    return Check(
        kind=kind,
        metric=metric,
        minimum=None if low is None else float(low),
        maximum=None if high is None else float(high),
        splits=splits,
        over=parse_over(leaf.get("over")),
        split_named=split is not None,
        slice=parse_slice(leaf["slice"]) if kind == "floor" else None,
        task=task,
        attack=attacks.parse(leaf) if kind == ROBUSTNESS else None,
    )


def attacks_of(checks: Mapping[str, Any]) -> list[Attack]:
    """The attacks of well-formed checks, each once, in the order of the config."""
    found = [parse(*leaf).attack for leaf in leaves(checks) if leaf[0] == ROBUSTNESS]
    return list(dict.fromkeys(one for one in found if one is not None))


def parse_over(over: Any) -> tuple[tuple[str, ...], ...] | None:
    """`over` as tuples of features; None where nothing is said."""
    if over is None:
        return None
    items = [over] if isinstance(over, str) else over
    scopes = ((item,) if isinstance(item, str) else tuple(item) for item in items)
    return tuple(OVERALL if scope == ("overall",) else scope for scope in scopes)


def parse_slice(values: Mapping[str, Any]) -> Slice:
    """A slice's values as the counts write them."""
    return tuple((feature, str(value)) for feature, value in values.items())
