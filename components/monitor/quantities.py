"""What is measured of each example: numbers whose means a stream can be held to.

A quantity of which one end of the range is known can be bounded from the other side:
`sequences` needs numbers >= 0, so a largest mean needs a lower end and a smallest mean
an upper one.
"""

import math

import numpy as np

from components.evaluator import multiclass, regression
from components.evaluator import statistics as binary
from components.invariance_validator.metrics import BINARY, MULTICLASS

# Lower and upper end.
RANGES = {
    "log_loss": (0.0, math.inf),
    "accuracy": (0.0, 1.0),
    "mean_label": (0.0, 1.0),
    "mean_prediction": (0.0, 1.0),
    "mean_confidence": (0.0, 1.0),
    "mean_squared_error": (0.0, math.inf),
    "mean_absolute_error": (0.0, math.inf),
    "calibration_gap": (-1.0, 1.0),
    "calibration_shift": (-1.0, 1.0),
}
# Of a quantity made of a column or of the scores: `missing:seats`, `below:0.1:0.2`.
MISSING, BELOW = "missing:", "below:"
UNLABELLED = ("mean_prediction", "mean_confidence")
# A loss is cut here, as Keras cuts it: one example must not decide for all. It makes
# the mean smaller, never larger.
MOST_LOSS = -math.log(1e-7)


def range_of(quantity: str) -> tuple[float, float]:
    """Its ends."""
    return RANGES.get(quantity, (0.0, 1.0))


def needs_label(quantity: str) -> bool:
    """Whether it can be told of labelled examples alone."""
    return quantity in RANGES and quantity not in UNLABELLED


def measure(
    task: str, labels: np.ndarray, predictions: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The quantities of each example.

    calibration_gap is label - prediction; of several classes correct - confidence.
    calibration_shift is the same, but judged given the predictions, see `looks`.

    Args:
      task: binary, multiclass or regression.
      labels: float64 [N], NaN where it is unknown.
      predictions: [N], of several classes [N, K].

    Returns:
      quantity -> float64 [N], NaN where the label is unknown or the prediction invalid;
      and which predictions are invalid, bool [N].
    """
    known = ~np.isnan(labels)
    filled, ones = np.where(known, labels, 0.0), np.ones(len(labels))
    if task == BINARY:
        sums = binary.rows_of(filled, predictions, ones).sums
        invalid = sums[:, binary.INVALID] > 0
        found = {
            "log_loss": np.minimum(sums[:, binary.LOSS], MOST_LOSS),
            "accuracy": sums[:, binary.CORRECT],
            "mean_label": labels.astype(np.float64),
            "mean_prediction": sums[:, binary.PREDICTION],
            "calibration_gap": labels - sums[:, binary.PREDICTION],
        }
    elif task == MULTICLASS:
        sums = multiclass.rows_of(filled.astype(np.int64), predictions, ones).sums
        invalid = sums[:, multiclass.INVALID] > 0
        correct, confidence = (
            sums[:, multiclass.CORRECT],
            sums[:, multiclass.CONFIDENCE],
        )
        found = {
            "log_loss": np.minimum(sums[:, multiclass.LOSS], MOST_LOSS),
            "accuracy": correct,
            "mean_confidence": confidence,
            "calibration_gap": correct - confidence,
        }
    else:
        sums = regression.rows_of(filled, predictions, ones).sums
        invalid = sums[:, regression.INVALID] > 0
        found = {
            "mean_squared_error": sums[:, regression.LOSS],
            "mean_absolute_error": sums[:, regression.ABSOLUTE],
        }
    if "calibration_gap" in found:
        found["calibration_shift"] = found["calibration_gap"]
    unknown = {name: invalid for name in found}
    unknown |= {name: invalid | ~known for name in found if needs_label(name)}
    return {n: np.where(unknown[n], np.nan, x) for n, x in found.items()}, invalid
