"""Evaluations that must not release a model, each made from one that does."""

import dataclasses
import math

import numpy as np
import pytest

from components.evaluator.results import Estimate
from components.invariance_validator.decision import decide

NAN, INF = math.nan, math.inf
CHECKS = {
    "worst": {
        "auc": {"min": 0.65},
        "log_loss": {"max": 0.6},
        "accuracy": {"min": 0.7},
        "mean_label": {"min": 0.05, "max": 0.5},
    },
    "gap": {"auc": {"max": 0.05, "over": "environment"}},
    "calibration_slope": {"min": 0.8, "max": 1.25},
    "baseline": {"auc": {"max_drop": 0.02}, "log_loss": {"max_rise": 0.02}},
}
VALUES = {
    "auc": 0.8,
    "log_loss": 0.4,
    "accuracy": 0.85,
    "mean_label": 0.25,
    "calibration_slope": 1.0,
}
SLICES = {
    ("overall", "eval"): 4000,
    ("environment=EWR", "eval"): 2000,
    ("environment=JFK", "eval"): 2000,
    ("carrier=AA", "eval"): 1500,
    ("carrier=UA", "eval"): 2500,
    ("overall", "ood"): 2000,
    ("environment=LGA", "ood"): 2000,
    ("carrier=AA", "ood"): 900,
    ("carrier=UA", "ood"): 1100,
}
BAD = ("environment=LGA", "ood")


@pytest.fixture
def good(make):
    """Results and counts of a model that is released."""
    results = []
    for (name, split), examples in SLICES.items():
        for model in ("candidate", "baseline"):
            metrics = {metric: (value, 0.002) for metric, value in VALUES.items()}
            one = make.result(name, split, examples, model=model, **metrics)
            results.append(dataclasses.replace(one, block_examples=(100,) * 20))
    counts = make.counts(EWR=2000, JFK=2000, LGA=("ood", 2000))
    for split in ("eval", "ood"):
        counts["slices"][split]['["carrier"]'] = [
            [[name], SLICES[f"carrier={name}", split]] for name in ("AA", "UA")
        ]
    return results, counts


def blessed(results, counts):
    try:
        return decide(results, counts, CHECKS, expect_baseline=True).blessed
    except ValueError:  # a slice twice, blocks that do not match
        return False


def test_the_model_that_all_are_made_from_is_released(good):
    decision = decide(*good, CHECKS, expect_baseline=True)
    assert decision.blessed, [check.reason for check in decision.checks]


def at(results, where=BAD, model="candidate"):
    """Its place in the list."""
    for i, one in enumerate(results):
        if (one.name, one.split, one.model) == (*where, model):
            return i
    raise AssertionError(where)


def changed(where=BAD, model="candidate", **fields):
    """Changes fields of one result."""

    def change(results, counts):
        i = at(results, where, model)
        results[i] = dataclasses.replace(results[i], **fields)

    return change


def measured(metric, value=None, replicates=None, where=BAD, model="candidate"):
    """Changes a metric: its value, or its replicates by a function."""

    def change(results, counts):
        i = at(results, where, model)
        old = results[i].metrics[metric]
        new = old.replicates if replicates is None else replicates(old.replicates)
        estimate = Estimate(old.value if value is None else value, np.asarray(new))
        metrics = {**results[i].metrics, metric: estimate}
        results[i] = dataclasses.replace(results[i], metrics=metrics)

    return change


def without(test):
    """Leaves out the results of which something is true."""

    def change(results, counts):
        results[:] = [one for one in results if not test(one)]

    return change


def renamed(**fields):
    """Changes fields of all results."""

    def change(results, counts):
        results[:] = [dataclasses.replace(one, **fields) for one in results]

    return change


def swap(field, first, second):
    """Swaps two values of a field in all results."""

    def change(results, counts):
        other = {first: second, second: first}
        results[:] = [
            dataclasses.replace(one, **{field: other[getattr(one, field)]})
            for one in results
        ]

    return change


def again(**fields):
    """Evaluates the bad slice a second time."""

    def change(results, counts):
        results.append(dataclasses.replace(results[at(results)], **fields))

    return change


def counted(environment, **splits):
    """Changes what the counts say of an environment."""

    def change(results, counts):
        counts["environments"][environment] = {
            "held_out": "ood" in splits,
            "splits": {
                s: {"examples": n, "positives": n // 4} for s, n in splits.items()
            },
        }

    return change


def both(*changes):
    def change(results, counts):
        for one in changes:
            one(results, counts)

    return change


def replaced(i, value):
    def change(replicates):
        replicates = replicates.copy()
        replicates[i] = value
        return replicates

    return change


def emptied(results, counts):
    results.clear()


def forgotten(results, counts):
    results.clear()
    counts.clear()


def crossed_twice(results, counts):
    one = results[at(results)]
    pairs = (("environment", "LGA"), ("carrier", "UA"))
    results.append(dataclasses.replace(one, slice=pairs))
    results.append(dataclasses.replace(one, slice=pairs[::-1]))


def moved_without_its_errors(results, counts):
    for metric in VALUES:
        measured(metric, replicates=lambda r: np.full(20, r[0]))(results, counts)


HOSTILE = {
    # missing
    "no environment": without(lambda r: (r.name, r.split) == BAD),
    "no overall": without(lambda r: r.name == "overall"),
    "no carrier": without(lambda r: r.name == "carrier=AA" and r.split == "ood"),
    "no carriers": without(lambda r: r.name.startswith("carrier")),
    "no environments": without(lambda r: r.name.startswith("environment")),
    "no split ood": without(lambda r: r.split == "ood"),
    "no split eval": without(lambda r: r.split == "eval"),
    "no candidate": without(lambda r: r.model == "candidate"),
    "no candidate in a slice": without(
        lambda r: (r.name, r.split, r.model) == (*BAD, "candidate")
    ),
    "no released model": without(lambda r: r.model == "baseline"),
    "no released model in a slice": without(
        lambda r: (r.name, r.split, r.model) == (*BAD, "baseline")
    ),
    "no metrics": changed(metrics={}),
    "one metric only": changed(
        metrics={"auc": Estimate(0.8, np.linspace(0.7, 0.9, 20))}
    ),
    "no metrics of the released model": changed(model="baseline", metrics={}),
    # undefined
    **{
        f"{metric} is {value}": measured(metric, value)
        for metric in VALUES
        for value in (NAN, INF, -INF)
    },
    **{
        f"a block of {metric} is {value}": measured(
            metric, replicates=replaced(7, value)
        )
        for metric in ("auc", "log_loss", "accuracy")
        for value in (NAN, INF)
    },
    "all blocks are NaN": measured("auc", replicates=lambda r: r * NAN),
    "the released model's auc is NaN": measured("auc", NAN, model="baseline"),
    "a block of the released model's auc is NaN": measured(
        "auc", replicates=replaced(0, NAN), model="baseline"
    ),
    "an invalid prediction": changed(invalid_predictions=1),
    "an invalid prediction of the released model": changed(
        model="baseline", invalid_predictions=1
    ),
    # impossible
    "auc above 1": measured("auc", 1.2),
    "auc below 0": measured("auc", -0.2),
    "accuracy above 1": measured("accuracy", 85.0),
    "log_loss below 0": measured("log_loss", -0.4),
    "mean_label below 0": measured("mean_label", -0.25),
    "more positives than examples": changed(positives=2001),
    "fewer positives than none": changed(positives=-1),
    # tiny
    "an example of many": both(changed(examples=1, positives=1), counted("LGA", ood=1)),
    "199 examples": both(changed(examples=199), counted("LGA", ood=199)),
    "no example": both(changed(examples=0, positives=0), counted("LGA", ood=0)),
    "19 positives": changed(positives=19),
    "19 negatives": changed(positives=1981),
    "no positives": changed(positives=0),
    "positives only": changed(positives=2000),
    # empty
    "nothing evaluated": emptied,
    "nothing at all": forgotten,
    "no blocks": measured("auc", replicates=lambda r: r[:0]),
    "one block": measured("auc", replicates=lambda r: r[:1]),
    "blocks that are all alike": moved_without_its_errors,
    "one block with examples": measured(
        "auc", replicates=lambda r: np.where(np.arange(20) == 3, 0.79, 0.8)
    ),
    # more than there should be
    "a slice twice": again(),
    "a slice twice with other values": again(metrics={}),
    "a cross twice, in both orders": crossed_twice,
    "more examples than the data": changed(examples=2001),
    "fewer examples than the data": changed(examples=1999),
    "an environment more in the data": counted("SFO", eval=1000),
    "an environment more in the data, held out": counted("SFO", ood=1000),
    "a held-out environment without examples": counted("SFO", ood=0),
    # another model, another split
    "candidate and released model swapped, which is worse": both(
        measured("auc", 0.9, replicates=lambda r: r + 0.1),
        swap("model", "candidate", "baseline"),
    ),
    "results of a model of another name": renamed(model="other"),
    "the released model on other rows": changed(model="baseline", examples=1900),
    "the released model with other blocks": measured(
        "auc", replicates=lambda r: r[:10], model="baseline"
    ),
    "an environment with other blocks": measured("auc", replicates=lambda r: r[:10]),
    "eval and ood swapped": swap("split", "eval", "ood"),
    "ood evaluated as eval": changed(split="eval"),
    "all in a split of another name": renamed(split="train"),
    # bad in one place
    "auc too low": measured("auc", 0.6, replicates=lambda r: r - 0.2),
    "auc right on the bound": measured("auc", 0.65, replicates=lambda r: r - 0.15),
    "slope too low": measured("calibration_slope", 0.5, replicates=lambda r: r - 0.5),
    "log_loss of the released model far lower": measured(
        "log_loss", 0.3, replicates=lambda r: r - 0.1, model="baseline"
    ),
    "one day decides": measured(
        "auc",
        0.8,
        replicates=lambda r: np.where(np.arange(20) == 3, 0.5, 0.8 + r - r[0]),
    ),
}


def test_there_are_enough():
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("name", HOSTILE)
def test_none_is_released(good, name):
    HOSTILE[name](*good)
    assert not blessed(*good)
