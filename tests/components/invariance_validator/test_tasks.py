"""Several classes and numbers from rows to verdict, and what no task has."""

import re

import numpy as np
import pytest

from components.evaluator import tasks
from components.evaluator.blocks import BLOCKS
from components.evaluator.results import Estimate, SliceResult
from components.evaluator.settings import Options
from components.group_size_validator import shortfalls
from components.invariance_validator import checks as checks_lib
from components.invariance_validator import metrics, record, report
from components.invariance_validator.decision import decide
from components.invariance_validator.meanings import MEANINGS

K = 3
NAMES = ("cat", "dog", "bird")
ENVIRONMENTS = {"EWR": "eval", "JFK": "eval", "LGA": "ood"}


def options_of(task):
    classes = NAMES if task == "multiclass" else ()
    return Options("y", task=task, classes=classes)


def result_of(task, labels, predictions, blocks, **more):
    """A slice as the Evaluator makes it of rows, without a folder between."""
    of = tasks.of(options_of(task))
    rows = of.rows_of(labels, predictions, np.ones(len(labels)))
    (statistics,) = of.group(rows, blocks, np.zeros(len(labels), np.int64), 1)
    values = of.values(statistics)
    scores = values.get(tasks.SCORES)
    return SliceResult(
        split=more.pop("split", "eval"),
        slice=more.pop("slice", ()),
        model=more.pop("model", "candidate"),
        examples=len(labels),
        positives=0,
        metrics={
            name: Estimate(
                values[name],
                values[name + "_replicates"],
                values.get(name + "_noise", 0.0),
                values.get(name + "_reach", 0.0),
            )
            for name in values
            if name + "_replicates" in values
        },
        calibration=(),
        block_examples=tuple(values["block_examples"]),
        invalid_predictions=round(values["invalid_predictions"]),
        scores=None if scores is None else scores.reshape(1 + BLOCKS, -1),
        task=task,
        class_examples=tuple(values.get("class_examples", ())),
    )


def draw(task, n, seed, worse=0.0):
    """Rows of a good model; `worse` adds to its errors."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, BLOCKS, n)
    if task == "regression":
        f = rng.normal(0, 2, n)
        return f + rng.normal(0, 1 + worse, n), f, blocks
    p = rng.dirichlet([0.4] * K, n)
    odds = (1 - worse) * p + worse / K
    labels = (rng.random((n, 1)) > odds.cumsum(axis=1)).sum(axis=1).clip(0, K - 1)
    return labels, p, blocks


def results_of(task, n=4_000, worse=None, change=None):
    """Overall and by environment, in both splits."""
    found, rows = [], {}
    for i, (name, split) in enumerate(ENVIRONMENTS.items()):
        rows[name] = draw(task, n, i, (worse or {}).get(name, 0.0))
        if change is not None and name == "LGA":
            change(rows[name])
        slice_ = (("environment", name),)
        found.append(result_of(task, *rows[name], slice=slice_, split=split))
    for split in ("eval", "ood"):
        mine = [rows[name] for name, s in ENVIRONMENTS.items() if s == split]
        together = [np.concatenate(parts) for parts in zip(*mine, strict=True)]
        found.append(result_of(task, *together, split=split))
    return found


def counts_of(results):
    environments = {}
    for result in results:
        for _, name in result.slice:
            size = {"examples": result.examples, "positives": 0}
            if result.class_examples:
                size["classes"] = list(result.class_examples)
            environments[name] = {
                "held_out": result.split == "ood",
                "splits": {result.split: size},
            }
    return {"environments": environments, "slices": {}}


CHECKS = {
    "multiclass": {
        "worst": {
            "accuracy": {"min": 0.5},
            "balanced_accuracy": {"min": 0.5},
            "log_loss": {"max": 0.9},
        },
        "floor": {"accuracy": [{"slice": {"environment": "LGA"}, "min": 0.5}]},
        "gap": {
            "log_loss": {"max": 0.2, "over": "environment"},
            "balanced_accuracy": {"max": 0.2, "over": "environment"},
        },
        "calibration_slope": {"min": 0.8, "max": 1.25},
        "calibration_error": {"max": 0.08},
        "score_distance": {"max": 0.1, "over": "environment"},
        "risk_variance": {"max": 0.01, "over": "environment"},
        "ood_drop": {"accuracy": {"max": 0.1}, "log_loss": {"max": 0.2}},
        "baseline": {"accuracy": {"max_drop": 0.05}},
    },
    "regression": {
        "worst": {
            "mean_squared_error": {"max": 1.3},
            "root_mean_squared_error": {"max": 1.15},
            "mean_absolute_error": {"max": 0.95},
            "r_squared": {"min": 0.7},
            "irm_gradient": {"min": -0.5, "max": 0.5},
        },
        "floor": {"r_squared": [{"slice": {"environment": "LGA"}, "min": 0.7}]},
        "gap": {"mean_squared_error": {"max": 0.3, "over": "environment"}},
        "calibration_slope": {"min": 0.9, "max": 1.1},
        "risk_variance": {"max": 0.02, "over": "environment"},
        "ood_drop": {"mean_squared_error": {"max": 0.3}},
        "baseline": {"mean_squared_error": {"max_rise": 0.1}},
    },
}
# What happens to the held-out environment -> the kinds that must not pass.
SHIFTS = {
    "multiclass": {"LGA": 0.7},
    "regression": {"LGA": 0.6},
}


@pytest.mark.parametrize("task", CHECKS)
def test_a_good_model_passes_every_kind_and_a_shifted_one_fails_what_it_must(task):
    good = results_of(task)
    decision = decide(good, counts_of(good), CHECKS[task], task=task)
    assert {c.name: c.verdict for c in decision.checks} == {
        c.name: "PASS" for c in decision.checks
    }
    assert decision.blessed
    kinds = {check.kind for check in decision.parsed}
    assert kinds == set(checks_lib.KINDS) - {"robustness"} - (  # see test_robustness
        set() if task == "multiclass" else {"calibration_error", "score_distance"}
    )
    bad = results_of(task, worse=SHIFTS[task])
    found = decide(bad, counts_of(bad), CHECKS[task], task=task)
    failed = {c.name for c in found.checks if c.verdict == "FAIL"}
    risk = metrics.TASKS[task].risk
    assert failed >= {f"worst.{risk}", f"gap.{risk}", f"ood_drop.{risk}"}
    assert failed >= {"risk_variance"}
    assert not found.blessed
    (variance,) = (c for c in found.checks if c.name == "risk_variance")
    assert f"variance of {risk} over 3 slices" in variance.reason


@pytest.mark.parametrize("task", CHECKS)
def test_a_released_model_is_compared_on_the_same_rows(task):
    rows = draw(task, 4_000, 0)
    better = result_of(task, *rows)
    labels, p, blocks = rows
    spoiled = 0.5 * p if task == "regression" else 0.5 * p + 0.5 / K
    worse = result_of(task, labels, spoiled, blocks, model="baseline")
    metric = metrics.TASKS[task].risk
    where = {"split": "eval", "over": "overall"}
    checks = {"baseline": {metric: {"max_rise": 0.01, **where}}}

    def verdict(*results):
        return decide(results, {}, checks, expect_baseline=True, task=task).verdict

    assert verdict(better, worse) == "PASS"
    swapped = result_of(task, labels, spoiled, blocks)
    released = result_of(task, *rows, model="baseline")
    assert verdict(swapped, released) == "FAIL"
    assert verdict(better, released) == "PASS"  # its own copy
    assert verdict(better) == "FAIL"  # was not evaluated


def spoil(task, how):
    """What goes wrong in the rows of LGA."""

    def change(rows):
        labels, predictions, _ = rows
        if how == "nan":
            predictions[17] = np.nan
        elif how == "no distribution":
            predictions[17] = 0.4
        elif how == "infinite":
            predictions[17] = np.inf
        elif how == "constant prediction":
            predictions[:] = predictions[0]
        elif how == "one class":
            labels[:] = 1

    return change


@pytest.mark.parametrize(
    ("task", "how", "kind"),
    [
        ("multiclass", "nan", "worst.log_loss"),
        ("multiclass", "nan", "worst.accuracy"),
        ("multiclass", "no distribution", "worst.balanced_accuracy"),
        ("multiclass", "no distribution", "score_distance"),
        ("multiclass", "no distribution", "calibration_error"),
        ("multiclass", "one class", "worst.log_loss"),
        ("multiclass", "constant prediction", "calibration_slope"),
        ("regression", "nan", "worst.mean_squared_error"),
        ("regression", "infinite", "worst.r_squared"),
        ("regression", "infinite", "ood_drop.mean_squared_error"),
        ("regression", "infinite", "risk_variance"),
        ("regression", "constant prediction", "calibration_slope"),
    ],
)
def test_nothing_hostile_passes(task, how, kind):
    results = results_of(task, change=spoil(task, how))
    decision = decide(results, counts_of(results), CHECKS[task], task=task)
    (check,) = (c for c in decision.checks if c.name == kind)
    assert check.verdict != "PASS"
    if how in ("nan", "infinite", "no distribution"):
        (invalid,) = {
            r.invalid_predictions for r in results if r.slice and r.split == "ood"
        }
        assert invalid == 1
        assert "1 prediction that are" in check.reason
    written = record.to_json(record.decision_record(decision, results, {}, {}))
    assert "NaN" not in written


@pytest.mark.parametrize("task", CHECKS)
def test_a_slice_that_is_empty_or_missing_never_passes(task):
    results = results_of(task)
    risk = metrics.TASKS[task].risk
    checks = {"worst": {risk: {"max": 1e6}}}
    counts = counts_of(results)
    without = [r for r in results if ("environment", "JFK") not in r.slice]
    found = decide(without, counts, checks, task=task)
    assert found.verdict == "FAIL"
    assert "environment=JFK (eval) has 4,000 examples in the data" in (
        found.checks[0].reason
    )
    few = results_of(task, n=15)
    found = decide(few, counts_of(few), checks, {"min_examples": 1}, task=task)
    assert found.verdict == "INSUFFICIENT_DATA"
    assert "15 of the 20" in found.checks[0].reason or "of the 20 examples outside" in (
        found.checks[0].reason
    )
    assert decide([], {}, checks, task=task).verdict == "FAIL"


@pytest.mark.parametrize("kind", ["worst", "gap"])
def test_errors_of_one_block_alone_settle_nothing(kind):
    """Without that block there is no error left, and the inverse has no end."""
    found = []
    for name in ("EWR", "JFK"):
        labels, f, blocks = draw("regression", 2_000, 7)
        labels = np.where(blocks == 3, f + 10.0, f)
        slice_ = (("environment", name),)
        found.append(result_of("regression", labels, f, blocks, slice=slice_))
    bounds = {"max": 1e6, "split": "eval", "over": "environment"}
    checks = {kind: {"mean_squared_error": bounds}}
    decision = decide(found, {}, checks, task="regression")
    assert decision.verdict == "INSUFFICIENT_DATA"
    assert "comes from is in one block" in decision.checks[0].reason
    explained = {"worst": {"r_squared": {"min": -9, "over": "environment"}}}
    found = decide(found, {}, explained, task="regression")
    assert found.verdict != "PASS"


def with_rare(n, rare):
    """Rows of which `rare` are of class 2, all predicted right."""
    labels, p, blocks = draw("multiclass", n, 3)
    labels = np.where(labels == 2, 0, labels)
    labels[:rare] = 2
    p[:rare] = [0.05, 0.05, 0.9]
    return labels, p, blocks


def test_few_examples_of_a_class_settle_no_balanced_accuracy():
    bounds = {"min": 0.3, "split": "eval", "over": "overall"}
    checks = {"worst": {"balanced_accuracy": bounds}}

    def decided(rare):
        result = result_of("multiclass", *with_rare(4_000, rare))
        return decide([result], {}, checks, task="multiclass")

    few = decided(19)
    assert few.verdict == "INSUFFICIENT_DATA"
    assert "only 19 of the 20 examples of class 2 needed; about 4,300" in (
        few.checks[0].reason
    )
    assert few.checks[0].unsettled[0]["needed"] == 4_300
    assert decided(40).verdict == "PASS"
    assert decided(0).verdict == "PASS"  # a class that is not there asks nothing


def test_perfect_classes_are_no_surer_than_the_rarest_allows():
    """30 of 30 right of the rarest of 3 classes: 0.05^(1/90) by Clopper and Pearson."""
    labels = np.repeat([0, 1, 2], [2_000, 1_000, 30])
    p = np.full((len(labels), K), 0.05)
    p[np.arange(len(labels)), labels] = 0.9
    blocks = np.arange(len(labels)) % BLOCKS
    # Without any spread each block counts as one example; a single error ends that.
    p[0] = [0.05, 0.9, 0.05]
    result = result_of("multiclass", labels, p, blocks)
    shown = 0.05 ** (1 / 90)

    def verdict(bound):
        bounds = {"min": bound, "split": "eval", "over": "overall"}
        checks = {"worst": {"balanced_accuracy": bounds}}
        return decide([result], {}, checks, task="multiclass").verdict

    assert verdict(shown - 0.01) == "PASS"
    assert verdict(shown + 0.001) == "INSUFFICIENT_DATA"


@pytest.mark.parametrize("task", CHECKS)
def test_a_metric_of_another_task_is_named_with_those_there_are(task):
    known = ", ".join(metrics.TASKS[task].metrics)
    with pytest.raises(
        ValueError, match=f"'auc' is none of task {task}; legal are {known}"
    ):
        checks_lib.parse_checks({"worst": {"auc": {"min": 0.6}}}, task)
    with pytest.raises(ValueError, match="'mean_squared_error' is none of task binary"):
        checks_lib.parse_checks({"worst": {"mean_squared_error": {"max": 1}}})
    with pytest.raises(ValueError, match="'acuracy' is unknown"):
        checks_lib.parse_checks({"worst": {"acuracy": {"max": 1}}}, task)
    with pytest.raises(ValueError, match="task 'ranking' is unknown"):
        checks_lib.parse_checks({"worst": {"auc": {"min": 0.6}}}, "ranking")


@pytest.mark.parametrize("kind", ["calibration_error", "score_distance"])
def test_kinds_that_a_regression_has_not(kind):
    says = f"checks.{kind} is no check of task regression; legal are worst, floor, "
    with pytest.raises(ValueError, match=says):
        checks_lib.parse_checks({kind: {"max": 0.1}}, "regression")
    with pytest.raises(ValueError, match=f"'{kind}' is unknown"):
        checks_lib.parse_checks({"worst": {kind: {"max": 0.1}}}, "regression")
    (found,) = checks_lib.check_satisfiable(
        {kind: {"max": 0.1}}, ["a", "b"], task="regression"
    )
    assert says in found


def test_numbers_may_be_bounded_anywhere_and_only_where_they_can_be():
    def parse(metric, **bounds):
        return checks_lib.parse_checks({"worst": {metric: bounds}}, "regression")

    assert parse("mean_label", min=-40, max=80)
    assert parse("r_squared", min=-0.5)
    with pytest.raises(ValueError, match="very end of r_squared's range"):
        parse("r_squared", min=1)
    with pytest.raises(ValueError, match="outside the range of mean_squared_error"):
        parse("mean_squared_error", max=-1)


@pytest.mark.parametrize("task", CHECKS)
def test_the_report_shows_every_panel_and_nothing_of_other_tasks(task):
    results = results_of(task)
    counts = counts_of(results)
    decision = decide(results, counts, CHECKS[task], task=task)
    page = report.render(report.Material(decision, results, counts, {"task": task}))
    for check in decision.parsed:
        assert f"<h3>{check.metric} " in page
        assert MEANINGS[task][check.metric].replace("'", "&#39;") in page
    assert "Positive" not in page
    assert "% positive" not in page
    assert "area under the ROC" not in page
    named = {*metrics.TASKS[task].metrics, *metrics.TASKS[task].norms}
    assert set(MEANINGS[task]) >= named


def test_group_sizes_are_foreseen_by_the_classes_there_are():
    def found(checks, **classes):
        environments = {
            name: {
                "held_out": False,
                "splits": {
                    "eval": {"examples": sum(n), "positives": 0, "classes": list(n)}
                },
            }
            for name, n in classes.items()
        }
        counts = {"environments": environments, "slices": {}}
        sentences = shortfalls.find(checks, None, counts, "multiclass")
        return [one.reason for one in sentences]

    balanced = {"worst": {"balanced_accuracy": {"min": 0.5, "split": "eval"}}}
    assert found(balanced, EWR=(500, 400, 25), JFK=(500, 0, 300)) == []
    (reason,) = found(balanced, EWR=(500, 400, 7), JFK=(500, 300, 300))
    assert reason == (
        "environment=EWR (eval) has only 7 of the 20 examples of class 2 that"
        " balanced_accuracy needs"
    )
    loss = {"worst": {"log_loss": {"max": 0.5, "split": "eval"}}}
    assert found(loss, EWR=(500, 400, 7), JFK=(500, 300, 300)) == []
    (reason,) = found(loss, EWR=(5, 900, 7), JFK=(500, 300, 300))
    assert "has only 12 of the 20 examples outside of class 1 that log_loss" in reason
    sure = {"worst": {"balanced_accuracy": {"min": 0.99, "split": "eval"}}}
    least = f"{0.05 ** (1 / 90):.3f}"  # 30 of each of 3 classes
    (reason,) = found(sure, EWR=(500, 400, 30), JFK=(500, 300, 300))
    assert re.search(f"at least {least} with 95 % confidence", reason)


@pytest.mark.parametrize("size", [{"positives": 0}, {}])
def test_group_sizes_of_numbers_have_no_classes(size):
    environments = {
        name: {"held_out": False, "splits": {"eval": {"examples": n, **size}}}
        for name, n in {"EWR": 900, "JFK": 150}.items()
    }
    counts = {"environments": environments, "slices": {}}
    checks = {"worst": {"mean_squared_error": {"max": 2, "split": "eval"}}}
    (found,) = shortfalls.find(checks, None, counts, "regression")
    assert found.slice == "environment=JFK"
    assert "has only 150 of the 200 examples" in found.reason
