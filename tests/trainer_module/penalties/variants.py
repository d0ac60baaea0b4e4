"""The penalties that the contract suite runs: each by default, and with these options.

Every solver, estimator and kind of output that takes a way of its own through the code
has a line.
"""

from trainer_module import penalties

OPTIONS = {
    "caus_irl": [
        {"bandwidths": [0.5, 2.0], "on": "logits"},
        {"distance": "coral", "seed": 1},
    ],
    "coral": [
        {"on": "logits", "conditional": True},
        {"reference": "pooled"},
        {"reference": "pooled", "conditional": True},
    ],
    "eqrm": [{"alpha": 0.95}],
    "ib_erm": [{"on": "logits"}],
    "ib_irm": [{"on": "logits", "bottleneck_weight": 2.5}],
    "irm_v1": [{"unbiased": True}],
    "mm_rex": [{"lambda_min": 0.0}, {"lambda_min": -10.0}],
    "mmd": [
        {"bandwidths": [0.5, 2.0]},
        {"conditional": True, "estimator": "exact", "on": "logits"},
        {"conditional": True, "reference": "pooled", "bandwidths": [1.0]},
        {"estimator": "random_features", "bandwidths": [0.5, 2.0], "seed": 1},
        {"estimator": "random_features", "reference": "pooled", "on": "logits"},
        {"estimator": "random_features", "conditional": True, "random_features": 31},
    ],
    "moment_matching": [
        {"orders": [1, 2, 3, 4]},
        {"conditional": True, "on": "representations", "orders": [3]},
        {"reference": "pooled", "orders": [1, 2, 3]},
        {"conditional": True, "reference": "pooled"},
    ],
    "wasserstein": [
        {"order": 2},
        {"reference": "pooled"},
        {"order": 2, "reference": "pooled"},
        {"conditional": True},
        {"order": 2, "reference": "pooled", "conditional": True},
        {"solver": "sliced"},
        {"solver": "sliced", "order": 2, "on": "representations"},
        {
            "solver": "sliced",
            "on": "representations",
            "reference": "pooled",
            "conditional": True,
            "projections": 5,
            "seed": 3,
        },
        {"solver": "sinkhorn"},
        {"solver": "sinkhorn", "order": 2, "on": "representations", "epsilon": 1.0},
        {"solver": "sinkhorn", "reference": "pooled", "conditional": True},
        {"solver": "sinkhorn", "tolerance": 1e-5, "iterations": 200},
    ],
}

VARIANTS = [
    (name, options)
    for name in penalties.names()
    for options in [{}, *OPTIONS.get(name, [])]
]


def label(variant):
    """A variant's name in the list of tests."""
    name, options = variant
    return "-".join([name, *(f"{key}={value}" for key, value in options.items())])
