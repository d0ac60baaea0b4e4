"""Objectives: methods that own variables or need the model, and penalties as such.

| name          | class              | minimises                                     |
|---------------|--------------------|-----------------------------------------------|
| `adversarial` | `Adversarial`      | what small perturbations do to the outputs    |
| `cdann`       | `Cdann`            | as `dann`, with an adversary that sees labels |
| `dann`        | `Dann`             | what the representation tells of environments |
| `group_dro`   | `GroupDro`         | the risks, by weights that follow the worst   |
| any penalty's | `PenaltyObjective` | the penalty                                   |

    objective = objectives.get("group_dro", step_size=0.1)
    objective.build(objectives.Shapes(num_environments=2, ...))
    value = objective(objectives.Step(batch, features, forward, number))
"""

from collections.abc import Callable
from typing import Any

from trainer_module.methods import METHODS, check_options
from trainer_module.objectives.adversarial import Adversarial
from trainer_module.objectives.base import Objective, PenaltyObjective, Shapes, Step
from trainer_module.objectives.clean import clean_pass, modes_agree
from trainer_module.objectives.dann import Cdann, Dann
from trainer_module.objectives.group_dro import GroupDro

__all__ = [
    "Adversarial",
    "Cdann",
    "Dann",
    "GroupDro",
    "Objective",
    "PenaltyObjective",
    "Shapes",
    "Step",
    "clean_pass",
    "get",
    "modes_agree",
    "names",
]

_OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "adversarial": Adversarial,
    "cdann": Cdann,
    "dann": Dann,
    "group_dro": GroupDro,
}


def names() -> list[str]:
    """Names of all methods, sorted: those of penalties too."""
    return sorted(METHODS)


def get(name: str, **options: Any) -> Objective:
    """Makes an objective.

    Args:
      name: one of `names()`.
      **options: options of the method, as `methods.METHODS` lists them; those left out
        take their defaults.

    Returns:
      The objective, not yet built.

    Raises:
      ValueError: the name or an option is unknown or illegal. The message lists the
        legal ones.
    """
    check_options(name, options)
    if name in _OBJECTIVES:
        return _OBJECTIVES[name](**options)
    return PenaltyObjective(name, **options)
