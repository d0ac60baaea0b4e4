"""Penalties: pure functions of a batch that measure what differs by environment.

| name     | function | penalises                                                  |
|----------|----------|------------------------------------------------------------|
| `caus_irl` | `caus_irl` | the distance between random mixtures of environments   |
| `coral`  | `coral`  | differences of means and covariances                       |
| `eqrm`   | `eqrm`   | replaces the mean risk: a quantile of the risks            |
| `erm`    | `erm`    | nothing                                                    |
| `fishr`  | `fishr`  | differences of the variances of the last layer's gradients |
| `ib_erm` | `ib_erm` | the variance of the outputs within environments            |
| `ib_irm` | `ib_irm` | `irm_v1` and `ib_erm` together                             |
| `iga`    | `iga`    | the variance of the last layer's gradients of the risks    |
| `irm_v1` | `irm_v1` | the gradient of each risk in a dummy scale of the logits   |
| `mm_rex` | `mm_rex` | replaces the mean risk: the worst affine combination       |
| `mmd`    | `mmd`    | the maximum mean discrepancy of the representations        |
| `moment_matching` | `moment_matching` | differences of central moments          |
| `sd`     | `sd`     | squared logits                                             |
| `v_rex`  | `v_rex`  | the variance of the risks                                  |
| `wasserstein` | `wasserstein` | the transport distance of the outputs               |

    penalty = penalties.get("v_rex")
    value = penalty(penalties.EnvironmentBatch(logits, labels, ids, num_environments=2))
"""

from trainer_module.penalties.batch import (
    TASKS,
    EnvironmentBatch,
    Environments,
    group_by_environment,
    one_hot_labels,
)
from trainer_module.penalties.bottleneck import ib_erm, ib_irm
from trainer_module.penalties.causal import caus_irl
from trainer_module.penalties.eqrm import eqrm
from trainer_module.penalties.erm import erm
from trainer_module.penalties.gradients import fishr, iga
from trainer_module.penalties.irm import irm_v1
from trainer_module.penalties.losses import logit_gradients, per_example_loss
from trainer_module.penalties.mmd import mmd
from trainer_module.penalties.moments import coral, moment_matching
from trainer_module.penalties.registry import Penalty, PenaltyInfo, get, info, names
from trainer_module.penalties.rex import mm_rex, v_rex
from trainer_module.penalties.sd import sd
from trainer_module.penalties.transport import wasserstein

__all__ = [
    "TASKS",
    "EnvironmentBatch",
    "Environments",
    "Penalty",
    "PenaltyInfo",
    "caus_irl",
    "coral",
    "eqrm",
    "erm",
    "fishr",
    "get",
    "group_by_environment",
    "ib_erm",
    "ib_irm",
    "iga",
    "info",
    "irm_v1",
    "logit_gradients",
    "mm_rex",
    "mmd",
    "moment_matching",
    "names",
    "one_hot_labels",
    "per_example_loss",
    "sd",
    "v_rex",
    "wasserstein",
]
