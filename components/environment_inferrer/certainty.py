"""How much of inferred environments is in the data, and how much in the fit.

Stability asks whether other rows would have given the same environments: two rules
fitted on disjoint thirds of the sample assign the last third, and the adjusted Rand
index of the two is 0 in the mean where they have nothing in common and 1 where they
agree. Separation compares the IRMv1 penalty of the reference on the environments with
those of random ones of the same sizes. EIIL maximises that penalty, so it beats random
environments on noise as well: necessary, not sufficient. And where a reference cannot
tell the label at all on rows that it has not seen, there is nothing to be right about.

References:
  Hubert and Arabie 1985, Comparing Partitions (adjusted Rand index);
  Steinley 2004, Properties of the Hubert-Arabie Adjusted Rand Index (below 0.65: poor);
  Kaufman and Rousseeuw 1990, Finding Groups in Data, chapter 2 (a silhouette of at most
  0.25: no substantial structure); Hanley and McNeil 1982 (error of an AUC).
"""

import dataclasses
import math
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score, roc_auc_score, silhouette_score

from components.environment_inferrer import eiil, reference
from components.environment_inferrer import rule as rules

DRAWS, SHUFFLES = 5, 200
MIN_SILHOUETTE = 0.25
_Z = 1.959964  # of a two-sided interval at 95 %
_SALT = 1000  # seeds of the draws, apart from those of folds
_SEEN = 2000  # rows of the silhouette
_WIDEST, _TELLING = 512, 5


def stability(sample: rules.Sample, settings: rules.Settings) -> list[float]:
    """The adjusted Rand index of each draw of disjoint thirds; [DRAWS] in [-1, 1]."""
    found = []
    for draw in range(DRAWS):
        seed = settings.seed + _SALT + draw
        third = reference.parts(sample.keys, seed, 3)
        judged = sample.take(third == 2)
        pair = []
        for side in (0, 1):
            other = dataclasses.replace(settings, seed=2 * seed + side)
            rule = rules.fit(sample.take(third == side), other)
            pair.append(rule.assign(judged.rows, judged.labels, judged.keys))
        found.append(float(adjusted_rand_score(*pair)))
    return found


def penalty(gradients: np.ndarray, environments: np.ndarray, number: int) -> float:
    """IRMv1's: the mean over environments of the squared mean gradient.

    Args:
      gradients: of `eiil.scale_gradients`; [N].
      environments: in [0, number); [N].
      number: of environments.
    """
    sums = np.bincount(environments, gradients, minlength=number)
    rows = np.bincount(environments, minlength=number)
    return float(np.mean((sums[rows > 0] / rows[rows > 0]) ** 2))


def separation(
    gradients: np.ndarray, environments: np.ndarray, number: int, seed: int
) -> dict[str, float]:
    """The penalty, and that of random environments of the same sizes.

    Returns:
      `penalty`; `random`, the 95th percentile of `SHUFFLES` shuffles; `p`, the share of
      them (itself counted) that is no smaller.
    """
    random = np.random.default_rng(seed)
    mine = penalty(gradients, environments, number)
    others = [
        penalty(gradients, random.permutation(environments), number)
        for _ in range(SHUFFLES)
    ]
    larger = sum(other >= mine for other in others)
    return {
        "penalty": mine,
        "random": float(np.quantile(others, 0.95)),
        "p": (1 + larger) / (1 + SHUFFLES),
    }


def auc_with_interval(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """Area under the ROC curve, and its 95 % interval: [value, low, high]."""
    area = float(roc_auc_score(labels, logits))
    positives = int(labels.sum())
    negatives = len(labels) - positives
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2)
    variance += (negatives - 1) * (q2 - area**2)
    error = math.sqrt(max(variance, 0.0) / (positives * negatives))
    return [area, max(area - _Z * error, 0.0), min(area + _Z * error, 1.0)]


def telling(
    sample: rules.Sample, environments: np.ndarray, slices: dict[str, slice]
) -> dict[str, float]:
    """How well each column tells the environments apart, given the label.

    The share of the environments' variance within a label that a linear fit on the
    column's entries explains, adjusted for their number; mean over labels by rows. Of a
    column of more than 512 entries, those that vary most are taken.

    Args:
      sample: the rows.
      environments: [N].
      slices: column -> its entries.

    Returns:
      Column -> at most 1, never below 0; the five largest.
    """
    shares = {}
    for name, entries in slices.items():
        total = 0.0
        for label in (0, 1):
            mine = sample.labels == label
            part = _explained(sample.rows[mine, entries], environments[mine])
            total += part * mine.mean()
        shares[name] = round(max(total, 0.0), 4)
    best = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    return dict(best[:_TELLING])


def _explained(entries: np.ndarray, environments: np.ndarray) -> float:
    """Adjusted R^2 of one-hot environments on entries."""
    if entries.shape[1] > _WIDEST:
        order = np.argsort(-entries.var(axis=0), kind="stable")
        entries = entries[:, order[:_WIDEST]]
    hot = (environments[:, None] == np.unique(environments)).astype(np.float64)
    hot -= hot.mean(axis=0)
    centred = entries - entries.mean(axis=0, dtype=np.float64)
    spent = int(np.linalg.matrix_rank(centred))
    left, total = len(hot) - 1 - spent, float((hot**2).sum())
    if not total or not spent or left < 1:
        return 0.0
    solved = np.linalg.lstsq(centred, hot, rcond=None)[0]
    rest = float(((hot - centred @ solved) ** 2).sum())
    return 1 - (rest / left) / (total / (len(hot) - 1))


def measure(
    sample: rules.Sample,
    rule: rules.Rule,
    settings: rules.Settings,
    slices: dict[str, slice],
) -> dict[str, Any]:
    """Everything about how certain the environments are; plain JSON.

    Returns:
      `reference` (AUC out of fold, with interval), `stability` (mean and each draw),
      `separation`, `silhouette` (of clusters, else null), `told_by` (of `telling`),
      `label_association` (adjusted Rand index of environments and labels) and
      `problems`: a phrase for each of these that is poor.
    """
    logits = rule.logits(sample.rows, sample.keys)
    environments = rule.assign(sample.rows, sample.labels, sample.keys)
    gradients = eiil.scale_gradients(logits, sample.labels)
    draws = stability(sample, settings)
    found = {
        "reference": dict(
            zip(
                ("auc", "low", "high"),
                auc_with_interval(logits, sample.labels),
                strict=True,
            )
        ),
        "stability": {"mean": float(np.mean(draws)), "draws": draws},
        "separation": separation(
            gradients, environments, settings.number, settings.seed
        ),
        "silhouette": _silhouette(sample, rule, logits, environments, settings.seed),
        "told_by": telling(sample, environments, slices),
        "label_association": float(adjusted_rand_score(environments, sample.labels)),
    }
    return {**found, "problems": problems(found, settings)}


def _silhouette(
    sample: rules.Sample,
    rule: rules.Rule,
    logits: np.ndarray,
    environments: np.ndarray,
    seed: int,
) -> float | None:
    if rule.clusters is None or len(np.unique(environments)) < 2:
        return None
    points = rule.clusters.project(sample.rows, logits, sample.labels)
    seen = np.random.default_rng(seed).permutation(len(points))[:_SEEN]
    if len(np.unique(environments[seen])) < 2:
        return None
    return float(silhouette_score(points[seen], environments[seen]))


def problems(found: dict[str, Any], settings: rules.Settings) -> list[str]:
    """What makes the environments arbitrary, in phrases; empty where nothing does."""
    phrases = []
    model, mean = found["reference"], found["stability"]["mean"]
    if model["low"] <= 0.5:
        phrases.append(
            f"the reference model cannot tell the label on rows that it has not seen"
            f" (AUC {model['auc']:.3f}, {model['low']:.3f} to {model['high']:.3f})"
        )
    if mean < settings.min_stability:
        phrases.append(
            "two fits on different rows agree on the environments by an adjusted Rand"
            f" index of {mean:.2f}, and {settings.min_stability:g} is needed"
            " (min_stability)"
        )
    apart = found["separation"]
    if apart["penalty"] <= apart["random"]:
        phrases.append(
            f"the reference violates invariance on them (IRMv1 {apart['penalty']:.2g})"
            f" no more than on random ones ({apart['random']:.2g})"
        )
    silhouette = found["silhouette"]
    if silhouette is not None and silhouette <= MIN_SILHOUETTE:
        phrases.append(
            f"the clusters run into each other (silhouette {silhouette:.2f}, and above"
            f" {MIN_SILHOUETTE} is needed)"
        )
    return phrases
