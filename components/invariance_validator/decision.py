"""Decides every check: PASS, FAIL or INSUFFICIENT_DATA, each with its reason.

A check passes when every slice does: if one slice misses the bound, then the
probability that the check passes all the same is at most 1 - confidence, without any
correction (an intersection-union test). It fails when some slice does. Undefined,
missing or too little never passes.

References:
  Berger 1982, Multiparameter Hypothesis Testing and Acceptance Sampling, theorem 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from components.invariance_validator import judging
from components.invariance_validator.checks import (
    Check,
    Rule,
    parse_checks,
    parse_rule,
)
from components.invariance_validator.judging import SEVERITY, Outcome
from components.invariance_validator.metrics import BINARY
from components.invariance_validator.slices import (
    FAIL,
    INSUFFICIENT_DATA,
    PASS,
    SliceTable,
)

if TYPE_CHECKING:
    from components.evaluator.results import SliceResult

_MOST_UNSETTLED = 100


@dataclass(frozen=True)
class CheckResult:
    """A check's verdict; the numbers are those of its worst slice.

    Attributes:
      name: the path in the config, `worst.auc`.
      verdict: PASS, FAIL or INSUFFICIENT_DATA.
      value: of the worst slice: the metric or what the kind makes of it, such as the
        difference of gap, ood_drop and baseline.
      interval: [low, high], two-sided, at the config's confidence.
      bound: the bound that decides there; a `max_drop` of 0.01 is -0.01.
      split: eval, ood or `eval / ood`.
      slice: `environment=LGA`, of a pair `environment=EWR / environment=LGA`, of a
        group of slices `environment`.
      examples: in it.
      reason: one sentence.
      unsettled: of the slices (or pairs) that the data do not settle, the worst ones:
        split, slice, examples, `needed` (examples that would settle it, null where no
        number does) and `would_be` (PASS or FAIL, as what; null where they would only
        let it be judged).
    """

    name: str
    verdict: str
    value: float | None
    interval: list[float] | None
    bound: float | None
    split: str | None
    slice: str | None
    examples: int | None
    reason: str
    unsettled: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "unsettled": [dict(one) for one in self.unsettled]}


@dataclass(frozen=True)
class Decision:
    """All of it.

    Attributes:
      verdict: the worst of the checks'; INSUFFICIENT_DATA where there is no check.
      blessed: whether every check passes, or lacks data and may.
      checks: results, in the order of the config.
      parsed: what was asked, in the same order.
      outcomes: by check name, the worst first; empty where nothing was compared.
      table: the slices.
      rule: what it was decided by.
      task: binary, multiclass or regression.
    """

    verdict: str
    blessed: bool
    checks: tuple[CheckResult, ...]
    parsed: tuple[Check, ...]
    outcomes: Mapping[str, Sequence[Outcome]]
    table: SliceTable
    rule: Rule
    task: str = BINARY


def decide(
    results: "Sequence[SliceResult]",
    counts: Mapping[str, Any],
    checks: Mapping[str, Any],
    verdict: Mapping[str, Any] | None = None,
    expect_baseline: bool = False,
    task: str = BINARY,
) -> Decision:
    """Decides all checks of a config.

    Args:
      results: of `components.evaluator.results.load_results`.
      counts: of the Examples artifact.
      checks: the config's `checks`.
      verdict: the config's `verdict`.
      expect_baseline: whether there is a released model: its results must be there.
      task: binary, multiclass or regression.

    Returns:
      The decision.

    Raises:
      ValueError: checks or verdict are not legal, or a slice is there twice.
    """
    rule = parse_rule(verdict)
    parsed = tuple(parse_checks(checks, task)) if checks else ()
    table = SliceTable(results, counts, rule.min_examples)
    outcomes: dict[str, Sequence[Outcome]] = {}
    found = []
    for check in parsed:
        outcomes[check.name] = ()
        if check.kind == "baseline" and not (table.has_baseline or expect_baseline):
            found.append(_nothing_to_compare(check))
            continue
        judged = table.of(check.attack.model) if check.attack else table
        judgement = judging.judge(check, judged, rule)
        outcomes[check.name] = judgement.outcomes
        found.append(_summarise(check, judgement, rule))
    worst = min(
        (result.verdict for result in found),
        key=SEVERITY.__getitem__,
        default=INSUFFICIENT_DATA,
    )
    blessed = bool(found) and all(
        result.verdict == PASS or _may_lack_data(result.name, result.verdict, rule)
        for result in found
    )
    return Decision(worst, blessed, tuple(found), parsed, outcomes, table, rule, task)


def _may_lack_data(name: str, verdict: str, rule: Rule) -> bool:
    return verdict == INSUFFICIENT_DATA and name in rule.allow_insufficient


def _nothing_to_compare(check: Check) -> CheckResult:
    return CheckResult(
        name=check.name,
        verdict=PASS,
        value=None,
        interval=None,
        bound=check.minimum if check.minimum is not None else check.maximum,
        split=None,
        slice=None,
        examples=None,
        reason=f"There is no released model to compare the {check.metric} with: none"
        " was blessed yet, or each that was has been rolled back.",
    )


def _summarise(check: Check, judgement: judging.Judgement, rule: Rule) -> CheckResult:
    worst = judgement.outcomes[0]
    reason, total = worst.reason, sum(judgement.verdicts.values())
    same = judgement.verdicts[worst.verdict] - 1
    if worst.verdict != PASS and same:
        what = "failed" if worst.verdict == FAIL else "not settled"
        reason += f" ({same:,} more of {total:,} {check.unit} {what})"
    if _may_lack_data(check.name, worst.verdict, rule):
        reason += ", which verdict.allow_insufficient lets pass"
    return CheckResult(
        name=check.name,
        verdict=worst.verdict,
        value=worst.value,
        interval=list(worst.interval) if worst.interval else None,
        bound=worst.bound,
        split=worst.split or None,
        slice=worst.slice or None,
        examples=worst.examples if worst.slice else None,
        reason=f"{reason}.",
        unsettled=tuple(
            {
                "split": outcome.split,
                "slice": outcome.slice,
                "examples": outcome.examples,
                "needed": outcome.needed,
                "would_be": outcome.would_be,
            }
            for outcome in judgement.outcomes
            if outcome.verdict == INSUFFICIENT_DATA
        )[:_MOST_UNSETTLED],
    )
