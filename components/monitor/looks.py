"""One look at a served model: new examples, more evidence, a verdict.

The chance that anything at all is ever called broken while all holds is at most 1 -
confidence, whatever the number of looks: each watch may err with its own level, and
these add up to no more.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from components.invariance_validator.kinds import SPLITS, slice_name
from components.monitor import quantities, reference, sequences
from components.monitor import rows as rows_lib
from components.monitor.state import State, Stretch, Watched
from components.monitor.watches import Follow, Watch, known, shifts

HOLDS, BROKEN = "HOLDS", "BROKEN"
EVAL, OOD = SPLITS
# Of what may be spent, for the slices that the release measured; the rest is for those
# that come later.
_FIRST = 0.8
_MOST_UNITS = 10_000
_MOST_VALUE = 1e100  # of a squared error; sums of more would not be finite


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked of the stream.

    Attributes:
      task: of the model.
      confidence: of the verdict.
      follows: sides of the config's checks, and of `monitor`.
      slices: features to slice by; () and the environment among them.
      evaluated: of the release, see `reference`; {} where it tells nothing.
      training: names of the environments that were trained on; None: not known.
      held_out: names of those that were held out.
      score_shift: see `watches.shifts`.
    """

    task: str
    confidence: float
    follows: Sequence[Follow]
    slices: Sequence[tuple[str, ...]]
    evaluated: Mapping[str, Sequence[Mapping[str, Any]]]
    training: frozenset[str] | None = None
    held_out: frozenset[str] = frozenset()
    score_shift: float | None = None

    @property
    def expected(self) -> list[Watch]:
        """The watches that are known before any data."""
        return [
            *known(self.follows, self.evaluated),
            *shifts(self.evaluated, self.task, self.score_shift),
        ]

    def split_of(self, environment: str) -> str:
        """`eval` for an environment that was trained on, else `ood`."""
        if self.training is None:
            return OOD if environment in self.held_out else EVAL
        return EVAL if environment in self.training else OOD

    def is_new(self, environment: str) -> bool:
        """Whether the release says nothing of it."""
        return self.training is not None and (
            environment not in self.training and environment not in self.held_out
        )


def told(quantity: str) -> str:
    """A quantity in words."""
    if quantity.startswith(quantities.MISSING):
        column = quantity.removeprefix(quantities.MISSING)
        return f"the share of missing values of {column!r}"
    if quantity.startswith(quantities.BELOW):
        low, high = _edges(quantity)
        return f"the share of scores below {(low + high) / 2:.3g}"
    if quantity in ("calibration_gap", "calibration_shift"):
        return "mean label less mean prediction"
    return f"{quantity.replace('_', ' ')}"


def judge(rows: rows_lib.Rows, plan: Plan, state: State) -> None:
    """Adds a look to a state.

    Args:
      rows: of the look; one at least.
      plan: what is asked.
      state: is changed; its files are the caller's.
    """
    state.looks += 1
    found, invalid = quantities.measure(plan.task, rows.labels, rows.predictions)
    state.invalid += int(invalid.sum())
    places = _places(rows, plan)
    if state.looks == 1:
        _give_levels(plan.expected, plan, state, _FIRST)
    later = {watch.key: watch for watch in _watches(plan, places)}
    _give_levels([w for k, w in later.items() if k not in state.watched], plan, state)
    for one in state.watched.values():
        place = places.get((one.watch.split, one.watch.slice))
        values = _values(one.watch.quantity, rows, found)
        if place is not None and values is not None:
            scores = None
            if one.watch.quantity == "calibration_shift":
                scores = _scores(found)
            _add(one, values, scores, place.rows, rows, state)
    _remember(rows, state)


def findings(state: State) -> list[Watched]:
    """The watches that have had data, the broken ones first."""
    listed = [one for one in state.watched.values() if one.all.examples]
    return sorted(listed, key=lambda one: (one.broken is None, one.watch.key))


def verdict(state: State) -> str:
    """BROKEN where anything is shown to be beyond its bound, or is no prediction."""
    is_broken = any(one.broken for one in state.watched.values())
    return BROKEN if is_broken or state.invalid else HOLDS


def reasons(state: State) -> list[str]:
    """A sentence for each thing that is broken."""
    found = []
    if state.invalid:
        found.append(
            f"{state.invalid:,} predictions are none: NaN, or outside of what the task"
            " has"
        )
    return found + [_sentence(one) for one in findings(state) if one.broken]


def _sentence(one: Watched) -> str:
    watch, since = one.watch, one.since
    beyond = "above" if watch.side == "max" else "below"
    odds = math.exp(min(float(one.evidence.peak), 30))
    return (
        f"{watch.check} on {watch.slice} ({watch.split}): {told(watch.quantity)} is"
        f" {watch.figure(since.mean):.4g}, {beyond} {watch.bound:.4g}, over"
        f" {since.examples:,} examples since look {since.look}; were the bound kept,"
        f" less than 1 of {odds:,.0f} streams would ever show that"
    )


def to_json(one: Watched) -> dict[str, Any]:
    """A watch for the record."""
    watch = one.watch
    return {
        **dataclasses.asdict(watch),
        "value": watch.figure(one.all.mean) if one.all.examples else None,
        "value_since": watch.figure(one.since.mean) if one.since.examples else None,
        "since_look": one.since.look,
        "examples": one.all.examples,
        "looks": one.evidence.looks,
        "log_evidence": float(one.evidence.peak),
        "log_needed": one.needed,
        "broken": one.broken,
    }


def shared_units(rows: rows_lib.Rows, state: State) -> int:
    """How many units of a look stood in the one before: those are cut in two."""
    if rows.units is None:
        return 0
    before = set(state.units)
    return sum(f"{unit:016x}" in before for unit in np.unique(rows.units).tolist())


def _remember(rows: rows_lib.Rows, state: State) -> None:
    if rows.units is not None:
        distinct = np.unique(rows.units)[:_MOST_UNITS].tolist()
        state.units = [f"{unit:016x}" for unit in distinct]


@dataclasses.dataclass(frozen=True)
class _Place:
    """A slice of a look: its features, a floor's values, and its rows."""

    features: tuple[str, ...]
    rows: np.ndarray
    floor: bool = False


def _places(rows: rows_lib.Rows, plan: Plan) -> dict[tuple[str, str], _Place]:
    """(split, slice) -> where it is."""
    names = {name: plan.split_of(name) for name in set(rows.environments.tolist())}
    splits = np.array([names[name] for name in rows.environments.tolist()])
    found: dict[tuple[str, str], _Place] = {}
    for split in SPLITS:
        chosen = np.flatnonzero(splits == split)
        if not len(chosen):
            continue
        kept = frozenset(
            slice_name(tuple((f, v) for f, v in entry["slice"]))
            for entry in plan.evaluated.get(split, ())
        )
        for features in plan.slices:
            for name, at in rows_lib.sliced(rows, chosen, features, kept).items():
                found[split, name] = _Place(features, at)
        for floor in (f.slice for f in plan.follows if f.slice is not None):
            at = rows_lib.in_slice(rows, chosen, floor)
            features = tuple(feature for feature, _ in floor)
            if len(at):
                found.setdefault((split, slice_name(floor)), _Place(features, at))
    return found


def _watches(plan: Plan, places: Mapping[tuple[str, str], _Place]) -> Iterator[Watch]:
    """All that the slices of a look are held to, but for the shift of their scores."""
    for follow in plan.follows:
        for (split, name), place in places.items():
            is_floor = follow.slice is not None and slice_name(follow.slice) == name
            if split in follow.splits and (is_floor or follow.looks_at(place.features)):
                watch = follow.at(split, name)
                if watch.can_break:
                    yield watch


def _give_levels(
    watches: Sequence[Watch], plan: Plan, state: State, share: float | None = None
) -> None:
    """Shares out what may be spent.

    The slices of the release take `_FIRST` of it evenly, before any data. Each time
    that other slices come, the g-th such time, they take 1 / (g (g + 1)) of the rest.
    """
    if not watches:
        return
    if share is None:
        state.generations += 1
        rest = (1 - _FIRST) if plan.expected else 1.0
        share = rest / (state.generations * (state.generations + 1))
    level = share * (1 - plan.confidence) / len(watches)
    for watch in watches:
        first = Stretch(state.looks), Stretch(state.looks)
        state.watched[watch.key] = Watched(watch, level, sequences.start(), *first)


def _values(
    quantity: str, rows: rows_lib.Rows, found: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """The quantity of each row; None where these rows have none."""
    if quantity.startswith(quantities.MISSING):
        absent = rows.missing.get(quantity.removeprefix(quantities.MISSING))
        return None if absent is None else absent.astype(np.float64)
    if quantity.startswith(quantities.BELOW):
        scores = _scores(found)
        return None if scores is None else reference.ramp(scores, *_edges(quantity))
    return found.get(quantity)


def _scores(found: Mapping[str, np.ndarray]) -> np.ndarray | None:
    return next((found[name] for name in quantities.UNLABELLED if name in found), None)


def _edges(quantity: str) -> tuple[float, float]:
    low, high = quantity.removeprefix(quantities.BELOW).split(":")
    return float(low), float(high)


def _add(
    one: Watched,
    values: np.ndarray,
    given: np.ndarray | None,
    chosen: np.ndarray,
    rows: rows_lib.Rows,
    state: State,
) -> None:
    """Adds the rows of a slice to a watch.

    Args:
      one: the watch.
      values: the quantity of every row of the look, NaN where there is none.
      given: what is known of each before it, so that the quantity is x - given with x
        in [0, 1]; None where nothing is.
      chosen: rows of the slice.
      rows: of the look.
      state: for the number of the look.
    """
    watch = one.watch
    weights = np.ones(len(values)) if rows.weights is None else rows.weights
    use = chosen[~np.isnan(values[chosen]) & (weights[chosen] > 0)]
    if not len(use):
        return
    units = None if rows.units is None else rows.units[use]
    turned = np.clip(watch.turned(values[use]), 0.0, _MOST_VALUE)
    turned, sizes = _means(turned, weights[use], units)
    most: float | np.ndarray = watch.most
    staked = turned
    if given is not None:
        known, _ = _means(given[use], weights[use], units)
        # From x - given to x, or to 1 - x, and its bound alike.
        taken = 1 - known if watch.side == "max" else known
        staked, most = np.maximum(turned - taken, 0.0), watch.most - taken
    one.evidence = sequences.add(one.evidence, sequences.stakes(staked, most, sizes))
    if not one.since.examples or one.since.mean <= watch.most:
        one.since = Stretch(state.looks)
    for stretch in (one.all, one.since):
        stretch.examples += len(use)
        stretch.weight += float(sizes.sum())
        stretch.total += float(sizes @ turned)
    if one.broken is None and float(one.evidence.peak) >= one.needed:
        one.broken = state.looks


def _means(
    values: np.ndarray, weights: np.ndarray, units: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of each unit, and how much of a bet is laid on it."""
    if units is None:
        return values, weights / weights.max()
    _, index = np.unique(units, return_inverse=True)
    index = index.reshape(-1)
    means = np.bincount(index, weights * values) / np.bincount(index, weights)
    return means, np.ones(len(means))
