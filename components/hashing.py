"""The one mixing step behind every stable hash of the components."""

import numpy as np


def mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's step (Steele, Lea and Flood 2014), on uint64 that wraps around.

    Args:
      state: uint64, any shape.

    Returns:
      uint64 of the same shape; a permutation of the 64-bit numbers.
    """
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))
