"""Simulated models whose true metrics are known, for `verdict_error_rates`.

Within a kind of day, the log-odds that a model gives to a row are normal, with one mean
for positives, another for negatives, and one deviation; days of several kinds make a
mixture of these. Its metrics are sums of normal probabilities (AUC, accuracy), a
one-dimensional integral (log loss, mean prediction) or the root of two such integrals
(slope of calibration), computed by Gauss-Hermite quadrature.

References:
  Egan 1975, Signal Detection Theory and ROC Analysis (the binormal model).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import special

from components.evaluator import measures
from components.evaluator import statistics as st
from components.evaluator.blocks import BLOCKS
from components.evaluator.results import Estimate

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(160)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
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

    def truth(self, predictor: int) -> dict[str, float]:
        """The metrics of `components.evaluator.measures`, in the population."""
        means, deviation = self.normals(predictor)
        mass = np.stack([1 - self.rates, self.rates], axis=1) * self.shares[:, None]
        positive = mass[:, 1].sum()
        z = means[..., None] + deviation * _NODES  # [T, 2, nodes]
        weights = mass[..., None] * _WEIGHTS
        loss = (weights[:, 1] * np.logaddexp(0, -z[:, 1])).sum()
        loss += (weights[:, 0] * np.logaddexp(0, z[:, 0])).sum()
        wins = special.ndtr(
            (means[:, None, 1] - means[None, :, 0]) / (deviation * np.sqrt(2))
        )
        share = mass[:, 1, None] * mass[None, :, 0]
        prediction = (weights * special.expit(z)).sum()
        right = mass[:, 1] @ special.ndtr(means[:, 1] / deviation)
        right += mass[:, 0] @ special.ndtr(-means[:, 0] / deviation)
        slope, _ = _logistic(z, weights)
        return {
            "auc": float((share * wins).sum() / share.sum()),
            "log_loss": float(loss),
            "accuracy": float(right),
            "calibration": float(prediction / positive),
            "calibration_slope": slope,
            "mean_label": float(positive),
            "mean_prediction": float(prediction),
        }


def _logistic(z: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the best logistic regression in the population.

    Args:
      z: [T, 2, nodes] log-odds, by class.
      weights: of the same shape, summing to 1.
    """
    a, b = 0.0, 1.0
    labels = np.broadcast_to(np.array([0.0, 1.0])[None, :, None], z.shape)
    for _ in range(100):
        p = special.expit(a + b * z)
        gradient = np.array([(weights * (labels - p)).sum()] * 2)
        gradient[1] = (weights * (labels - p) * z).sum()
        curve = weights * p * (1 - p)
        cross = (curve * z).sum()
        hessian = np.array([[curve.sum(), cross], [cross, (curve * z * z).sum()]])
        step = np.linalg.solve(hessian, gradient)
        a, b = a + step[0], b + step[1]
        if np.abs(step).max() < 1e-12:
            break
    return float(b), float(a)


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
    shared = rng.normal(size=rows) * np.sqrt(pairing)
    found = []
    for predictor in range(len(population.predictors)):
        means, deviation = population.normals(predictor)
        noise = shared + np.sqrt(1 - pairing) * rng.normal(size=rows)
        log_odds = means[kinds, labels] + deviation * noise
        predictions = special.expit(log_odds).astype(np.float32)
        row = st.rows_of(labels.astype(np.float64), predictions, np.ones(rows))
        found.append(st.group(row, blocks, slice_of, number))
    return found


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
