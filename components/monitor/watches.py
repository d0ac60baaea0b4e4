"""From a config's checks to the means that a stream is held to, and what none can.

A check that bounds the mean of something of each example can be followed example by
example. One that is no mean (an AUC, a slope), or compares two slices or two models,
cannot: it is named, with what follows it best.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.invariance_validator.kinds import (
    ENVIRONMENT,
    SPLITS,
    Check,
    slice_name,
)
from components.invariance_validator.metrics import REGRESSION, TASKS
from components.monitor import quantities

SHIFT, CALIBRATION, MISSING = "score_shift", "calibration", "missing"
_ROOT = "root_mean_squared_error"
_WHY_NOT = {
    "gap": "compares two slices",
    "score_distance": "compares two slices; monitor.score_shift follows the scores",
    "risk_variance": "compares slices; bound the risk itself with worst",
    "ood_drop": "compares environments; bound the metric itself with worst",
    "baseline": "compares two models, and one is served",
    "robustness": "needs an attack, and a stream has none",
    "calibration_slope": "is no mean; monitor.calibration follows the calibration",
}


@dataclasses.dataclass(frozen=True)
class Follow:
    """One side of a check, for all slices where it looks.

    Attributes:
      check: its name: `worst.log_loss`.
      quantity: of `quantities`, whose mean is bounded.
      side: `max` or `min`.
      bound: of that mean.
      splits: of `SPLITS`.
      over: features to slice by, () for all examples; None: all, and each alone.
      slice: of a floor; otherwise None.
    """

    check: str
    quantity: str
    side: str
    bound: float
    splits: tuple[str, ...] = SPLITS
    over: tuple[tuple[str, ...], ...] | None = None
    slice: tuple[tuple[str, str], ...] | None = None

    def looks_at(self, features: tuple[str, ...]) -> bool:
        """Whether it bounds the slices by these features."""
        if self.slice is not None:
            return False
        if self.over is None:
            return len(features) < 2
        return sorted(features) in [sorted(scope) for scope in self.over]

    def at(self, split: str, name: str) -> "Watch":
        """The same for one slice."""
        place = (self.check, self.quantity, self.side, self.bound)
        return Watch(*place, split, name)


@dataclasses.dataclass(frozen=True)
class Watch:
    """A mean of one slice, held to one bound.

    Attributes:
      check, quantity, side, bound: as of `Follow`.
      split: of environments that were trained on (`eval`) or not (`ood`).
      slice: its name.
    """

    check: str
    quantity: str
    side: str
    bound: float
    split: str
    slice: str

    @property
    def key(self) -> str:
        """Its name in the state."""
        names = (self.check, self.quantity, self.side, self.split, self.slice)
        return " ".join(names)

    @property
    def place(self) -> tuple[str, str]:
        """Split and slice."""
        return self.split, self.slice

    @property
    def most(self) -> float:
        """The largest mean of what `turned` makes of the quantity."""
        low, high = quantities.range_of(self.quantity)
        return self.bound - low if self.side == "max" else high - self.bound

    def turned(self, values: Any) -> Any:
        """The quantity from its known end on: >= 0; its own inverse but for the end."""
        low, high = quantities.range_of(self.quantity)
        return values - low if self.side == "max" else high - values

    def figure(self, turned: float) -> float:
        """The quantity again, of what was turned."""
        low, high = quantities.range_of(self.quantity)
        return turned + low if self.side == "max" else high - turned

    @property
    def can_break(self) -> bool:
        """Whether any data could be beyond the bound."""
        low, high = quantities.range_of(self.quantity)
        return self.bound < high if self.side == "max" else self.bound > low


def follow(checks: Sequence[Check]) -> tuple[list[Follow], dict[str, str]]:
    """What of the checks a stream can be held to.

    Args:
      checks: parsed.

    Returns:
      The sides, and check -> why it is not followed.
    """
    found: list[Follow] = []
    not_followed: dict[str, str] = {}
    for check in checks:
        sides = list(_sides(check))
        if sides:
            found += sides
        else:
            why = _WHY_NOT.get(check.kind)
            instead = ""
            if check.task != REGRESSION and check.metric.startswith("calibration"):
                instead = "; monitor.calibration follows the calibration"
            not_followed[check.name] = why or f"{check.metric} is no mean{instead}"
    return found, not_followed


def _sides(check: Check) -> Iterator[Follow]:
    low, high, quantity = check.minimum, check.maximum, check.metric
    if check.kind == "calibration_error" and high is not None:
        # The error of all bins together is at least that of all examples as one bin.
        low, high, quantity = -high, high, "calibration_gap"
    elif check.kind not in ("worst", "floor"):
        return
    if quantity == _ROOT and high is not None:
        quantity, high, low = "mean_squared_error", high**2, None
    if quantity not in quantities.RANGES:
        return
    if (
        check.task == REGRESSION
        and quantity.startswith("mean_")
        and not (quantity.endswith("_error"))
    ):
        return  # labels and predictions of a regression have no ends
    ends = quantities.range_of(quantity)
    place = (check.splits, check.over, check.slice)
    if high is not None and math.isfinite(ends[0]):
        yield Follow(check.name, quantity, "max", high, *place)
    if low is not None and math.isfinite(ends[1]):
        yield Follow(check.name, quantity, "min", low, *place)


def calibration(task: str, most: float | None) -> list[Follow]:
    """|mean label - mean prediction| of each environment is at most this.

    Given the predictions, which are known before the labels: of labels >= 0 the mean is
    then at most mean prediction + `most`, a far nearer bound than that of a difference
    which may be -1. So it is found several times sooner where labels are rare.
    """
    if most is None or task == REGRESSION:
        return []
    over = ((ENVIRONMENT,),)
    return [
        Follow(CALIBRATION, "calibration_shift", side, bound, SPLITS, over)
        for side, bound in (("max", most), ("min", -most))
    ]


def missing(columns: Sequence[str], most: float | None) -> list[Follow]:
    """No column misses a larger share of its values than this, in an environment."""
    if most is None:
        return []
    return [
        Follow(
            MISSING, quantities.MISSING + name, "max", most, SPLITS, ((ENVIRONMENT,),)
        )
        for name in columns
    ]


def shifts(
    evaluated: Mapping[str, Sequence[Mapping[str, Any]]], task: str, most: float | None
) -> list[Watch]:
    """Each environment's scores are where they were at the release.

    Args:
      evaluated: of the release, see `reference`.
      task: of the model.
      most: by how much the mean, and the share below a place, may be off.

    Returns:
      For each environment with a reference, both sides of each.
    """
    score = TASKS[task].score
    if most is None or score is None:
        return []
    found = []
    for split, entries in evaluated.items():
        for entry in entries:
            pairs = [(feature, value) for feature, value in entry["slice"]]
            if [feature for feature, _ in pairs] != [ENVIRONMENT]:
                continue
            held = [] if entry["mean"] is None else [(score, entry["mean"])]
            held += [
                (f"{quantities.BELOW}{low!r}:{high!r}", share)
                for low, high, share in entry["below"]
            ]
            for quantity, value in held:
                for side, bound in (("max", value + most), ("min", value - most)):
                    place = (split, slice_name(tuple(pairs)))
                    found.append(Watch(SHIFT, quantity, side, bound, *place))
    return [watch for watch in found if watch.can_break]


def known(
    follows: Sequence[Follow], evaluated: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Watch]:
    """The watches of all slices that the release measured, and of the floors."""
    found = []
    for one in follows:
        for split, entries in evaluated.items():
            if split not in one.splits:
                continue
            for entry in entries:
                pairs = tuple((feature, value) for feature, value in entry["slice"])
                if one.looks_at(tuple(feature for feature, _ in pairs)) or (
                    one.slice is not None and sorted(one.slice) == sorted(pairs)
                ):
                    found.append(one.at(split, slice_name(pairs)))
    return [watch for watch in dict.fromkeys(found) if watch.can_break]
