"""A report with something of everything, for the tests that open it in a browser."""

import numpy as np

from components.invariance_validator import changed, report
from components.invariance_validator.decision import decide
from components.invariance_validator.record import decision_record

CHECKS = {
    "worst": {"auc": {"min": 0.65}, "log_loss": {"max": 0.6}},
    "gap": {"auc": {"max": 0.05, "over": "environment"}},
    "calibration_slope": {"min": 0.8, "max": 1.25, "over": "environment"},
    "baseline": {"auc": {"max_drop": 0.01}},
}
LOAD_CHECK = {
    "blessed": False,
    "problems": ["takes 1,200 ms to answer a request of one example (99 of 100)"],
    "examples": 128,
    "compared": ["scores", "alone", "raw", "transformed"],
    "bounds": {
        "latency_ms": 1000.0,
        "memory_mb": 4096.0,
        "load_seconds": 120.0,
        "tolerance": 1e-4,
    },
    "signatures": ["raw", "serving_default", "transformed"],
    "load_seconds": 2.5,
    "latency_ms": {"1": [3.25, 1200.0], "64": [8.0, 9.5]},
    "peak_mb": 812.0,
    "warmup": 3,
    "tensorflow": "2.16.2",
}


def results(make, places, values, seed=0):
    """Both models on environments and on the values of a feature, a little apart."""
    rng = np.random.default_rng(seed)
    slices = [
        *(([], split) for split in ("eval", "ood")),
        *(([("environment", name)], split) for name, split in places),
        *(([("carrier", v)], split) for v in values for split in ("eval", "ood")),
    ]
    found = []
    for place, split in slices:
        many = 1 if place else sum(where == split for _, where in places)
        for model in ("candidate", "baseline"):
            signs = rng.normal(size=len(make.signs))
            found.append(
                make.result(
                    place,
                    split,
                    1000 * many,
                    model=model,
                    bins=make.curve() if len(place) == 1 else (),
                    auc=make.estimate(rng.normal(0.7, 0.02), 0.01, signs),
                    log_loss=make.estimate(rng.normal(0.5, 0.02), 0.01, signs),
                    calibration_slope=rng.normal(0.95, 0.05),
                    calibration=1.02,
                )
            )
    return found


def history(names, steps=200):
    """Training curves of environments."""
    x = list(range(steps))
    risks = {
        name: [0.7 - 0.001 * i + 0.01 * (j % 5) for i in x]
        for j, name in enumerate(names)
    }
    return {
        "steps": x,
        "risk": risks,
        "penalty": [0.01 / (i + 1) for i in x],
        "weight": [0.0 if i < steps // 2 else 100.0 for i in x],
        "method": "v_rex",
        "device": "CPU",
    }


def material(make, places, values, name="flights", **more):
    """Everything that a report may have.

    Args:
      make: the fixture of that name.
      places: (environment, split).
      values: of the feature `carrier`.
      name: of the pipeline.
      **more: fields of `Material` that replace these.
    """
    found = results(make, places, values)
    counts = {
        "environments": {
            env: {
                "held_out": split == "ood",
                "splits": {split: {"examples": 1000, "positives": 250}},
                "dropped": {"no_label": 3708},
            }
            for env, split in places
        },
        "slices": {"eval": {'["carrier"]': [[["OO"], 6]]}},
    }
    decision = decide(found, counts, CHECKS, expect_baseline=True)
    context = {
        "name": name,
        "method": "v_rex",
        "config": "c" * 32,
        "code": "d" * 32,
        "versions": {"python": "3.10.1", "tfx": "1.16.0"},
    }
    kept = decision_record(decision, found, counts, context)
    kept |= {"model_digest": "a" * 32, "examples_fingerprint": "b" * 32}
    then = dict(kept, context=dict(context, method="erm"), model_digest="e" * 32)
    given = {
        "decision": decision,
        "results": found,
        "counts": counts,
        "context": context,
        "history": history([env for env, _ in places]),
        "lineage": {"model": "artifacts/Trainer/model/9 (id 9)"},
        "digests": {"model_digest": "a" * 32, "examples_fingerprint": "b" * 32},
        "load_check": LOAD_CHECK,
        "changes": changed.compare(
            changed.reference(then, {"checks": {"worst": {"auc": {"min": 0.6}}}}),
            changed.reference(kept, {"checks": CHECKS}),
        ),
    }
    return report.Material(**{**given, **more})
