"""Rules on what features tell of the label, and whether environments agree on it."""

import itertools

import numpy as np

from components.environment_validator import comparing
from components.environment_validator.checks import ERROR, WARN
from components.environment_validator.comparing import Comparison
from components.environment_validator.evidence import Evidence
from components.environment_validator.findings import Asked, named

_TELLS = 0.6  # an AUC from here on says something of the label
_EFFECT = 0.03  # so much an AUC must differ to call an effect another
_ALIKE_DISTANCE, _ALIKE_DIVERGENCE, _ALIKE_SHARE = 0.05, 0.005, 0.02
_ROWS_TO_CALL_ALIKE = 1_500  # of fewer nobody can tell
_SURE = 3.0  # standard errors


def judge(evidence: Evidence, asked: Asked) -> None:
    """Leaks, spurious features, swapped labels; too alike, too few."""
    for compared in evidence.comparisons:
        if not _leak(compared, evidence, asked):
            _spurious(compared, evidence, asked)
    _agreement(evidence, asked)
    if evidence.sampled.num_training > 1:
        _alike(evidence, asked)
        _too_few(evidence, asked)


def _error(evidence: Evidence, event: int, auc: float, *environments: int) -> float:
    """Standard error of an AUC, or of the difference of AUCs of some environments."""
    errors = [
        comparing.standard_error(auc, *evidence.classes(e, event)) for e in environments
    ]
    return float(np.hypot.reduce(errors))


def _leak(compared: Comparison, evidence: Evidence, asked: Asked) -> bool:
    """Whether the feature alone tells all of the label somewhere."""
    names, own = evidence.sampled.environments, np.diag(compared.auc)
    bound = asked.bound("leak")
    known = [i for i in range(len(names)) if not np.isnan(own[i])]
    event, sure = compared.event, evidence.sure
    told = [
        i for i in known if own[i] - sure * _error(evidence, event, own[i], i) >= bound
    ]
    if not told:
        return False
    figures = ", ".join(f"{names[i]} {own[i]:.3f}" for i in known[:6])
    whole = max(compared.own[i] for i in told) >= bound
    everywhere = len(told) == len(known)
    if everywhere:
        where = "in every environment"
        mend = "it is most likely made from the label or known only after it"
    else:
        where = f"in {named([names[i] for i in told])} only"
        mend = "it is a spurious feature there, which fails elsewhere"
    asked.add(
        "leak",
        [names[i] for i in told],
        max(own[i] for i in told),
        f"{compared.feature} alone tells {evidence.told(event)} {where} (AUC:"
        f" {figures}); {mend}: exclude it (data.exclude)",
        feature=compared.feature,
        # What tells one class of many (Hawaii, of airlines) need not tell the label.
        at_most=ERROR if whole else WARN,
    )
    return whole


def _spurious(compared: Comparison, evidence: Evidence, asked: Asked) -> None:
    names, auc = evidence.sampled.environments, compared.auc
    own = np.diag(auc)
    if len(names) < 2 or np.isnan(own).all():
        return
    best = int(np.nanargmax(own))
    worst = int(np.nanargmin(auc[best]))
    apart = own[best] - auc[best, worst]
    event = compared.event
    sure = evidence.sure * _error(evidence, event, 0.5, best, worst)
    if own[best] < _TELLS or worst == best or apart - sure <= asked.bound("spurious"):
        return
    tried = auc[best, worst]
    turn = (
        "the opposite" if tried < 0.5 - sure else "little" if tried < _TELLS else "less"
    )
    asked.add(
        "spurious",
        [names[best], names[worst]],
        apart,
        f"what {compared.feature} alone tells of {_of(evidence, event)} in"
        f" {names[best]} (AUC {own[best]:.3f}) tells {turn} in {names[worst]}"
        f" ({tried:.3f}); a penalty is there to unlearn such a feature, or exclude it"
        " (data.exclude)",
        feature=compared.feature,
    )


def _of(evidence: Evidence, event: int) -> str:
    """An event after `tells of`."""
    return evidence.told(event).removeprefix("whether ")


def _agreement(evidence: Evidence, asked: Asked) -> None:
    for event in range(len(evidence.sampled.events)):
        _agreement_on(event, evidence, asked)


def _agreement_on(event: int, evidence: Evidence, asked: Asked) -> None:
    names, auc = evidence.sampled.environments, evidence.transfer[event]
    pairs = []
    for i, j in itertools.combinations(range(len(names)), 2):
        both = min(auc[i, i], auc[j, j])
        least = max(auc[i, j], auc[j, i])
        error = evidence.sure * _error(evidence, event, 0.5, i, j)
        if both >= _TELLS and least + error <= asked.bound("label_agreement"):
            pairs.append((i, j))
    if not pairs:
        return
    within = [p for p in pairs if all(map(evidence.is_training, p))]
    i, j = min(within or pairs, key=lambda p: auc[p[0], p[1]])
    # Against most others is odd; of two, the one that is held out, or the second.
    times = [sum(e in pair for pair in pairs) for e in range(len(names))]
    odd = max((i, j), key=lambda e: (times[e], e))
    other = i if odd == j else j
    mend = (
        "check that the label is not swapped there"
        if within
        else "check that the label is not swapped there; if it is not, what is held out"
        " shows a feature that misleads, which is what a penalty is for"
    )
    asked.add(
        "label_agreement",
        [names[odd], names[other]],
        auc[other, odd],
        f"what tells {evidence.told(event)} in {names[other]} tells its opposite in"
        f" {names[odd]}"
        f" (AUC {auc[other, odd]:.3f}, where {auc[odd, odd]:.3f} is possible); {mend}",
        # What is held out may differ in just this, and one class of many may: no error.
        at_most=ERROR if within and len(evidence.sampled.events) == 1 else WARN,
    )


def _alike(evidence: Evidence, asked: Asked) -> None:
    size = evidence.sampled.num_training
    rows = min(len(labels) for labels in evidence.sampled.labels[:size])
    if rows < _ROWS_TO_CALL_ALIKE:
        return
    noise = 3 / np.sqrt(rows)
    for event in evidence.sampled.events:
        shares = [float(labels.mean()) for labels in event.labels[:size]]
        if max(shares) - min(shares) > _ALIKE_SHARE + noise / 2:
            return
    for compared in evidence.comparisons:
        most = np.nanmax(np.nan_to_num(compared.distances[:size, :size]))
        number = compared.kind == "number"
        if most > (_ALIKE_DISTANCE + noise if number else _ALIKE_DIVERGENCE + noise**2):
            return
        own = np.diag(compared.auc)[:size, None]
        if np.nanmax(np.abs(own - compared.auc[:size, :size])) > _ALIKE_SHARE + noise:
            return
    names = evidence.sampled.environments[:size]
    asked.add(
        "alike",
        names,
        0.0,
        f"{named(names)} are so alike, in every feature, in the label and in what the"
        " features tell of it, that a penalty has nothing to work with; train with erm,"
        " or tell environments by something that matters (site, period, device)",
    )


def _too_few(evidence: Evidence, asked: Asked) -> None:
    size = evidence.sampled.num_training
    differ = []
    for compared in evidence.comparisons:
        auc = compared.auc[:size, :size]
        own = np.diag(auc)
        i, j = np.unravel_index(np.nanargmax(_gaps(auc)), auc.shape)
        gap = own[i] - auc[i, j]
        sure = _SURE * _error(evidence, compared.event, 0.5, int(i), int(j))
        if own[i] >= 0.5 + _EFFECT and gap - sure >= _EFFECT:
            differ.append((gap, compared.feature))
    if len(differ) < size:
        return
    shown = [name for _, name in sorted(differ, reverse=True)]
    asked.add(
        "too_few",
        evidence.sampled.environments[:size],
        len(differ),
        f"{size} training environments can unmask at most {size - 1} independent"
        f" features that mislead, and the effect of {len(differ)} differs between them"
        f" ({named(shown)}); add environments, or exclude the features that need not be"
        " there",
    )


def _gaps(auc: np.ndarray) -> np.ndarray:
    gaps = np.diag(auc)[:, None] - auc
    return np.where(np.isnan(gaps), -np.inf, gaps)
