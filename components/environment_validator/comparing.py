"""How environments differ, feature by feature, on the sampled rows.

Distances between environments; what a feature alone tells of the label, learned in one
environment and tried in another; what it tells of the environment.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy import stats
from scipy.spatial import distance as scipy_distance

from components.environment_validator.sampled import CATEGORY, Feature, Sampled
from components.evaluator.measures import binned_auc

_PRIOR_ROWS = 10.0
_MOST = 1e6


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A feature between environments.

    Attributes:
      feature: its name.
      kind: number or category.
      distances: float64 [E, E], symmetric, 0 on the diagonal: Jensen-Shannon divergence
        (base 2, 0 to 1) of categories, Wasserstein-1 in pooled deviations of numbers;
        NaN where one of the two has no value.
      auc: float64 [E, E]: of the rule that the feature alone gives for the label,
        learned in the environment of the row and tried in that of the column (on other
        rows where they are the same); 0.5 is nothing.
      tells: float64 [E]: AUC with which it tells the environment from the others.
      event: which of `Sampled.events` the `auc` is of: the one that it tells best.
      own: float64 [E]: the diagonal of `auc`, as the mean over all events.
    """

    feature: str
    kind: str
    distances: np.ndarray
    auc: np.ndarray
    tells: np.ndarray
    event: int
    own: np.ndarray


def compare(sampled: Sampled) -> list[Comparison]:
    """Compares every feature.

    A rule gives each bin (a category, a value, or one of 64 quantile bins of a number;
    missing is a bin) the log-odds of an event of the label (see `events`), shrunk to
    the environment's own by ten rows of it.
    """
    return [_compare(feature, sampled) for feature in sampled.features]


def transfer(sampled: Sampled) -> np.ndarray:
    """AUC of naive Bayes over all features, learned in one environment, tried in each.

    Returns:
      float64 [V, E, E], for each event of the label: rows learned in, columns tried in;
      NaN where the event is always there, or never.
    """
    return np.stack([_transfer(sampled, event.labels) for event in sampled.events])


def _transfer(sampled: Sampled, labels: Sequence[np.ndarray]) -> np.ndarray:
    """[E, E] for one event."""
    size = len(sampled.environments)
    learned = [
        [_scores(_counts(f, labels, e, half)) for f in sampled.features]
        for e in range(size)
        for half in (None, 0, 1)
    ]
    found = np.full((size, size), np.nan)
    for i, j in itertools.product(range(size), range(size)):
        if i != j:
            scores = _total(sampled.features, j, learned[3 * i])
            found[i, j] = _auc_of_rows(scores, labels[j])
            continue
        rows = np.arange(len(labels[i])) % 2
        halves = [
            _auc_of_rows(
                _total(sampled.features, i, learned[3 * i + 2 - half])[rows == half],
                labels[i][rows == half],
            )
            for half in (0, 1)
        ]
        found[i, i] = np.mean(halves)
    return found


def standard_error(auc: float, positives: int, negatives: int) -> float:
    """Upper bound of an AUC's standard error, whatever the scores are.

    sqrt(A (1 - A) / min(n1, n0)).

    References:
      Birnbaum and Klose 1957, Bounds for the variance of the Mann-Whitney statistic.
    """
    least = max(min(positives, negatives), 1)
    return float(np.sqrt(max(auc * (1 - auc), 0.0) / least))


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance in pooled deviations, sqrt((var a + var b) / 2).

    Args:
      a: float64 [N], NaN where missing.
      b: float64 [M].

    Returns:
      >= 0, at most a million; NaN where one has no value.
    """
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(a) or not len(b):
        return float("nan")
    moved = stats.wasserstein_distance(a, b)
    if moved == 0:
        return 0.0
    deviation = np.sqrt((np.var(a) + np.var(b)) / 2)
    return float(min(moved / deviation, _MOST)) if deviation > 0 else _MOST


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence, base 2: 0 (the same) to 1 (nothing in common).

    Args:
      p: [K] counts of categories.
      q: [K].

    Returns:
      NaN where one has no count.
    """
    if not p.sum() or not q.sum():
        return float("nan")
    return float(scipy_distance.jensenshannon(p, q, base=2) ** 2)


def shares(feature: Feature) -> np.ndarray:
    """Counts of each category; int64 [E, K]."""
    return np.stack(
        [
            np.bincount(v[v >= 0], minlength=len(feature.categories))
            for v in feature.values
        ]
    )


def _compare(feature: Feature, sampled: Sampled) -> Comparison:
    size = len(sampled.environments)
    distances = np.zeros((size, size))
    counts = shares(feature) if feature.kind == CATEGORY else None
    for i, j in itertools.combinations(range(size), 2):
        if counts is not None:
            found = jensen_shannon(counts[i], counts[j])
        else:
            found = wasserstein(feature.values[i], feature.values[j])
        distances[i, j] = distances[j, i] = found
    halves = [_halves(feature, event.labels) for event in sampled.events]
    auc = np.stack([_label_auc(counts) for counts in halves])
    own = np.diagonal(auc, axis1=1, axis2=2)
    best = int(np.argmax(np.max(np.nan_to_num(own, nan=-1.0), axis=1, initial=-1.0)))
    return Comparison(
        feature.name,
        feature.kind,
        distances,
        auc[best],
        _tells(halves[0]),  # of rows, whatever their label
        best,
        mean_of_known(own),
    )


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _halves(feature: Feature, labels: Sequence[np.ndarray]) -> np.ndarray:
    """Counts of every other row and of the rest; int64 [E, 2, bins, 2]."""
    return np.stack(
        [
            [_counts(feature, labels, e, half) for half in (0, 1)]
            for e in range(len(labels))
        ]
    )


def _counts(
    feature: Feature,
    labels: Sequence[np.ndarray],
    environment: int,
    half: int | None = None,
) -> np.ndarray:
    """Rows by bin and class, of all or of every other row; int64 [bins, 2]."""
    rows = slice(None) if half is None else slice(half, None, 2)
    bins = feature.bins[environment][rows]
    joint = bins * 2 + labels[environment][rows]
    return np.bincount(joint, minlength=feature.num_bins * 2).reshape(-1, 2)


def _scores(counts: np.ndarray) -> np.ndarray:
    """Log-odds of class 1 in each bin above those of all, shrunk; float64 [bins]."""
    total = counts.sum()
    share = (counts[:, 1].sum() + 0.5) / (total + 1.0)
    rate = (counts[:, 1] + _PRIOR_ROWS * share) / (counts.sum(axis=1) + _PRIOR_ROWS)
    return np.log(rate / (1 - rate)) - np.log(share / (1 - share))


def _label_auc(halves: np.ndarray) -> np.ndarray:
    """[E, E] from counts [E, 2, bins, 2]."""
    size = len(halves)
    found = np.full((size, size), np.nan)
    whole = halves.sum(axis=1)
    for i in range(size):
        scores = _scores(whole[i])
        for j in range(size):
            if i != j:
                found[i, j] = _auc(scores, whole[j])
        found[i, i] = np.mean(
            [_auc(_scores(halves[i][1 - h]), halves[i][h]) for h in (0, 1)]
        )
    return found


def _tells(halves: np.ndarray) -> np.ndarray:
    """[E] from counts [E, 2, bins, 2]; every environment counts alike."""
    rows = halves.sum(axis=3).astype(np.float64)  # [E, 2, bins]
    size = len(rows)
    if size < 2:
        return np.full(size, np.nan)
    weight = rows.sum(axis=(1, 2), keepdims=True)
    rows = rows / np.maximum(weight, 1) * 10_000
    found = np.zeros(size)
    for e in range(size):
        rest = np.delete(rows, e, axis=0).mean(axis=0)
        tables = np.stack([rest, rows[e]], axis=2)  # [2, bins, 2]
        found[e] = np.mean([_auc(_scores(tables[1 - h]), tables[h]) for h in (0, 1)])
    return found


def _auc(scores: np.ndarray, counts: np.ndarray) -> float:
    """AUC of binned rows under the scores of their bins; ties count half."""
    _, rank = np.unique(scores, return_inverse=True)
    rank = rank.reshape(-1)
    positives = np.bincount(rank, counts[:, 1])
    negatives = np.bincount(rank, counts[:, 0])
    return float(binned_auc(positives, negatives))


def _total(
    features: Sequence[Feature], environment: int, scores: Sequence[np.ndarray]
) -> np.ndarray:
    """Sum of the features' log-odds; float64 [rows]."""
    parts = [s[f.bins[environment]] for f, s in zip(features, scores, strict=True)]
    return np.sum(parts, axis=0) if parts else np.zeros(0)


def _auc_of_rows(scores: np.ndarray, labels: np.ndarray) -> float:
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives or len(scores) != len(labels):
        return float("nan")
    ranks = stats.rankdata(scores)
    wins = ranks[labels].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))
