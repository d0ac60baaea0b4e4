"""Penalties: pure functions of a batch that measure what differs by environment.

| name     | function | penalises                                                  |
|----------|----------|------------------------------------------------------------|
| `erm`    | `erm`    | nothing                                                    |
| `irm_v1` | `irm_v1` | the gradient of each risk in a dummy scale of the logits   |
| `v_rex`  | `v_rex`  | the variance of the risks                                  |

    penalty = penalties.get("v_rex")
    value = penalty(penalties.EnvironmentBatch(logits, labels, ids, num_environments=2))
"""

from trainer_module.penalties.batch import (
    TASKS,
    EnvironmentBatch,
    Environments,
    group_by_environment,
    one_hot_labels,
    per_example_loss,
)
from trainer_module.penalties.erm import erm
from trainer_module.penalties.irm import irm_v1
from trainer_module.penalties.registry import Penalty, PenaltyInfo, get, info, names
from trainer_module.penalties.rex import v_rex

__all__ = [
    "TASKS",
    "EnvironmentBatch",
    "Environments",
    "Penalty",
    "PenaltyInfo",
    "erm",
    "get",
    "group_by_environment",
    "info",
    "irm_v1",
    "names",
    "one_hot_labels",
    "per_example_loss",
    "v_rex",
]
