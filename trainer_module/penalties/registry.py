"""The registry: a penalty by its name, and what each promises."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer_module.methods import METHODS, check_name, check_options
from trainer_module.penalties.batch import EnvironmentBatch
from trainer_module.penalties.erm import erm
from trainer_module.penalties.irm import irm_v1
from trainer_module.penalties.rex import v_rex

Penalty = Callable[[EnvironmentBatch], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class PenaltyInfo:
    """A penalty with the properties that it declares; the contract suite tests them.

    Attributes:
      function: the penalty; hyperparameters are keyword-only.
      non_negative: never below 0.
      zero_where_equal: 0 where all environments hold the same examples.
      order_invariant: the order of the examples does not matter.
      deterministic: the same batch gives the same value.
      needs_representations: reads `batch.representations`.
    """

    function: Callable[..., tf.Tensor]
    non_negative: bool = True
    zero_where_equal: bool = False
    order_invariant: bool = True
    deterministic: bool = True
    needs_representations: bool = False


_PENALTIES: dict[str, PenaltyInfo] = {
    "erm": PenaltyInfo(erm, zero_where_equal=True),
    "irm_v1": PenaltyInfo(irm_v1),
    "v_rex": PenaltyInfo(v_rex, zero_where_equal=True),
}


def names() -> list[str]:
    """Names of all penalties, sorted."""
    return sorted(_PENALTIES)


def info(name: str) -> PenaltyInfo:
    """The entry of a penalty: its function and the properties that it declares.

    Raises:
      ValueError: the name is unknown. The message lists the legal names.
    """
    check_name(name)
    return _PENALTIES[name]


def get(name: str, **hyperparameters: Any) -> Penalty:
    """Makes a penalty.

    Args:
      name: one of `names()`.
      **hyperparameters: options of the method, as `methods.METHODS` lists them; those
        left out take their defaults.

    Returns:
      A pure function from an `EnvironmentBatch` to a float32 scalar.

    Raises:
      ValueError: the name or a hyperparameter is unknown. The message lists the legal
        ones.
    """
    check_options(name, hyperparameters)
    options = {**METHODS[name].options, **hyperparameters}
    return functools.partial(_PENALTIES[name].function, **options)
