"""The registry: a penalty by its name, and what each promises."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer_module.methods import METHODS, check_options, tasks_of
from trainer_module.penalties.batch import TASKS, EnvironmentBatch
from trainer_module.penalties.bottleneck import ib_erm, ib_irm
from trainer_module.penalties.causal import caus_irl
from trainer_module.penalties.eqrm import eqrm
from trainer_module.penalties.erm import erm
from trainer_module.penalties.gradients import fishr, iga
from trainer_module.penalties.irm import irm_v1
from trainer_module.penalties.mmd import mmd
from trainer_module.penalties.moments import coral, moment_matching
from trainer_module.penalties.rex import mm_rex, v_rex
from trainer_module.penalties.sd import sd
from trainer_module.penalties.transport import wasserstein

Penalty = Callable[[EnvironmentBatch], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class PenaltyInfo:
    """A penalty with the properties that it declares; the contract suite tests them.

    Attributes:
      function: the penalty; hyperparameters are keyword-only.
      non_negative: never below 0.
      zero_where_equal: 0 where all environments hold the same examples.
      names_matter: the value hangs on which environment has which id.
      order_invariant: the order of the examples does not matter.
      deterministic: the same batch gives the same value.
      needs_representations: reads `batch.representations`.
      exact_gradient: the gradient is that of the value, with nothing in it taken as a
        constant.
      tasks: the tasks that it is defined for.
    """

    function: Callable[..., tf.Tensor]
    non_negative: bool = True
    zero_where_equal: bool = False
    names_matter: bool = False
    order_invariant: bool = True
    deterministic: bool = True
    needs_representations: bool = False
    exact_gradient: bool = True
    tasks: tuple[str, ...] = TASKS


_PENALTIES: dict[str, PenaltyInfo] = {
    "caus_irl": PenaltyInfo(caus_irl, zero_where_equal=True, names_matter=True),
    "coral": PenaltyInfo(coral, zero_where_equal=True),
    "eqrm": PenaltyInfo(eqrm, non_negative=False),
    "erm": PenaltyInfo(erm, zero_where_equal=True),
    "fishr": PenaltyInfo(fishr, zero_where_equal=True, needs_representations=True),
    "ib_erm": PenaltyInfo(ib_erm),
    "ib_irm": PenaltyInfo(ib_irm),
    "iga": PenaltyInfo(iga, zero_where_equal=True, needs_representations=True),
    "irm_v1": PenaltyInfo(irm_v1),
    "mm_rex": PenaltyInfo(mm_rex, non_negative=False),
    "mmd": PenaltyInfo(mmd, zero_where_equal=True),
    "moment_matching": PenaltyInfo(moment_matching, zero_where_equal=True),
    "sd": PenaltyInfo(sd),
    "v_rex": PenaltyInfo(v_rex, zero_where_equal=True),
    "wasserstein": PenaltyInfo(wasserstein, zero_where_equal=True),
}


def names() -> list[str]:
    """Names of all penalties, sorted."""
    return sorted(_PENALTIES)


def info(name: str, **hyperparameters: Any) -> PenaltyInfo:
    """The entry of a penalty: its function and the properties that it declares.

    Args:
      name: one of `names()`.
      **hyperparameters: as for `get`; some change what is promised.

    Raises:
      ValueError: the name or a hyperparameter is unknown or illegal.
    """
    _check(name, hyperparameters)
    options = {**METHODS[name].defaults, **hyperparameters}
    entry = _PENALTIES[name]
    changes: dict[str, Any] = {}
    if options.get("on") == "representations":
        changes["needs_representations"] = True
    if options.get("unbiased"):
        changes["non_negative"] = False
    if options.get("bandwidths", ()) is None and options.get("distance") != "coral":
        changes["exact_gradient"] = False  # the median rule
    of_options = tasks_of(name, hyperparameters)
    tasks = tuple(task for task in entry.tasks if task in of_options)
    return dataclasses.replace(entry, tasks=tasks, **changes)


def get(name: str, **hyperparameters: Any) -> Penalty:
    """Makes a penalty.

    Args:
      name: one of `names()`.
      **hyperparameters: options of the method, as `methods.METHODS` lists them; those
        left out take their defaults.

    Returns:
      A pure function from an `EnvironmentBatch` to a float32 scalar.

    Raises:
      ValueError: the name or a hyperparameter is unknown or illegal. The message lists
        the legal ones.
    """
    _check(name, hyperparameters)
    return functools.partial(_PENALTIES[name].function, **hyperparameters)


def _check(name: str, hyperparameters: dict[str, Any]) -> None:
    if name in METHODS and name not in _PENALTIES:
        raise ValueError(
            f"Method {name!r} is an objective, not a penalty: make it with "
            f"objectives.get; the penalties are {', '.join(names())}"
        )
    check_options(name, hyperparameters)
