"""The reference model: plain ERM, never asked about a row that it was fitted on.

A small network is fitted with classes in equal parts and early stopping. Rows fall into
folds by the key that a split keeps together; each row's logit comes from the network
that was fitted without its fold. A network that has learned its rows by heart would
have no residual left on them, and residuals are all that environments are made from.
"""

import dataclasses
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from components.errors import DataError
from components.hashing import mix

FOLDS = 3
HIDDEN = 64
FEWEST = 5  # rows of each label that a network is fitted on
_EPOCHS, _PATIENCE = 40, 5
_STEPS, _SMALLEST, _LARGEST = 40, 16, 256  # of an epoch; rows of a batch


@dataclasses.dataclass(frozen=True)
class Network:
    """One hidden layer of ReLUs.

    Attributes:
      weights: float32 [D, H] and [H, 1].
      biases: float32 [H] and [1].
    """

    weights: tuple[np.ndarray, np.ndarray]
    biases: tuple[np.ndarray, np.ndarray]

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Log-odds of label 1 where both are as frequent; float64 [rows].

        Args:
          rows: float32 [rows, D].
        """
        hidden = np.maximum(rows @ self.weights[0] + self.biases[0], 0)
        return (hidden @ self.weights[1] + self.biases[1])[:, 0].astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Reference:
    """A network for each fold, fitted without it."""

    networks: tuple[Network, ...]

    def logits(self, rows: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Each row's logit, of the network that has not seen its fold.

        Args:
          rows: float32 [rows, D].
          folds: of `parts`; [rows].

        Returns:
          float64 [rows].
        """
        found = np.zeros(len(rows))
        for fold, network in enumerate(self.networks):
            mine = folds == fold
            if mine.any():
                found[mine] = network.logits(rows[mine])
        return found


def parts(keys: np.ndarray, seed: int, number: int = FOLDS) -> np.ndarray:
    """Which part of the rows each is in, by its key alone; int64 [rows].

    Args:
      keys: uint64 [rows]; rows of one key are in one part.
      seed: another one parts them anew.
      number: of parts.
    """
    salted = mix(keys ^ mix(np.array([seed], np.uint64)))
    return (salted % np.uint64(number)).astype(np.int64)


def fit(rows: np.ndarray, labels: np.ndarray, seed: int) -> Network:
    """Fits one network; the labels should be in equal parts.

    Args:
      rows: float32 [N, D].
      labels: 0 or 1; [N].
      seed: of its first weights and of the order of rows.

    Raises:
      DataError: too few rows of a label are left by the keys.
    """
    fewest = min(np.bincount(labels, minlength=2))
    if fewest < FEWEST:
        raise DataError(
            "data.environments.infer: the keys of data.split.by leave"
            f" {fewest} rows of a label to fit a reference model on that has not seen"
            " the others; choose finer keys, or raise the sample"
        )
    model = MLPClassifier(
        (HIDDEN,),
        batch_size=min(max(len(rows) // _STEPS, _SMALLEST), _LARGEST),
        early_stopping=True,
        max_iter=_EPOCHS,
        n_iter_no_change=_PATIENCE,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, labels)
    first, second = (w.astype(np.float32) for w in model.coefs_)
    b_first, b_second = (b.astype(np.float32) for b in model.intercepts_)
    return Network((first, second), (b_first, b_second))


def cross_fit(
    rows: np.ndarray, labels: np.ndarray, folds: np.ndarray, seed: int
) -> Reference:
    """Fits a network without each fold.

    Args:
      rows: float32 [N, D].
      labels: 0 or 1; [N].
      folds: in [0, FOLDS); [N].
      seed: see `fit`.
    """
    return Reference(
        tuple(
            fit(rows[folds != fold], labels[folds != fold], seed)
            for fold in range(FOLDS)
        )
    )
