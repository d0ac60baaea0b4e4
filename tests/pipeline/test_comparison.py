"""The figures of a comparison, by hand, and its page."""

import json
import math
from xml.etree import ElementTree

import pytest

from components.evaluator.results import Estimate, SliceResult
from pipeline import cli, compare, comparison, comparison_page, tables
from pipeline.errors import ConfigError


def environment(split, auc, log_loss, slope, examples=1000):
    return {
        "split": split,
        "examples": examples,
        "auc": auc,
        "log_loss": log_loss,
        "accuracy": 0.8,
        "calibration_slope": slope,
    }


PLACES = {
    "a": environment("eval", 0.8, 0.4, 0.9),
    "b": environment("eval", 0.7, 0.6, 1.2),
    "c": environment("ood", 0.65, 0.7, 0.5),
    "d": environment("ood", 0.75, 0.5, 1.9),
}


def test_figures_of_a_run():
    assert comparison.figures_of(PLACES) == pytest.approx(
        {
            "auc_mean": 0.75,
            "auc_worst": 0.7,
            "auc_gap": 0.1,
            "auc_held_out": 0.65,
            "log_loss_mean": 0.5,
            "log_loss_held_out": 0.7,
            "slope_training": 1.2,  # farther than 0.9, which is as far as 1.11
            "slope_spread": 0.3,
            "slope_held_out": 0.5,  # as far as 2
        }
    )


def test_what_is_undefined_in_one_place_is_undefined():
    places = {**PLACES, "b": environment("eval", math.nan, 0.6, math.nan)}
    found = comparison.figures_of(places)
    for key in ("auc_mean", "auc_worst", "auc_gap", "slope_training", "slope_spread"):
        assert math.isnan(found[key]), key
    assert found["log_loss_mean"] == 0.5
    assert found["auc_held_out"] == 0.65


def test_a_slope_that_is_not_positive_is_the_farthest():
    places = {**PLACES, "b": environment("eval", 0.5, 0.7, -0.1)}
    assert comparison.figures_of(places)["slope_training"] == -0.1


def result(split, features, auc, model="candidate"):
    metrics = {name: Estimate(auc, None) for name in comparison.METRICS["binary"]}
    return SliceResult(split, features, model, 10, 5, metrics, ())


def test_environments_are_taken_from_their_own_split():
    results = [
        result("eval", (), 0.1),
        result("eval", (("environment", "a"),), 0.2),
        result("ood", (("environment", "c"),), 0.3),
        result("eval", (("environment", "a"), ("carrier", "x")), 0.4),
        result("eval", (("carrier", "x"),), 0.5),
        result("ood", (("environment", "c"),), 0.6, "candidate under fgsm-linf-0.1"),
    ]
    found = comparison.environments_of(results, "environment", ["c"])
    assert {name: entry["auc"] for name, entry in found.items()} == {"a": 0.2, "c": 0.3}
    assert found["c"]["split"] == "ood"


def of_task(split, score, loss, slope, names):
    values = dict.fromkeys(names, 0.0)
    values |= {names[0]: score, names[1]: loss, "calibration_slope": slope}
    return {"split": split, "examples": 100, **values}


@pytest.mark.parametrize(
    ("task", "score", "loss"),
    [
        ("multiclass", "accuracy", "log_loss"),
        ("regression", "r_squared", "mean_squared_error"),
    ],
)
def test_figures_of_other_tasks_are_those_of_their_score_and_risk(task, score, loss):
    names = comparison.METRICS[task]
    places = {
        "a": of_task("eval", 0.8, 4.0, 1.1, names),
        "b": of_task("eval", 0.6, 6.0, 0.9, names),
        "c": of_task("ood", 0.5, 9.0, math.nan, names),
    }
    found = comparison.figures_of(places)
    assert found.pop("slope_held_out") is math.nan
    assert found == pytest.approx(
        {
            f"{score}_mean": 0.7,
            f"{score}_worst": 0.6,
            f"{score}_gap": 0.2,
            f"{score}_held_out": 0.5,
            f"{loss}_mean": 5.0,
            f"{loss}_held_out": 9.0,
            "slope_training": 0.9,
            "slope_spread": 0.2,
        }
    )
    titles = comparison.titles_of(list(places.values()))
    assert titles[:2] == [comparison.TITLES[score], comparison.TITLES[loss]]
    assert comparison.numbers(places["c"])[-1] == "-"


def run(method, seed, auc, error=None):
    places = {**PLACES, "a": environment("eval", auc, 0.4, 0.9)}
    places = {} if error else places
    return {
        "method": method,
        "seed": seed,
        "error": error,
        "figures": comparison.figures_of(places),
        "environments": places,
    }


RUNS = [
    run("erm", 0, 0.8),
    run("erm", 1, 0.9),
    run("v_rex", 0, 0.8),
    run("v_rex", 1, math.nan, error="Trainer failed: <it>"),
    run("<b>", 0, 0.8, error="no"),
]


def test_rows_are_means_and_standard_deviations_over_seeds():
    rows = comparison.summarize(RUNS, ["erm", "v_rex", "<b>"])
    assert [row["seeds"] for row in rows] == [2, 1, 0]
    assert [row["failed"] for row in rows] == [0, 1, 1]
    mean, spread = rows[0]["figures"]["auc_mean"]
    assert mean == pytest.approx(0.775)
    assert spread == pytest.approx(0.05 / math.sqrt(2))  # n - 1
    assert math.isnan(rows[1]["figures"]["auc_mean"][1])
    assert comparison.cell(rows[0]["figures"]["auc_mean"], 3) == "0.775 ± 0.035"
    assert comparison.cell(rows[1]["figures"]["auc_mean"], 3) == "0.750"
    assert comparison.cell(rows[2]["figures"]["auc_mean"], 3) == "-"


def test_the_best_is_high_low_or_near_one():
    rows = comparison.summarize(RUNS, ["erm", "v_rex", "<b>"])
    best = {c.key: comparison.best_of(rows, c) for c in comparison.COLUMNS}
    assert best["auc_mean"] == {"erm"}
    assert best["auc_gap"] == {"v_rex"}
    assert best["slope_training"] == {"erm", "v_rex"}


def document(runs=RUNS, held_out=("c", "d")):
    methods = list(dict.fromkeys(r["method"] for r in runs))
    return {
        "name": "flights",
        "date": "2026-11-28",
        "seconds": 1.5,
        "training": ["a", "b"],
        "held_out": list(held_out),
        "settings": dict.fromkeys(methods, "weight 1 & more"),
        "methods": comparison.summarize(runs, methods),
        "runs": runs,
    }


def test_the_page_holds_everything_and_escapes_it():
    page = comparison_page.page(document())
    body = page.split("</head>")[1].removesuffix("</html>\n").removesuffix("</html>")
    root = ElementTree.fromstring(body)
    text = "".join(root.itertext())
    for part in ("0.775 ± 0.035", "1 (1 failed)", "Trainer failed: <it>", "<b>"):
        assert part in text
    assert len(root.findall(".//figure")) == 6
    assert len(root.findall(".//td[@class='best']")) >= 9


def test_without_held_out_environments_there_is_no_such_column():
    places = {k: v for k, v in PLACES.items() if v["split"] == "eval"}
    runs = [
        {**run("erm", 0, 0.8), "environments": places}
        | {"figures": comparison.figures_of(places)}
    ]
    rows = comparison.summarize(runs, ["erm"])
    lines = comparison_page.table(rows)
    assert "held out" not in lines[0]
    assert len({len(line) for line in lines}) == 1
    page = comparison_page.page(document(runs, held_out=()))
    assert "held out" not in page.split("</style>")[1].lower().split("it decides")[0]


class TestCandidates:
    def test_methods_and_seeds(self, project):
        found = compare.candidates(str(project.config), ["erm", "irm_v1"], 2)
        labels = [candidate.label for candidate in found]
        assert labels == ["erm.0", "erm.1", "irm_v1.0", "irm_v1.1"]
        assert [c.config.train.seed for c in found] == [0, 1, 0, 1]
        assert [c.config.train.terms[0]["name"] for c in found][::2] == [
            "erm",
            "irm_v1",
        ]

    def test_by_default_the_configs_own_beside_erm(self, project):
        found = compare.candidates(str(project.config), None, 1, ["train.seed=5"])
        assert [candidate.label for candidate in found] == ["v_rex.5", "erm.5"]

    @pytest.mark.parametrize(
        ("methods", "seeds", "message"),
        [
            (["erm", "irm"], 1, "--method is 'irm', which is no method"),
            (["erm", "erm"], 1, "--methods has 'erm' twice"),
            (["erm"], 0, "--seeds is 0; expected 1 to 1000"),
            (["erm", "v_rex"], 900, "make 1800 runs; expected at most 1000"),
        ],
    )
    def test_what_cannot_be_compared(self, project, methods, seeds, message):
        with pytest.raises(ConfigError, match=message):
            compare.candidates(str(project.config), methods, seeds)

    def test_a_wrong_one_is_told_in_a_sentence(self, project, capsys):
        arguments = [
            "compare",
            str(project.config),
            "--methods",
            "erm,",
            "--seeds",
            "2",
        ]
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "'', which is no method" in line

    def test_seeds_are_numbers(self, project):
        assert cli.main(["compare", str(project.config), "--seeds", "two"]) == 2


def test_json_has_no_nan():
    text = json.dumps(tables.finite(document()), allow_nan=False)
    assert json.loads(text)["methods"][2]["figures"]["auc_mean"] == [None, None]
