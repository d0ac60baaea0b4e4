"""Judges every slice of one check by the confidence limits of its metric.

A slice passes when its one-sided limits are on the good side of the bounds, and fails
when the opposite limit, at a confidence corrected for the number of slices
(Bonferroni), is on the bad side. Between the two the data do not settle it. Whatever
is undefined or missing never passes. What compares slices is judged pair by pair (gap,
score_distance) or group by group (risk_variance).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.invariance_validator import distances, intervals, reasons, spreads
from components.invariance_validator.groups import Group, absence, groups_of
from components.invariance_validator.kinds import (
    OVERALL,
    RISK_VARIANCE,
    SCORE_DISTANCE,
    Check,
    Rule,
)
from components.invariance_validator.slices import (
    FAIL,
    INSUFFICIENT_DATA,
    PASS,
    Cell,
    Problem,
    SliceTable,
    estimate_problem,
)

if TYPE_CHECKING:
    from components.evaluator.results import Estimate, SliceResult

SEVERITY = {FAIL: 0, INSUFFICIENT_DATA: 1, PASS: 2}
KEPT_PAIRS = 100  # of a gap: those closest to the bound; 200 values make 19,900
_ROUNDING = 1e-12  # 0.74 - 0.75 is below -0.01
_CODES = np.array([FAIL, INSUFFICIENT_DATA, PASS])


@dataclass(frozen=True)
class Outcome:
    """What one slice (or a pair of slices, for a gap) says to a check.

    Attributes:
      verdict: PASS, FAIL or INSUFFICIENT_DATA.
      split: eval, ood or, of a pair from both, `eval / ood`.
      slice: `environment=EWR`, or of a pair `environment=EWR / environment=LGA`, or of
        a group of slices `environment`.
      scope: the features sliced by; () is overall.
      examples: evaluated, of a pair in both together.
      reason: a sentence without its full stop.
      value: the metric or the difference; None where there is none.
      interval: two-sided, at the rule's confidence.
      limits: the one-sided limits, each at the rule's confidence; these decide.
      bound: the bound that is nearest.
      margin: distance of the limit from that bound; negative is the bad side.
      needed: examples that would settle it, of a pair in both together; None where it
        is settled, or where no number does.
      would_be: PASS or FAIL, what these would settle it as if the value stays; None
        where they only let it be judged.
    """

    verdict: str
    split: str
    slice: str
    scope: tuple[str, ...]
    examples: int
    reason: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    bound: float | None = None
    margin: float = -math.inf
    needed: int | None = None
    would_be: str | None = None


@dataclass(frozen=True)
class Judgement:
    """All that was judged of a check.

    Attributes:
      outcomes: the worst first, never none; of a gap's pairs only the `KEPT_PAIRS`
        worst.
      verdicts: how many slices or pairs have each verdict, all counted.
    """

    outcomes: list[Outcome]
    verdicts: Counter


def judge(check: Check, table: SliceTable, rule: Rule) -> Judgement:
    """Judges all slices of a check.

    Args:
      check: what to judge.
      table: the slices; of a baseline check with the released model's results.
      rule: confidence and the examples that a slice needs.

    Returns:
      The outcomes and their number.
    """
    groups = groups_of(check, table)
    outcomes = _empty_groups(check, groups, table, rule)
    usable = []
    for group in groups:
        fit = []
        for cell in group.cells:
            problem = _problem(check, cell, rule)
            if problem is None:
                fit.append(cell)
            else:
                outcomes.append(_refused(check, cell, problem, rule))
        usable.append(fit)
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    if check.unit == "pairs":
        judged, counted = _judge_pairs(check, usable, rule)
    else:
        if check.kind == RISK_VARIANCE:
            judged = _judge_variances(check, usable, rule)
        elif check.kind == "ood_drop":
            judged = _judge_drops(check, groups, usable, rule)
        else:
            judged = _judge_cells(check, [c for cells in usable for c in cells], rule)
        counted = Counter(outcome.verdict for outcome in judged)
    outcomes += judged
    verdicts.update(counted)
    if not outcomes:
        reason = "there was no slice to look at"
        outcomes = [Outcome(FAIL, "", "", OVERALL, 0, reason)]
        verdicts[FAIL] = 1
    outcomes.sort(key=lambda o: (SEVERITY[o.verdict], o.margin))
    return Judgement(outcomes, verdicts)


def looked_at(
    check: Check, table: SliceTable, rule: Rule
) -> tuple[list[Cell], list[Outcome]]:
    """The slices that a check looks at, and what it asks for and is not there.

    Args:
      check: what to judge.
      table: the slices, evaluated or only counted.
      rule: the examples that a slice needs.
    """
    groups = groups_of(check, table)
    cells = [cell for group in groups for cell in group.cells]
    return cells, _empty_groups(check, groups, table, rule)


def _empty_groups(
    check: Check, groups: Sequence[Group], table: SliceTable, rule: Rule
) -> list[Outcome]:
    """Outcomes of groups that were asked for and have nothing to judge."""
    found = []
    for group in groups:
        problem = absence(check, group, table, rule)
        if problem is not None:
            verdict, reason = problem
            name = " x ".join(group.scope) or "overall"
            found.append(Outcome(verdict, group.split, name, group.scope, 0, reason))
    return found


def _problem(check: Check, cell: Cell, rule: Rule) -> Problem | None:
    metric = _made_from(check)
    compared = check.kind in ("gap", "baseline", "ood_drop")
    released = cell.baseline if check.kind == "baseline" else None
    if released is not None and _alike(cell, released, metric):
        compared = False  # a copy of the released model
    problem = cell.problem(metric, rule.min_examples, compared)
    if problem is not None or check.kind != "baseline":
        return problem
    if cell.baseline is None:
        return FAIL, "was not evaluated with the released model"
    if cell.baseline.examples != cell.examples:
        return FAIL, (
            f"has {cell.examples:,} examples evaluated with this model but"
            f" {cell.baseline.examples:,} with the released one"
        )
    owner = " of the released model"
    return estimate_problem(cell.baseline, check.metric, owner, compared)


def _made_from(check: Check) -> str:
    """The metric of a slice that must be there, also where none of one is judged."""
    if check.kind == SCORE_DISTANCE:
        assert check.of_task.score is not None  # else there is no such check
        return check.of_task.score
    return check.of_task.risk if check.kind == RISK_VARIANCE else check.metric


def _alike(cell: Cell, released: "SliceResult", metric: str) -> bool:
    """Whether two models have the same value in all blocks, and so no difference."""
    results = (cell.result, released)
    pair = [r.metrics[metric] for r in results if r is not None and metric in r.metrics]
    return (
        len(pair) == 2
        and pair[0].value == pair[1].value
        and np.array_equal(pair[0].replicates, pair[1].replicates)
    )


def _refused(check: Check, cell: Cell, problem: Problem, rule: Rule) -> Outcome:
    verdict, predicate = problem
    scope = tuple(feature for feature, _ in cell.key)
    under = f" under {check.attack.name}" if check.attack else ""
    reason = f"{cell.name} ({cell.split}){under} {predicate}"
    needed = None
    if verdict == INSUFFICIENT_DATA:
        needed = cell.needed(_made_from(check), rule.min_examples)
    return Outcome(
        verdict, cell.split, cell.name, scope, cell.examples, reason, needed=needed
    )


def _judge_cells(check: Check, cells: Sequence[Cell], rule: Rule) -> list[Outcome]:
    if not cells:
        return []
    if check.kind == "baseline":
        found = [_from_baseline(cell, check.metric) for cell in cells]
        spread = intervals.stack(found)
    elif check.metric in check.of_task.norms:
        spread = distances.of_estimates([_estimate(c, check.metric) for c in cells])
    else:
        found = [spreads.single(_result(cell), check.metric) for cell in cells]
        spread = intervals.stack(found)
    numbers = _judge_spread(check, spread, rule, len(cells))
    return [_outcome(check, [cell], numbers, i, rule) for i, cell in enumerate(cells)]


def _judge_variances(
    check: Check, usable: Sequence[list[Cell]], rule: Rule
) -> list[Outcome]:
    """One outcome for each group of slices."""
    groups = [cells for cells in usable if len(cells) > 1]
    judged = []
    for cells in groups:
        risk = check.of_task.risk
        risks = [_estimate(cell, risk) for cell in cells]
        spread = distances.of_variance(risks, check.of_task.info(risk).scale)
        numbers = _judge_spread(check, spread, rule, len(groups))
        judged.append(_outcome(check, cells, numbers, 0, rule))
    return judged


def _judge_drops(
    check: Check,
    groups: Sequence[Group],
    usable: Sequence[list[Cell]],
    rule: Rule,
) -> list[Outcome]:
    """Each held-out environment against the mean of the trained ones, if all count."""
    (trained, held_out), expected = usable, groups[0].cells
    if not trained or len(trained) < len(expected):
        return []  # refused already
    means = [_estimate(cell, check.metric) for cell in trained]
    judged = []
    for cell in held_out:
        spread = distances.of_drop(
            means,
            _estimate(cell, check.metric),
            check.info.better,
            check.info.scale,
        )
        numbers = _judge_spread(check, spread, rule, len(held_out))
        judged.append(_outcome(check, [cell], numbers, 0, rule))
    return judged


def _judge_pairs(
    check: Check, usable: Sequence[Sequence[Cell]], rule: Rule
) -> tuple[list[Outcome], Counter]:
    """All pairs within each group; a row of them at a time keeps memory small."""
    tests = sum(len(cells) * (len(cells) - 1) // 2 for cells in usable)
    kept: list[tuple[int, float, int, list[Cell], _Judged]] = []
    verdicts: Counter = Counter()
    for cells in usable:
        if check.kind == "gap":
            cells = sorted(cells, key=lambda c: -_estimate(c, check.metric).value)
        for i in range(len(cells) - 1):
            spread = _row(check, cells[i], cells[i + 1 :])
            numbers = _judge_spread(check, spread, rule, tests)
            verdicts.update(numbers.verdict.tolist())
            severity = np.array([SEVERITY[v] for v in numbers.verdict])
            for j in np.lexsort((numbers.margin, severity))[:KEPT_PAIRS]:
                pair, margin = [cells[i], cells[i + 1 + j]], float(numbers.margin[j])
                kept.append((int(severity[j]), margin, int(j), pair, numbers))
    kept.sort(key=lambda item: item[:2])
    outcomes = [
        _outcome(check, pair, numbers, j, rule)
        for _, _, j, pair, numbers in kept[:KEPT_PAIRS]
    ]
    return outcomes, verdicts


def _row(check: Check, cell: Cell, others: Sequence[Cell]) -> intervals.Spread:
    """A slice compared with each of others; for a gap none of them is larger."""
    if check.kind == SCORE_DISTANCE:
        return distances.of_scores(_result(cell), [_result(c) for c in others])
    first = _estimate(cell, check.metric)
    rest = [_estimate(other, check.metric) for other in others]
    return intervals.difference(
        first.value,
        first.replicates,
        [estimate.value for estimate in rest],
        intervals.rows([e.replicates for e in rest], len(first.replicates)),
        scale=check.info.scale,
    )


def _result(cell: Cell) -> "SliceResult":
    assert cell.result is not None  # a cell without result has a problem
    return cell.result


def _estimate(cell: Cell, metric: str) -> "Estimate":
    return _result(cell).metrics[metric]


def _from_baseline(cell: Cell, metric: str) -> intervals.Spread:
    assert cell.baseline is not None
    return spreads.change(_result(cell), cell.baseline, metric)


@dataclass(frozen=True)
class _Judged:
    """Arrays over slices, [slices]: what `reasons.Finding` has, and more."""

    verdict: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    least: np.ndarray
    most: np.ndarray
    below: np.ndarray
    two_sided: tuple[np.ndarray, np.ndarray]
    margin: np.ndarray
    tests: int


def _judge_spread(
    check: Check, spread: intervals.Spread, rule: Rule, tests: int
) -> _Judged:
    """Judges slices that have a spread, all at once.

    Args:
      check: its bounds.
      spread: of the compared numbers, [slices].
      rule: the confidence.
      tests: number of slices that a FAIL is corrected for.
    """
    low = -math.inf if check.minimum is None else check.minimum
    high = math.inf if check.maximum is None else check.maximum
    lower, upper = spread.limits(rule.confidence)
    least, most = spread.limits(1 - (1 - rule.confidence) / max(tests, 1))
    passes = (lower >= low - _ROUNDING) & (upper <= high + _ROUNDING)
    # A limit may be infinite as a missing bound is; the two do not decide.
    under = np.full_like(lower, math.inf) if low == -math.inf else lower - low
    over = np.full_like(upper, math.inf) if high == math.inf else high - upper
    fails = (most < low - _ROUNDING) | (least > high + _ROUNDING)
    return _Judged(
        verdict=_CODES[np.where(passes, 2, np.where(fails, 0, 1))],
        value=spread.value,
        lower=lower,
        upper=upper,
        least=least,
        most=most,
        below=under < over,
        two_sided=spread.limits((1 + rule.confidence) / 2),
        margin=np.fmin(under, over),
        tests=tests,
    )


def _outcome(
    check: Check, cells: list[Cell], numbers: _Judged, i: int, rule: Rule
) -> Outcome:
    value, lower, upper = (
        float(a[i]) for a in (numbers.value, numbers.lower, numbers.upper)
    )
    below = bool(numbers.below[i])
    bound = check.minimum if below else check.maximum
    assert bound is not None  # the margin to a missing bound is infinite
    verdict = str(numbers.verdict[i])
    found = reasons.Finding(
        verdict=verdict,
        value=value,
        lower=lower,
        upper=upper,
        least=float(numbers.least[i]),
        most=float(numbers.most[i]),
        below=below,
        bound=bound,
    )
    low, high = (float(ends[i]) for ends in numbers.two_sided)
    needed, would_be = reasons.settling(cells, found)
    scope = tuple(feature for feature, _ in cells[0].key)
    names = " / ".join(cell.name for cell in cells)
    return Outcome(
        verdict=verdict,
        split=" / ".join(dict.fromkeys(cell.split for cell in cells)),
        slice=" x ".join(scope) if check.unit == "groups" else names,
        scope=scope,
        examples=sum(cell.examples for cell in cells),
        reason=reasons.sentence(check, cells, found, rule.confidence, numbers.tests),
        value=value,
        interval=(low, high),
        limits=(lower, upper),
        bound=bound,
        margin=float(numbers.margin[i]),
        needed=needed,
        would_be=would_be,
    )
