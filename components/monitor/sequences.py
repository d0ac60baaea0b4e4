"""Evidence that a mean has left its bound, good at every look.

A quantity x >= 0 whose mean is at most m is a bet that nobody wins in the long run:
with f in [0, 1] the stake 1 + f (x / m - 1) is at most 1 on average, so the product of
such stakes is a supermartingale, and the chance that it ever reaches 1 / a is at most a
(Ville's inequality). No other assumption is made: no size of sample fixed beforehand,
no distribution, no variance.

A mean may leave its bound after a year of keeping it. So the money is not all laid out
on the first day: a share w_j of it begins to bet at look j,

    w_j = H / ((H + j - 1) (H + j)),   sum over j = 1

and at each look it is spread over several f, for how much to bet hangs on how far the
mean will move. What has not begun lies still. Their sum is the evidence:

    E_t = sum_{j <= t} w_j mean_f prod_{j <= s <= t} stakes_s(f)  +  sum_{j > t} w_j

and needs one number a fraction: A_t(f) = (A_{t-1}(f) + w_t / F) stakes_t(f).

References:
  Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by betting,
  section 4 (the bets). Ville 1939, Etude critique de la notion de collectif (the
  inequality). Shin, Ramdas and Rinaldo 2024, E-detectors: a nonparametric framework for
  sequential change detection, section 4.2 (bets that begin later, with weights).
"""

import dataclasses

import numpy as np

# Of what may be lost at most; a bet of it all could not go on.
FRACTIONS = np.array([0.9, *(2.0**-k for k in range(1, 8))])
HORIZON = 30
# Where the logarithm stops: beyond any bound that could be asked for, and JSON has no
# infinity.
_MOST = 1e4


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Evidence after some looks, of one mean or of many side by side.

    Attributes:
      looks: how many there were, from its first on.
      active: log of what the bets that have begun are worth; float64 [..., F].
      peak: log of the largest E so far, at least 0; float64 [...].
    """

    looks: int
    active: np.ndarray
    peak: np.ndarray


def start(shape: tuple[int, ...] = ()) -> Evidence:
    """Before the first look.

    Args:
      shape: of the means side by side; () is one.
    """
    active = np.full((*shape, len(FRACTIONS)), -np.inf)
    return Evidence(0, active, np.zeros(shape))


def stakes(
    values: np.ndarray, most: float | np.ndarray, sizes: np.ndarray | None = None
) -> np.ndarray:
    """What each fraction makes of one look.

    Args:
      values: x >= 0, float64 [..., N], the units of the look; none may hang on another
        but through the past.
      most: m >= 0, the largest mean that is allowed; of each unit where it is [N],
        known before x is.
      sizes: in [0, 1], [N]: how much of the bet is laid on each, known before x is; all
        of it where None.

    Returns:
      log of the product over the units, float64 [..., F]; 0 where there is none.
    """
    values = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = np.where(values == most, 1.0, values / most) - 1
    if sizes is not None:
        gain = np.where(sizes > 0, gain, 0.0) * np.where(sizes > 0, sizes, 1.0)
    total = [np.log1p(f * gain).sum(axis=-1) for f in FRACTIONS]
    return np.clip(np.stack(total, axis=-1), -_MOST, _MOST)


def add(evidence: Evidence, stake: np.ndarray) -> Evidence:
    """Evidence with one more look.

    Args:
      evidence: before it.
      stake: of `stakes`, [..., F].
    """
    looks = evidence.looks + 1
    fresh = np.log(_weight(looks) / len(FRACTIONS))
    active = np.clip(np.logaddexp(evidence.active, fresh) + stake, -_MOST, _MOST)
    found = Evidence(looks, active, evidence.peak)
    peak = np.maximum(evidence.peak, log_value(found))
    return dataclasses.replace(found, peak=peak)


def log_value(evidence: Evidence) -> np.ndarray:
    """Log E: how many times the money laid out has become; [...]."""
    # The weights of all looks to come.
    rest = np.log(HORIZON / (HORIZON + evidence.looks))
    begun = np.logaddexp.reduce(evidence.active, axis=-1)
    value: np.ndarray = np.logaddexp(begun, rest)
    return value


def _weight(look: int) -> float:
    return HORIZON / ((HORIZON + look - 1) * (HORIZON + look))
