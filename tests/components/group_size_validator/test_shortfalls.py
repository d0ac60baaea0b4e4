"""What no model could pass; the numbers are Clopper and Pearson's, by SciPy."""

import json

import pytest
from scipy import stats

from components.errors import DataError
from components.group_size_validator import executor, shortfalls


def counts(slices=None, **environments):
    """EWR=(examples, positives) in eval, or with a third item in that split."""
    made = {}
    for name, (examples, positives, *split) in environments.items():
        split = split[0] if split else "eval"
        made[name] = {
            "held_out": split == "ood",
            "splits": {split: {"examples": examples, "positives": positives}},
        }
    return {"environments": made, "slices": slices or {"eval": {}, "ood": {}}}


LARGE = {"EWR": (5000, 900), "JFK": (5000, 900), "LGA": (5000, 900, "ood")}
WORST = {"worst": {"auc": {"min": 0.65}}}


def reasons(checks, verdict=None, **kwargs):
    return [one.reason for one in shortfalls.find(checks, verdict, counts(**kwargs))]


def test_large_groups_are_left_to_the_model():
    checks = {
        "worst": {"auc": {"min": 0.65}, "log_loss": {"max": 0.6}},
        "gap": {"auc": {"max": 0.05, "over": "environment"}},
        "calibration_slope": {"min": 0.8, "max": 1.25},
        "baseline": {"accuracy": {"max_drop": 0.01}},
    }
    assert reasons(checks, **LARGE) == []


def test_an_environment_with_too_few_examples():
    found = reasons(WORST, **{**LARGE, "LGA": (199, 50, "ood")})
    assert found == [
        "overall (ood) has only 199 of the 200 examples that verdict.min_examples asks"
        " for",
        "environment=LGA (ood) has only 199 of the 200 examples that"
        " verdict.min_examples asks for",
    ]


@pytest.mark.parametrize(
    ("checks", "needs"),
    [
        ({"worst": {"log_loss": {"max": 0.6}}}, True),
        ({"gap": {"auc": {"max": 0.05, "over": "environment"}}}, True),
        ({"baseline": {"auc": {"max_drop": 0.01}}}, True),
        ({"calibration_slope": {"min": 0.8}}, True),
        ({"worst": {"auc": {"min": 0.65}}}, False),  # 19 of 19 show 0.85
        ({"worst": {"accuracy": {"min": 0.65}}}, False),
    ],
)
@pytest.mark.parametrize(("positives", "which"), [(19, "positive"), (981, "negative")])
def test_too_few_of_a_class(checks, needs, positives, which):
    found = reasons(checks, **{**LARGE, "LGA": (1000, positives, "ood")})
    assert bool(found) == needs
    if needs:
        assert f"only 19 of the 20 {which} examples" in found[-1]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("bound", [0.65, 0.9, 0.99])
@pytest.mark.parametrize(
    ("metric", "side"), [("accuracy", "min"), ("auc", "min"), ("mean_label", "max")]
)
def test_a_bound_that_so_few_cannot_show(confidence, bound, metric, side):
    checks = {"worst": {metric: {side: bound if side == "min" else 1 - bound}}}
    verdict = {"confidence": confidence, "min_examples": 1}
    for units in (1, 2, 5, 8, 19, 28, 60, 150, 299, 700):
        if metric == "auc" and units >= 20:
            continue
        # All of so many are right.
        limit = stats.binomtest(units, units).proportion_ci(
            2 * confidence - 1, method="exact"
        )
        size = (10_000, units) if metric == "auc" else (units, units // 2)
        found = reasons(checks, verdict, EWR=size)
        assert bool(found) == (limit.low < bound), (units, limit.low)


def test_what_it_takes_is_the_first_number_that_would_do():
    checks = {"worst": {"accuracy": {"min": 0.99}}}
    (_, found) = reasons(checks, EWR=(250, 100))
    assert "takes 299" in found  # 0.99^299 < 0.05 <= 0.99^298
    assert reasons(checks, EWR=(298, 100))
    assert not reasons(checks, EWR=(299, 100))


def test_values_that_were_pooled_are_not_missed_and_an_empty_slicing_is():
    slices = {"eval": {'["carrier"]': [[["UA"], 4000], [["OO"], 6]]}, "ood": {}}
    assert reasons(WORST, slices=slices, EWR=(4006, 900)) == []
    slices = {"eval": {'["carrier"]': [[["UA"], 100], [["OO"], 6]]}, "ood": {}}
    checks = {"worst": {"auc": {"min": 0.65, "over": "carrier"}}}
    (found,) = reasons(checks, slices=slices, EWR=(4006, 900))
    assert "no value of carrier has 200 examples in eval" in found
    checks = {"worst": {"auc": {"min": 0.65, "over": "carier"}}}
    (found,) = reasons(checks, slices=slices, EWR=(4006, 900))
    assert "there is no slice by carier in eval" in found


def test_a_gap_over_one_value():
    checks = {"gap": {"auc": {"max": 0.05, "over": "environment"}}}
    (found,) = reasons(checks, EWR=(4006, 900))
    assert "a gap needs two" in found


def test_what_is_allowed_is_listed_and_not_refused():
    small = counts(**{**LARGE, "LGA": (150, 50, "ood")})
    assert shortfalls.sentence(shortfalls.find(WORST, None, small)) == (
        "checks.worst.auc cannot pass, whatever the model: overall (ood) has only 150"
        " of the 200 examples that verdict.min_examples asks for (1 more after this"
        " one); bring more data, check over larger groups, ask for less, or name"
        " worst.auc in verdict.allow_insufficient"
    )
    allowed = shortfalls.find(WORST, {"allow_insufficient": ["worst.auc"]}, small)
    assert [one.allowed for one in allowed] == [True, True]
    assert shortfalls.sentence(allowed) is None


@pytest.mark.parametrize("allowed", [[], ["worst.auc"]])
def test_the_executor_refuses_or_lists(tmp_path, allowed):
    from tfx.types import standard_artifacts

    from components.artifacts import GroupSizes

    examples, sizes = standard_artifacts.Examples(), GroupSizes()
    examples.uri, sizes.uri = str(tmp_path / "in"), str(tmp_path / "out")
    small = counts(**{**LARGE, "LGA": (150, 50, "ood")})
    examples.set_string_custom_property("counts", json.dumps(small))
    properties = {
        "checks": json.dumps(WORST),
        "verdict": json.dumps({"allow_insufficient": allowed}),
    }

    def run():
        executor.Executor().Do({"examples": [examples]}, {"sizes": [sizes]}, properties)

    if not allowed:
        with pytest.raises(DataError, match="checks.worst.auc cannot pass"):
            run()
        return
    run()
    written = json.loads((tmp_path / "out" / "sizes.json").read_text())
    assert [one["slice"] for one in written["shortfalls"]] == [
        "overall",
        "environment=LGA",
    ]


def test_examples_without_counts_are_refused(tmp_path):
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path)
    with pytest.raises(DataError, match="carry no counts"):
        executor.Executor().Do({"examples": [examples]}, {}, {"checks": "{}"})
