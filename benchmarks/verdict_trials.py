"""Checks on simulated models, judged by the validator's own rule, many at once.

The verdict of a slice comes from the functions that `decide` calls; here these get the
slices of a thousand models as one array. `compare_with_decide` holds both together.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import verdict_models as vm
from components.evaluator.results import SliceResult
from components.invariance_validator import intervals, judging, spreads
from components.invariance_validator.checks import Check, Rule
from components.invariance_validator.decision import decide
from components.invariance_validator.slices import PASS, Cell

CONFIDENCE = 0.95
RULE = Rule(CONFIDENCE, min_examples=1)  # the limits alone are on trial
_COMPARED = 3  # models of each cell
_MOST_PAIRS = 50_000  # judged at a time
METRICS = (
    "auc",
    "log_loss",
    "accuracy",
    "calibration",
    "calibration_slope",
    "mean_label",
    "mean_prediction",
)
# Kind and metric -> how far from the bound "a bit" is: a share of the truth, or a
# difference where the compared number is one.
MARGINS = {
    ("worst", "auc"): 0.05,
    ("worst", "log_loss"): 0.15,
    ("worst", "accuracy"): 0.05,
    ("worst", "calibration"): 0.25,
    ("worst", "calibration_slope"): 0.25,
    ("worst", "mean_label"): 0.25,
    ("worst", "mean_prediction"): 0.25,
    ("gap", "auc"): 0.05,
    ("gap", "log_loss"): 0.1,
    ("gap", "accuracy"): 0.05,
    ("gap", "calibration"): 0.3,
    ("gap", "calibration_slope"): 0.3,
    ("gap", "mean_label"): 0.05,
    ("gap", "mean_prediction"): 0.05,
    ("baseline", "auc"): 0.03,
    ("baseline", "log_loss"): 0.03,
    ("baseline", "accuracy"): 0.03,
    ("baseline", "calibration"): 0.1,
    ("baseline", "calibration_slope"): 0.3,
    ("baseline", "mean_prediction"): 0.03,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Simulated slices of one population, by one predictor.

    Attributes:
      results: one a slice, as the Evaluator gives them.
      truth: metric -> its true value.
      measured: the same as `results`, as arrays.
      kept: what was worked out before.
    """

    results: list[SliceResult]
    truth: dict[str, float]
    measured: vm.Measured
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def fit(self, metric: str, compared: bool) -> np.ndarray:
        """Which slices can be judged at all."""
        key = metric, compared
        if key not in self.kept:
            cells = [Cell("eval", result.slice, result) for result in self.results]
            least = RULE.min_examples
            found = [cell.problem(metric, least, compared) is None for cell in cells]
            self.kept[key] = np.array(found)
        return self.kept[key]

    def single(self, metric: str) -> tuple[np.ndarray, intervals.Spread]:
        """Which slices can be judged, and the spreads of all."""
        if metric not in self.kept:
            found = [spreads.single(result, metric) for result in self.results]
            self.kept[metric] = intervals.stack(found)
        return self.fit(metric, compared=False), self.kept[metric]


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """A check whose compared number is the same, in truth, in all models.

    Attributes:
      kind: of the check.
      metric: its metric.
      below: whether its bound is a minimum.
      subject: slices whose truth is on the bound; of a gap the one slice, of a
        baseline check the candidate.
      rest: the other slices; of a baseline check the released model.
    """

    kind: str
    metric: str
    below: bool
    subject: Source
    rest: Source

    @property
    def truth(self) -> float:
        """Of the compared number."""
        value = self.subject.truth[self.metric]
        if self.kind in ("gap", "baseline"):
            value -= self.rest.truth[self.metric]
        return abs(value) if self.kind == "gap" else value

    @property
    def margin(self) -> float:
        """A bit, in the unit of the compared number."""
        kind = self.kind if self.kind in ("gap", "baseline") else "worst"
        margin = MARGINS[kind, self.metric]
        whole = kind != "worst" or self.metric in ("auc", "accuracy")
        return margin if whole else margin * self.truth

    def check(self, easier: float) -> Check:
        """The check with its bound so far on the easy side of the truth."""
        bound = self.truth - easier if self.below else self.truth + easier
        ends = (bound, None) if self.below else (None, bound)
        return Check(self.kind, self.metric, *ends, over=(("environment",),))

    def config(self, easier: float) -> dict[str, Any]:
        """The same as a config says it."""
        check = self.check(easier)
        bounds = {"min": check.minimum, "max": check.maximum}
        if self.kind == "baseline":
            drop = None if check.minimum is None else -check.minimum
            bounds = {"max_drop": drop, "max_rise": check.maximum}
        leaf: dict[str, Any] = {k: v for k, v in bounds.items() if v is not None}
        leaf["over"] = "environment"
        return {self.kind: leaf if self.kind == self.metric else {self.metric: leaf}}


def trials(found: Sequence[Source]) -> Iterator[Trial]:
    """Every check on the sources of a kind of data; the worst slice is the subject."""
    for metric in METRICS:
        kind = "calibration_slope" if metric == "calibration_slope" else "worst"
        order = sorted(found, key=lambda source: source.truth[metric])
        for below in (True, False):
            if metric in ("auc", "accuracy") and not below:
                continue  # it would refuse a model for being better
            if metric == "log_loss" and below:
                continue
            ends = order if below else order[::-1]
            yield Trial(kind, metric, below, ends[0], ends[-1])
        if abs(found[0].truth[metric] - found[2].truth[metric]) > 1e-3:
            yield Trial("gap", metric, False, found[0], found[2])
        change = found[0].truth[metric] - found[1].truth[metric]
        worse = {"auc": change < 0, "accuracy": change < 0, "log_loss": change > 0}
        if abs(change) > 1e-3 and worse.get(metric, True):
            yield Trial("baseline", metric, change < 0, found[0], found[1])


class Judged:
    """Which slices (pairs, changes) of a trial pass, by the validator's own rule."""

    def __init__(self, trial: Trial):
        """Finds the spreads of all slices once; only the bound moves."""
        self._trial = trial
        if trial.kind == "gap":
            ends = (trial.subject, trial.rest)
            self._fit = [source.fit(trial.metric, compared=True) for source in ends]
        elif trial.kind == "baseline":
            self._subject = _changes(trial, trial.subject)
            self._rest = _changes(trial, trial.rest)
        else:
            ends = (trial.subject, trial.rest)
            self._subject, self._rest = (source.single(trial.metric) for source in ends)

    def passes(self, picks: np.ndarray, easier: float, alike: bool) -> np.ndarray:
        """Whether each model passes; bool [models].

        Args:
          picks: [models, slices - 1], which of the other slices it has.
          easier: how far the bound is on the easy side of the truth.
          alike: whether the other slices are of the subject too.
        """
        check = self._trial.check(easier)
        if self._trial.kind == "gap":
            return self._gaps_pass(check, picks)
        subject = _passes(check, *self._subject)
        rest = subject if alike else _passes(check, *self._rest)
        return subject & rest[picks].all(axis=1)

    def _gaps_pass(self, check: Check, picks: np.ndarray) -> np.ndarray:
        """All pairs of each model's slices, the larger value less the smaller."""
        fit, others_fit = self._fit
        passes = fit & others_fit[picks].all(axis=1)
        first, second = np.triu_indices(picks.shape[1] + 1, 1)
        step = max(1, _MOST_PAIRS // len(first))
        chosen = np.flatnonzero(passes)
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            values, blocks = (
                np.concatenate([one[part, None], other[picks[part]]], axis=1)
                for one, other in zip(
                    self._trial.subject.measured.metrics[check.metric],
                    self._trial.rest.measured.metrics[check.metric],
                    strict=True,
                )
            )
            larger = values[:, first] >= values[:, second]
            rows = np.arange(len(part))[:, None]
            high, low = np.where(larger, first, second), np.where(larger, second, first)
            spread = intervals.difference(
                values[rows, high],
                blocks[rows, high],
                values[rows, low],
                blocks[rows, low],
                scale=check.info.scale,
            )
            verdicts = judging._judge_spread(check, spread, RULE, len(first)).verdict
            passes[part] = (verdicts == PASS).all(axis=1)
        return passes


def _changes(trial: Trial, source: Source) -> tuple[np.ndarray, intervals.Spread]:
    """Of a source's slices against the released model's."""
    check = trial.check(0)
    pairs = list(zip(source.results, trial.rest.results, strict=True))
    cells = [Cell("eval", one.slice, one, other) for one, other in pairs]
    fit = np.array([judging._problem(check, cell, RULE) is None for cell in cells])
    found = [spreads.change(one, other, check.metric) for one, other in pairs]
    return fit, intervals.stack(found)


def _passes(check: Check, fit: np.ndarray, spread: intervals.Spread) -> np.ndarray:
    return fit & (judging._judge_spread(check, spread, RULE, 1).verdict == PASS)


def stock_passes(
    trial: Trial, picks: np.ndarray, easier: float, alike: bool
) -> np.ndarray | None:
    """Whether TFMA's thresholds bless each model; None for a gap."""
    if trial.kind == "gap":
        return None
    check = trial.check(easier)
    low = -math.inf if check.minimum is None else check.minimum
    high = math.inf if check.maximum is None else check.maximum

    def good(source: Source) -> np.ndarray:
        values = source.measured.metrics[check.metric][0]
        if trial.kind == "baseline":
            values = values - trial.rest.measured.metrics[check.metric][0]
        return (values >= low) & (values <= high)

    subject = good(trial.subject)
    rest = subject if alike else good(trial.rest)
    return subject & rest[picks].all(axis=1)


def compare_with_decide(
    trial: Trial, picks: np.ndarray, easier: float, alike: bool, passes: np.ndarray
) -> None:
    """Decides a few models from the config on.

    Raises:
      AssertionError: another verdict than from the arrays.
    """
    rest = trial.subject if alike and trial.kind != "gap" else trial.rest
    for i in range(_COMPARED):
        found = [trial.subject.results[i], *(rest.results[j] for j in picks[i])]
        if trial.kind == "baseline":
            found = [trial.subject.results[i]]
        results = []
        for k, result in enumerate(found):
            key = (("environment", f"e{k}"),)
            results.append(dataclasses.replace(result, slice=key))
        if trial.kind == "baseline":
            released = trial.rest.results[i]
            results.append(
                dataclasses.replace(released, slice=results[0].slice, model="baseline")
            )
        rule = {"confidence": RULE.confidence, "min_examples": RULE.min_examples}
        decision = decide(results, {}, trial.config(easier), rule)
        verdict = decision.checks[0].verdict
        assert (verdict == PASS) == passes[i], (trial.config(easier), verdict)


def legal(trial: Trial, easier: float) -> bool:
    """Whether a config may say it: a gap and a change have bounds above 0."""
    check = trial.check(easier)
    if trial.kind == "gap":
        return check.maximum is not None and check.maximum > 0
    if trial.kind == "baseline":
        return (check.minimum or 0) <= 0 and (check.maximum or 0) >= 0
    share = trial.metric not in ("log_loss", "calibration", "calibration_slope")
    bounds = [b for b in (check.minimum, check.maximum) if b is not None]
    return all(0 < b < 1 or not share for b in bounds)
