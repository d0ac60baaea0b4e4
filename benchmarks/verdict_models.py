"""Simulated models whose true metrics are known, for `verdict_error_rates`.

Within a kind of day, the log-odds that a model gives to a row are normal, with one mean
for positives, another for negatives and one deviation, rounded to a grid of a twelfth
of it. So a population is a finite table of probabilities, and its true metrics are sums
over it; the slope of calibration is the root of two such sums. Rows are drawn one by
one; as many are alike, they are counted before the Evaluator's statistics take them.

References:
  Egan 1975, Signal Detection Theory and ROC Analysis (the binormal model).
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from scipy import special

from components.evaluator import measures
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS
from components.evaluator.results import Estimate

_STEPS = 12  # of the grid, in a deviation
_REACH = 6  # deviations beyond the outermost mean
_LARGEST = 15.0  # log-odds: a float32 probability that is not yet 1
_MOST_ROWS = 400_000  # drawn at a time


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A model: log-odds = (true log-odds on an ordinary day) / slope + shift.

    Attributes:
      separation: distance of the classes' means, in deviations; AUC is
        Phi(separation / sqrt 2) on an ordinary day.
      slope: calibration slope on an ordinary day.
      shift: added to the log-odds.
    """

    separation: float
    slope: float = 1.0
    shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Day:
    """A kind of day.

    Attributes:
      share: how often it comes.
      separation: factor on the classes' separation.
      odds: factor on the odds of a positive.
      offset: what all log-odds are moved by, in deviations.
    """

    share: float = 1.0
    separation: float = 1.0
    odds: float = 1.0
    offset: float = 0.0


@dataclasses.dataclass(frozen=True)
class Population:
    """Rows of a slice.

    Attributes:
      prevalence: of positives on an ordinary day.
      predictors: models that score its rows.
      days: kinds of days; their shares add up to 1.
    """

    prevalence: float
    predictors: tuple[Predictor, ...]
    days: tuple[Day, ...] = (Day(),)

    @property
    def shares(self) -> np.ndarray:
        """Of the kinds of days, [T]."""
        return np.array([day.share for day in self.days])

    @property
    def rates(self) -> np.ndarray:
        """Prevalence by kind of day, [T]."""
        odds = special.logit(self.prevalence) + np.log([day.odds for day in self.days])
        return special.expit(odds)

    def normals(self, predictor: int) -> tuple[np.ndarray, float]:
        """Means [T, 2] of the log-odds by kind of day and class; their deviation."""
        model = self.predictors[predictor]
        gap = model.separation
        centre = special.logit(self.prevalence)
        apart = np.array([gap * day.separation for day in self.days])
        offset = np.array([day.offset for day in self.days])
        # On an ordinary day log-odds = centre + gap * x - gap^2 / 2, x ~ N(y gap, 1).
        x = np.stack([offset + (gap - apart) / 2, offset + (gap + apart) / 2], axis=1)
        true = centre + gap * x - gap**2 / 2
        return true / model.slope + model.shift, gap / model.slope

    def grid(self, predictor: int) -> "Grid":
        """What the log-odds are rounded to."""
        means, deviation = self.normals(predictor)
        step = deviation / _STEPS
        first = means.min() - _REACH * deviation
        last = means.max() + _REACH * deviation
        ends = np.clip([first, last], -_LARGEST, _LARGEST) / step
        return Grid(step, *(int(end) for end in np.rint(ends)))

    def table(self, predictor: int) -> np.ndarray:
        """Probability of label and log-odds by kind of day, [T, 2, points]."""
        means, deviation = self.normals(predictor)
        grid = self.grid(predictor)
        edges = (np.arange(grid.first, grid.last) + 0.5) * grid.step
        below = special.ndtr((edges - means[..., None]) / deviation)
        below = np.concatenate(
            [np.zeros_like(below[..., :1]), below, np.ones_like(below[..., :1])],
            axis=-1,
        )
        labels = np.stack([1 - self.rates, self.rates], axis=1)
        return np.diff(below, axis=-1) * (labels * self.shares[:, None])[..., None]

    def truth(self, predictor: int) -> dict[str, float]:
        """The metrics of `components.evaluator.measures`, in the population."""
        negative, positive = self.table(predictor).sum(axis=0)
        z = self.grid(predictor).points
        every, share = negative + positive, positive.sum()
        above = share - np.cumsum(positive)
        wins = (negative * (above + positive / 2)).sum()
        loss = positive * np.logaddexp(0, -z) + negative * np.logaddexp(0, z)
        prediction = (every * special.expit(z)).sum()
        return {
            "auc": float(wins / (share * negative.sum())),
            "log_loss": float(loss.sum()),
            "accuracy": float(positive[z > 0].sum() + negative[z <= 0].sum()),
            "calibration": float(prediction / share),
            "calibration_slope": _slope(z, every, positive),
            "mean_label": float(share),
            "mean_prediction": float(prediction),
        }


@dataclasses.dataclass(frozen=True)
class Grid:
    """Whole multiples of a step, from `first` to `last`."""

    step: float
    first: int
    last: int

    @property
    def points(self) -> np.ndarray:
        """Log-odds, rising."""
        return np.arange(self.first, self.last + 1) * self.step

    def places(self, log_odds: np.ndarray) -> np.ndarray:
        """Index of the nearest point."""
        nearest = np.rint(log_odds / self.step).astype(np.int64)
        return nearest.clip(self.first, self.last) - self.first


def _slope(z: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> float:
    """Slope of the best logistic regression in the population, by Newton's method.

    Args:
      z: [points] log-odds.
      weights: [points], summing to 1.
      positives: [points] of these, those of positives.
    """
    design = np.stack([np.ones_like(z), z])
    fitted = np.array([0.0, 1.0])
    for _ in range(100):
        p = special.expit(fitted @ design)
        gradient = design @ (positives - weights * p)
        hessian = (design * (weights * p * (1 - p))) @ design.T
        step = np.linalg.solve(hessian, gradient)
        fitted = fitted + step
        if np.abs(step).max() < 1e-12:
            break
    return float(fitted[1])


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What the Evaluator computes of M slices by one predictor.

    Attributes:
      examples: in each slice.
      positives: [M].
      block_examples: [M, BLOCKS].
      metrics: name -> (values [M], replicates [M, BLOCKS]).
    """

    examples: int
    positives: np.ndarray
    block_examples: np.ndarray
    metrics: dict[str, tuple[np.ndarray, np.ndarray]]

    def estimates(self, i: int) -> dict[str, Estimate]:
        """Of slice i, as a `SliceResult` holds them."""
        return {n: Estimate(float(v[i]), r[i]) for n, (v, r) in self.metrics.items()}


def simulate(
    rng: np.random.Generator,
    populations: Sequence[Population],
    slices: int,
    size: int,
    days: int | None = None,
    pairing: float = 0.8,
) -> list[list[Measured]]:
    """Draws rows and evaluates them with the Evaluator's own code.

    Slice i of every population shares its days: their blocks and kinds.

    Args:
      rng: draws the rows.
      populations: of slices; all have the same kinds of days.
      slices: number of slices of each.
      size: rows of each.
      days: number of days of a slice, or None where each row is on its own.
      pairing: correlation, within a class, of the predictors' log-odds.

    Returns:
      By population, by predictor.
    """
    parts: list[list[list[list[st.Statistics]]]] = [
        [[] for _ in p.predictors] for p in populations
    ]
    step = max(1, _MOST_ROWS // size)
    for start in range(0, slices, step):
        number = min(step, slices - start)
        calendar = None
        if days is not None:
            kinds = rng.choice(
                len(populations[0].days), (number, days), p=populations[0].shares
            )
            calendar = rng.integers(0, BLOCKS, (number, days)), kinds
        for population, found in zip(populations, parts, strict=True):
            drawn = _draw(rng, population, number, size, calendar, pairing)
            for statistics, kept in zip(drawn, found, strict=True):
                kept.append(statistics)
    return [
        [_measured([s for part in kept for s in part], size) for kept in found]
        for found in parts
    ]


def _draw(rng, population, number, size, calendar, pairing):
    """Statistics of `number` slices of each predictor."""
    rows = number * size
    slice_of = np.repeat(np.arange(number), size)
    if calendar is None:
        blocks = rng.integers(0, BLOCKS, rows)
        kinds = np.zeros(rows, np.int64)
    else:
        day = rng.integers(0, calendar[0].shape[1], rows)
        blocks, kinds = (part[slice_of, day] for part in calendar)
    labels = (rng.random(rows) < population.rates[kinds]).astype(np.int64)
    place = (slice_of * BLOCKS + blocks) * 2 + labels
    shared = rng.normal(size=rows) * np.sqrt(pairing)
    found = []
    for predictor in range(len(population.predictors)):
        means, deviation = population.normals(predictor)
        noise = shared + np.sqrt(1 - pairing) * rng.normal(size=rows)
        grid = population.grid(predictor)
        where = grid.places(means[kinds, labels] + deviation * noise)
        points = len(grid.points)
        counts = np.bincount(
            place * points + where, minlength=number * BLOCKS * 2 * points
        )
        found.append(statistics_of(grid, counts.reshape(number, BLOCKS, 2 * points)))
    return found


def statistics_of(grid: Grid, counts: np.ndarray) -> list[st.Statistics]:
    """The Evaluator's statistics of rows on a grid.

    Args:
      grid: of the log-odds.
      counts: [slices, BLOCKS, 2 * points], rows with label 0, then with label 1.

    Returns:
      What `statistics.group` makes of these rows, of each slice.
    """
    kinds = _kinds_of_rows(grid)
    fine, fine_index = np.unique(kinds.fine, return_inverse=True)
    coarse, coarse_index = np.unique(kinds.coarse, return_inverse=True)
    columns = kinds.sums[:, [st.WEIGHT, st.LABEL, st.PREDICTION]]
    fine_sums = _by_bin(columns, fine_index, len(fine))
    weight, label = kinds.sums[:, st.WEIGHT], kinds.sums[:, st.LABEL]
    prediction, logits = kinds.sums[:, st.PREDICTION], kinds.logits
    columns = np.column_stack(
        [weight, label, weight * logits, weight * logits**2, prediction]
    )
    coarse_sums = _by_bin(columns, coarse_index, len(coarse))
    keys = (np.arange(BLOCKS)[:, None] * st.COARSE_BINS + coarse).reshape(-1)
    found = []
    for one in counts.astype(np.float64):
        whole = (one.sum(axis=0) @ fine_sums).reshape(-1, 3)
        parts = (one @ coarse_sums).reshape(-1, columns.shape[1])
        there, here = whole[:, 0] > 0, parts[:, 0] > 0
        found.append(
            st.Statistics(
                one @ kinds.sums,
                st.Histogram(fine[there], whole[there]),
                st.Histogram(keys[here], parts[here]),
            )
        )
    return found


@functools.lru_cache
def _kinds_of_rows(grid: Grid) -> st.Rows:
    """A row of each label at each point."""
    predictions = np.tile(special.expit(grid.points).astype(np.float32), 2)
    labels = np.repeat([0.0, 1.0], len(grid.points))
    return st.rows_of(labels, predictions, np.ones(len(labels)))


def _by_bin(columns: np.ndarray, index: np.ndarray, bins: int) -> np.ndarray:
    """Matrix [rows, bins * columns] that sums rows of each kind by bin."""
    matrix = np.zeros((len(columns), bins, columns.shape[1]))
    matrix[np.arange(len(columns)), index.reshape(-1)] = columns
    return matrix.reshape(len(columns), -1)


def _measured(statistics: Sequence[st.Statistics], size: int) -> Measured:
    found = [measures.measure(one) for one in statistics]
    positives = [one.blocks[:, st.POSITIVES].sum() for one in statistics]
    examples = [one.blocks[:, st.EXAMPLES] for one in statistics]
    return Measured(
        size,
        np.array(positives, np.int64),
        np.array(examples, np.int64),
        {
            name: (
                np.array([one[name][0] for one in found]),
                np.array([one[name][1] for one in found]),
            )
            for name in found[0]
        },
    )
