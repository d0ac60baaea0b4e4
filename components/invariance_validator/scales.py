"""The scales on which confidence limits are formed, there and back."""

import numpy as np
from scipy import special

IDENTITY, INVERSE, LOGIT = "identity", "inverse", "logit"
LOSS, ROOT, EXPLAINED = "loss", "root", "explained"
_SQUARE, _INVERSE_SQUARE, _INVERSE_REST = "square", "inverse square", "inverse rest"


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _inverse(x: np.ndarray) -> np.ndarray:
    """1 / x of what is positive; where a limit went past 0 there is none."""
    return np.where(x > 0, 1 / x, np.where(x <= 0, np.inf, np.nan))


def _root(x: np.ndarray) -> np.ndarray:
    """The root; of a limit that went past 0 it is 0."""
    return np.sqrt(np.where(x < 0, 0.0, x))


def _inverse_square(x: np.ndarray) -> np.ndarray:
    return _inverse(np.square(x))


def _inverse_root(x: np.ndarray) -> np.ndarray:
    return np.sqrt(_inverse(x))


def _inverse_rest(x: np.ndarray) -> np.ndarray:
    """1 / (1 - x) of a share explained."""
    return _inverse(1 - x)


def _rest_of_inverse(x: np.ndarray) -> np.ndarray:
    return 1 - _inverse(x)


# There and back. Both are increasing or both decreasing.
THERE_AND_BACK = {
    IDENTITY: (_same, _same),
    INVERSE: (_inverse, _inverse),
    LOGIT: (special.logit, special.expit),
    _SQUARE: (np.square, _root),
    _INVERSE_SQUARE: (_inverse_square, _inverse_root),
    _INVERSE_REST: (_inverse_rest, _rest_of_inverse),
}
# What a metric may declare.
SCALES = (IDENTITY, INVERSE, LOGIT, LOSS, ROOT, EXPLAINED)
FALLING = (INVERSE, _INVERSE_SQUARE)
# Scales of which the outermost limits count.
OUTERMOST = {
    LOSS: (IDENTITY, INVERSE),
    ROOT: (_SQUARE, _INVERSE_SQUARE),
    EXPLAINED: (IDENTITY, _INVERSE_REST),
}
