"""Why `tfx-irm monitor` does not follow an AUC: what the best known way would cost.

With X of two days the share of pairs (a positive of the one, a negative of the other)
that are ordered wrongly, less what the bound b allows,

    X = sum over such pairs of (b - 1[s+ > s-]) / (n n'),   mean > 0 where AUC < b,

1 - b + X is a number >= 0 whose mean is at most 1 - b while the AUC of the two days
together keeps its bound: a quantity that `components.monitor.sequences` can bet on.
It is valid, and slow; and where a season moves scores and labels together, two days of
it have a lower AUC than the year, which the check bounds.

    python benchmarks/monitoring_auc.py [--years 60]
"""

import argparse
import math
import statistics

import numpy as np

from components.monitor import sequences

DAYS, EXAMPLES, BOUND = 365, 200, 0.7
NEEDED = math.log(12 / (0.8 * 0.05))  # twelve watches, as in monitoring.py
LOGIT = -1.1  # of the share of positives
SEASON, SEASON_BOUND = 1.6, 0.75

Day = tuple[np.ndarray, np.ndarray]


def draw(
    rng: np.random.Generator, auc: float, season: float = 0.0, size: int = EXAMPLES
) -> Day:
    """Scores and labels of a day.

    Args:
      rng: to draw with.
      auc: of scores within a day, which are normal with the same deviation.
      season: is added to all scores, and to the logit of the share of positives.
      size: how many examples.
    """
    distance = math.sqrt(2) * statistics.NormalDist().inv_cdf(auc)
    labels = rng.random(size) < 1 / (1 + math.exp(-(LOGIT + season)))
    return rng.normal(size=size) + distance * labels + season, labels


def wins(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Pairs whose positive has the higher score; of a tie one half."""
    ranked = np.sort(negatives)
    sides = [np.searchsorted(ranked, positives, side) for side in ("left", "right")]
    return float(sum(side.sum() for side in sides)) / 2


def excess(one: Day, other: Day, bound: float) -> float:
    """X of two days."""
    found = 0.0
    for (s, y), (t, z) in ((one, other), (other, one)):
        found += bound * y.sum() * (~z).sum() - wins(s[y], t[~z])
    return found / (len(one[0]) * len(other[0]))


def found_on(
    rng: np.random.Generator, auc: float, bound: float, season: float = 0.0
) -> int | None:
    """The day of a year on which the AUC is said to be below its bound, or None."""
    evidence = sequences.start()
    for last in range(1, DAYS, 2):
        days = [draw(rng, auc, wave(day, season)) for day in (last - 1, last)]
        value = np.array([1 - bound + excess(*days, bound)])
        evidence = sequences.add(evidence, sequences.stakes(value, 1 - bound))
        if evidence.peak >= NEEDED:
            return last + 1
    return None


def wave(day: int, season: float) -> float:
    """What the season adds on a day."""
    return season * math.sin(2 * math.pi * day / DAYS)


def year_auc(rng: np.random.Generator, auc: float, season: float) -> float:
    """AUC of the examples of a whole year."""
    days = [draw(rng, auc, wave(day, season), 2000) for day in range(0, DAYS, 5)]
    scores, labels = (np.concatenate(parts) for parts in zip(*days, strict=True))
    pairs = float(labels.sum()) * float((~labels).sum())
    return wins(scores[labels], scores[~labels]) / pairs


def main() -> None:
    """Prints what is found, and when."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=60)
    years = parser.parse_args().years
    rng = np.random.default_rng(0)
    cases = [(auc, BOUND, 0.0) for auc in (0.7, 0.65, 0.6, 0.5)]
    cases.append((0.68, SEASON_BOUND, SEASON))
    for auc, bound, season in cases:
        found = [found_on(rng, auc, bound, season) for _ in range(years)]
        days = [day for day in found if day is not None]
        whole = year_auc(rng, auc, season)
        print(
            f"AUC {auc} of a day, {whole:.2f} of the year, bound {bound}: found in"
            f" {len(days)} of {years} years, median day"
            f" {statistics.median(days) if days else '-'}"
        )


if __name__ == "__main__":
    main()
