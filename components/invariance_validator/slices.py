"""The slices that a check looks at: those evaluated, and those that should have been.

The counts on the Examples say which values there are, so one that vanished on the way
is noticed. Values with fewer than `min_examples` were pooled into `other` before
slicing; they are listed, not expected.
"""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.invariance_validator import metrics, spreads
from components.invariance_validator.kinds import ENVIRONMENT, OVERALL

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

OTHER = "other"
CANDIDATE = "candidate"
MIN_PER_CLASS = 20
_LEAST_MISSES = 3
PASS, INSUFFICIENT_DATA, FAIL = "PASS", "INSUFFICIENT_DATA", "FAIL"

Key = tuple[tuple[str, str], ...]
Problem = tuple[str, str]


@dataclass(frozen=True)
class Cell:
    """A slice of a split: what was evaluated, and what was to be expected.

    Attributes:
      split: eval or ood.
      key: (feature, value) pairs; () is overall.
      result: the candidate's (attacked, where a check says so), or None where it was
        not evaluated.
      baseline: the released model's, or None.
      expected: examples according to the counts, or None where they do not say.
    """

    split: str
    key: Key
    result: "SliceResult | None" = None
    baseline: "SliceResult | None" = None
    expected: int | None = None

    @property
    def name(self) -> str:
        """`overall` or `environment=EWR,carrier=UA`."""
        return ",".join(f"{f}={v}" for f, v in self.key) or "overall"

    @property
    def examples(self) -> int:
        """Examples evaluated, or else expected."""
        if self.result is not None:
            return self.result.examples
        return self.expected or 0

    @property
    def is_other(self) -> bool:
        """Whether pooled values are in it."""
        return any(v == OTHER and f != ENVIRONMENT for f, v in self.key)

    def problem(
        self, metric: str, min_examples: int, compared: bool = False
    ) -> Problem | None:
        """Why a metric of this slice can decide nothing.

        Args:
          metric: a key of `SliceResult.metrics`.
          min_examples: that a slice needs.
          compared: whether it is subtracted from another; few events have exact limits
            for a share, but not for a difference of shares.

        Returns:
          The verdict (FAIL or INSUFFICIENT_DATA) and the predicate of a sentence
          whose subject is the slice; None where value and interval are there.
        """
        result, expected = self.result, self.expected
        if result is not None and expected not in (None, self.examples):
            return FAIL, (
                f"has {count(expected or 0)} in the data, but {self.examples:,} were"
                " evaluated"
            )
        if self.examples < min_examples:
            more = min_examples - self.examples
            return INSUFFICIENT_DATA, (
                f"has only {self.examples:,} of the {count(min_examples)} needed;"
                f" {more:,} more would do"
            )
        if result is None:
            return FAIL, (
                f"has {count(self.examples)} in the data but was not evaluated"
            )
        problem = _class_problem(result, metric, compared)
        return problem or estimate_problem(result, metric, compared=compared)

    def needed(self, metric: str, min_examples: int) -> int | None:
        """Examples with which a slice that is too small could be judged, or None."""
        if self.examples < min_examples:
            return min_examples
        rare = MIN_PER_CLASS
        if self.result is not None:
            rare = spreads.rarer(self.result, metric)
        if not 0 < rare < MIN_PER_CLASS:
            return None
        return round_up(self.examples * MIN_PER_CLASS / rare)


def _class_problem(
    result: "SliceResult", metric: str, compared: bool
) -> Problem | None:
    if result.task != metrics.BINARY:
        return _few_problem(result, metric, compared)
    if not 0 <= result.positives <= result.examples:
        impossible = f"{result.positives:,} positives of {count(result.examples)}"
        return FAIL, f"has {impossible}, which cannot be"
    negatives = result.examples - result.positives
    rare = "positive" if result.positives <= negatives else "negative"
    found = min(result.positives, negatives)
    share_of = spreads.info(result, metric).share_of
    exact = share_of == "examples" or (share_of == "pairs" and found > 0)
    if found >= MIN_PER_CLASS or (exact and not compared):
        return None
    text = f"has only {found} of the {count(MIN_PER_CLASS, f'{rare} example')} needed"
    if found > 0:
        total = rounded(result.examples * MIN_PER_CLASS / found)
        text += f"; about {total} examples in all would do"
    return INSUFFICIENT_DATA, text


def _few_problem(result: "SliceResult", metric: str, compared: bool) -> Problem | None:
    """As `_class_problem`, of several classes or of a regression."""
    share_of, what = spreads.info(result, metric).share_of, "example"
    found = spreads.rarer(result, metric)
    of_class = result.class_examples
    if result.task == metrics.MULTICLASS:
        if sum(of_class) != result.examples or min(of_class, default=-1) < 0:
            impossible = f"{count(result.examples)} of classes of {list(of_class)}"
            return FAIL, f"has {impossible}, which cannot be"
        if share_of == "classes":
            what = f"example of class {of_class.index(found)}" if found else what
        else:
            what = f"example outside of class {of_class.index(max(of_class))}"
    if found >= MIN_PER_CLASS or (share_of == "examples" and not compared):
        return None
    plural = what.replace("example", "examples", 1)
    text = f"has only {found} of the {MIN_PER_CLASS} {plural} needed"
    if found > 0 and result.task == metrics.MULTICLASS:
        total = rounded(result.examples * MIN_PER_CLASS / found)
        text += f"; about {total} examples in all would do"
    return INSUFFICIENT_DATA, text


_INVALID = {
    metrics.BINARY: "that are not a number from 0 to 1",
    metrics.MULTICLASS: "that are not probabilities with a sum of 1",
    metrics.REGRESSION: "that are not a finite number",
}


def estimate_problem(
    result: "SliceResult", metric: str, owner: str = "", compared: bool = False
) -> Problem | None:
    """Why an evaluated metric can decide nothing, as `Cell.problem`.

    Args:
      result: of a slice.
      metric: a key of its metrics.
      owner: who has the metric, if not the candidate (" of the released model").
      compared: as for `Cell.problem`.
    """
    if result.invalid_predictions:
        invalid = count(result.invalid_predictions, "prediction")
        return FAIL, f"has {invalid}{owner} {_INVALID[result.task]}"
    estimate = result.metrics.get(metric)
    if estimate is None:
        return FAIL, f"has no {metric}{owner}: it was not computed"
    if not math.isfinite(estimate.value):
        return FAIL, f"has an undefined {metric}{owner} ({estimate.value})"
    kind = spreads.info(result, metric)
    if not kind.lower <= estimate.value <= kind.upper:
        return FAIL, f"has an impossible {metric}{owner} ({estimate.value:g})"
    spread = spreads.single(result, metric, exact=not compared)
    if not spread.usable:
        if spread.outer is not None and spread.dof >= 1:
            why = f"nearly all that its {metric}{owner} comes from is in one block"
        elif math.isfinite(spread.error):
            why = f"its {metric}{owner} is the same in every block"
        else:
            why = f"its {metric}{owner} is undefined without one of the blocks"
        return INSUFFICIENT_DATA, (
            f"has no interval, for {why} of the data; only examples of more blocks"
            " would do"
        )
    misses = spreads.misses(result, metric) if compared else math.inf
    if misses < _LEAST_MISSES:
        return INSUFFICIENT_DATA, (
            f"is too close to the end of {metric}'s range to be compared{owner}:"
            f" {misses:.1f} examples make the difference, and it takes {_LEAST_MISSES}"
        )
    return None


class SliceTable:
    """All cells by split and features."""

    def __init__(
        self,
        results: "Sequence[SliceResult]",
        counts: Mapping[str, Any],
        min_examples: int,
    ):
        """Files results and counts; cells have the results of `candidate`.

        Args:
          results: of both splits and models.
          counts: of the Examples.
          min_examples: values with fewer were pooled.

        Raises:
          ValueError: a slice is there twice.
        """
        self._judged = CANDIDATE
        self._counts = counts
        self._min_examples = min_examples
        self._found: dict[tuple, dict[frozenset, dict[str, SliceResult]]] = {}
        for result in results:
            scope = (result.split, frozenset(f for f, _ in result.slice))
            models = self._found.setdefault(scope, {}).setdefault(
                frozenset(result.slice), {}
            )
            if result.model in models:
                raise ValueError(
                    f"slice {result.name} of split {result.split} was evaluated twice"
                    f" for model {result.model}; evaluate it once"
                )
            models[result.model] = result
        self.has_baseline = any(result.model == "baseline" for result in results)

    def of(self, model: str) -> "SliceTable":
        """The same slices, whose cells have the results of another model.

        Args:
          model: under which the candidate was evaluated, such as an attack's.
        """
        table = copy.copy(self)
        table._judged = model
        return table

    def features(self, split: str) -> list[str]:
        """Single features that a split is sliced by, environment first."""
        names = {name for (s, scope) in self._found if s == split for name in scope}
        singles = {n for n in names if (split, frozenset([n])) in self._found}
        for key in self._counts.get("slices", {}).get(split, {}):
            features = json.loads(key)
            if len(features) == 1:
                singles.update(features)
        return [ENVIRONMENT, *sorted(singles - {ENVIRONMENT})]

    def scopes(self, split: str) -> list[tuple[str, ...]]:
        """Everything that a split was sliced by: overall, features, crosses."""
        singles = [OVERALL, *((name,) for name in self.features(split))]
        crosses = {
            tuple(f for f, _ in next(iter(models.values())).slice)
            for (s, scope), found in self._found.items()
            if s == split and len(scope) > 1
            for models in found.values()
        }
        return [*singles, *sorted(crosses)]

    def has_split(self, split: str) -> bool:
        """Whether there is anything in a split, evaluated or not."""
        return any(s == split for s, _ in self._found) or any(
            entry.get("splits", {}).get(split, {}).get("examples", 0)
            for entry in self._counts.get("environments", {}).values()
        )

    def cells(self, split: str, scope: tuple[str, ...]) -> list[Cell]:
        """The slices of a split by some features, found or expected.

        Args:
          split: eval or ood.
          scope: features; () is overall.

        Returns:
          Cells in the order of the counts, then by name. Pooled values are left out,
          and so is an `other` with fewer than `min_examples`.
        """
        expected = self._expected(split, scope)
        found = self._found.get((split, frozenset(scope)), {})
        cells = []
        for pairs in [*expected, *(p for p in found if p not in expected)]:
            models = found.get(pairs, {})
            judged, baseline = models.get(self._judged), models.get("baseline")
            # What one model was evaluated on, another must be evaluated on.
            other = None if self._judged == CANDIDATE else models.get(CANDIDATE)
            if judged is None and other is None:
                other = baseline
            number = expected.get(pairs)
            if number is None and other is not None:
                number = other.examples
            key = judged.slice if judged else _ordered(pairs, scope)
            cell = Cell(split, key, judged, baseline, number)
            if not (cell.is_other and self._few(cell.examples)):
                cells.append(cell)
        if scope == (ENVIRONMENT,):
            return cells
        return sorted(cells, key=lambda cell: cell.name)

    def pooled(self) -> dict[str, dict[str, list[list[Any]]]]:
        """Values that were pooled into `other`.

        Returns:
          split -> features (`carrier`, `environment,carrier`) -> [[value, examples]],
          the most examples first.
        """
        pooled: dict[str, dict[str, list[list[Any]]]] = {}
        for split, features in self._counts.get("slices", {}).items():
            for key, values in features.items():
                names = json.loads(key)
                few = [[",".join(map(str, v)), n] for v, n in values if self._few(n)]
                if few and split != "train" and set(names) != {ENVIRONMENT}:
                    few.sort(key=lambda item: (-item[1], item[0]))
                    pooled.setdefault(split, {})[",".join(names)] = few
        return pooled

    def counted(self, split: str, key: Key) -> int:
        """Examples of a slice by the counts, pooled or not; 0 where they name none."""
        wanted = frozenset(key)
        scope = tuple(feature for feature, _ in key)
        if scope in (OVERALL, (ENVIRONMENT,)):
            return self._expected(split, scope).get(wanted, 0)
        for text, values in self._counts.get("slices", {}).get(split, {}).items():
            names = json.loads(text)
            if set(names) == set(scope):
                for value, number in values:
                    if frozenset(zip(names, map(str, value), strict=True)) == wanted:
                        return int(number)
        return 0

    def _few(self, number: int) -> bool:
        return number < self._min_examples

    def _expected(self, split: str, scope: tuple[str, ...]) -> dict[frozenset, int]:
        environments = self._counts.get("environments", {})
        sizes = {
            name: entry.get("splits", {}).get(split, {}).get("examples", 0)
            for name, entry in environments.items()
        }
        if scope == OVERALL:
            return {frozenset(): sum(sizes.values())} if any(sizes.values()) else {}
        if scope == (ENVIRONMENT,):
            due = {
                name
                for name, entry in environments.items()
                if split == ("ood" if entry.get("held_out") else "eval")
            }
            return {
                frozenset([(ENVIRONMENT, name)]): number
                for name, number in sizes.items()
                if number or name in due
            }
        return self._expected_values(split, scope)

    def _expected_values(
        self, split: str, scope: tuple[str, ...]
    ) -> dict[frozenset, int]:
        expected: dict[frozenset, int] = {}
        for key, values in self._counts.get("slices", {}).get(split, {}).items():
            names = json.loads(key)
            if frozenset(names) != frozenset(scope):
                continue
            for value, number in values:
                pair = frozenset(
                    (f, OTHER if self._few(number) and f != ENVIRONMENT else str(v))
                    for f, v in zip(names, value, strict=True)
                )
                expected[pair] = expected.get(pair, 0) + number
        return expected


def _ordered(pairs: frozenset, scope: tuple[str, ...]) -> Key:
    by_feature = dict(pairs)
    return tuple((name, by_feature[name]) for name in scope)


def count(number: int, what: str = "example") -> str:
    """`1 example`, `20,731 examples`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def round_up(number: float) -> int:
    """A rough number, up to two digits: 4,721 is 4,800."""
    if number <= 10:
        return math.ceil(number)
    unit = 10 ** (math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit - 1e-9) * unit


def rounded(number: float) -> str:
    """As `round_up`, in words: `4,800`."""
    return f"{round_up(number):,}"
