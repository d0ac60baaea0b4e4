"""The simulation's truths by SciPy, its statistics by the Evaluator; a small run."""

import json

import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn import metrics

from benchmarks import verdict_error_rates as bench
from benchmarks import verdict_models as vm
from benchmarks import verdict_trials
from components.evaluator import statistics as st

MODEL = vm.Predictor(1.25, slope=0.8, shift=0.15)
DAYS = bench.KINDS_OF_DAYS["bad days"]


def test_truths_without_kinds_of_days_are_those_of_the_textbook():
    truth = vm.Population(0.1, (MODEL,)).truth(0)
    # The binormal model: the classes' scores are 1.25 deviations apart. The grid of a
    # twelfth of a deviation moves the values in the fourth digit.
    assert truth["auc"] == pytest.approx(stats.norm.cdf(1.25 / np.sqrt(2)), abs=3e-4)
    assert truth["calibration_slope"] == pytest.approx(0.8, abs=2e-3)
    assert truth["mean_label"] == pytest.approx(0.1)
    means = special.logit(0.1) + 1.25**2 * np.array([-0.5, 0.5])
    score = means / 0.8 + 0.15, 1.25 / 0.8

    def mean(function):
        both = []
        for label, centre in enumerate(score[0]):
            density = stats.norm(centre, score[1]).pdf
            ends = centre - 9 * score[1], centre + 9 * score[1]
            values = integrate.quad_vec(
                lambda z, y=label, pdf=density: function(z, y) * pdf(z), *ends
            )
            both.append(values[0])
        return 0.9 * both[0] + 0.1 * both[1]

    loss = mean(lambda z, label: np.logaddexp(0, -z if label else z))
    assert truth["log_loss"] == pytest.approx(loss, rel=1e-3)
    prediction = mean(lambda z, label: special.expit(z))
    assert truth["mean_prediction"] == pytest.approx(prediction, rel=1e-3)
    assert truth["calibration"] == pytest.approx(prediction / 0.1, rel=1e-3)
    right = 0.9 * stats.norm.cdf(0, score[0][0], score[1])
    right += 0.1 * stats.norm.sf(0, score[0][1], score[1])
    assert truth["accuracy"] == pytest.approx(right, abs=6e-3)  # half a cell at 0


def test_truths_over_kinds_of_days_are_what_many_rows_come_to():
    # scikit-learn on a large sample of the population's own table.
    population = vm.Population(0.2, (MODEL,), DAYS)
    table = population.table(0).sum(axis=0)
    points = population.grid(0).points
    rng = np.random.default_rng(0)
    drawn = rng.choice(table.size, 400_000, p=table.reshape(-1) / table.sum())
    labels, z = drawn // len(points), points[drawn % len(points)]
    truth = population.truth(0)
    assert table.sum() == pytest.approx(1)
    assert metrics.roc_auc_score(labels, z) == pytest.approx(truth["auc"], abs=0.004)
    loss = metrics.log_loss(labels, special.expit(z))
    assert loss == pytest.approx(truth["log_loss"], abs=0.005)
    assert np.mean((z > 0) == labels) == pytest.approx(truth["accuracy"], abs=0.003)
    rates = special.expit(special.logit(0.2) + np.log([1, 2])) @ [0.9, 0.1]
    assert truth["mean_label"] == pytest.approx(rates)
    assert truth["auc"] < vm.Population(0.2, (MODEL,)).truth(0)["auc"]


def test_counted_rows_have_the_statistics_of_rows():
    grid = vm.Grid(0.1, -30, 20)
    points, rows = len(grid.points), 2_000
    rng = np.random.default_rng(0)
    where = rng.integers(0, points, rows)
    labels, blocks = rng.integers(0, 2, rows), rng.integers(0, 20, rows)
    counts = np.zeros((1, 20, 2 * points), np.int64)
    np.add.at(counts[0], (blocks, labels * points + where), 1)
    (found,) = vm.statistics_of(grid, counts)
    predictions = special.expit(grid.points[where]).astype(np.float32)
    row = st.rows_of(labels.astype(float), predictions, np.ones(rows))
    (expected,) = st.group(row, blocks, np.zeros(rows, np.int64), 1)
    np.testing.assert_allclose(found.blocks, expected.blocks, rtol=1e-12)
    for name in ("fine", "coarse"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(ours.keys, theirs.keys)
        np.testing.assert_allclose(ours.sums, theirs.sums, rtol=1e-12, atol=1e-12)


def test_slices_of_a_model_share_their_days():
    # Over four days, of which each is bad or not, two slices move together.
    population = vm.Population(0.5, (MODEL,), DAYS)
    rng = np.random.default_rng(0)
    drawn = vm.simulate(rng, [population, population], 300, 200, days=4)
    first, second = (one[0].metrics["log_loss"][0] for one in drawn)
    assert np.corrcoef(first, second)[0, 1] > 0.3
    drawn = vm.simulate(rng, [population, population], 300, 200)
    first, second = (one[0].metrics["log_loss"][0] for one in drawn)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(300)


def test_a_quick_run_has_every_check_and_holds(tmp_path, capsys):
    path = tmp_path / "rates.json"
    exit_code = bench.main(["--quick", "--models", "60", "--json", str(path)])
    record = json.loads(path.read_text())
    cells = [dict(zip(record["columns"], c, strict=True)) for c in record["cells"]]
    assert {cell["kind"] for cell in cells} == {
        "worst",
        "gap",
        "calibration_slope",
        "baseline",
    }
    assert {cell["metric"] for cell in cells} == set(verdict_trials.METRICS)
    assert {cell["slices"] for cell in cells} == {2, 10, 50}
    assert not record["over"]
    # Half of the models that sit on the bound are above it in the data.
    assert record["pooled"]["stock_false_bless"] > 0.3
    assert record["pooled"]["false_bless"] < 0.05 < record["pooled"]["power"]
    assert exit_code == (0 if record["holds"] else 1)
    printed = capsys.readouterr().out
    assert "worst.auc min" in printed and "baseline.log_loss max" in printed


@pytest.mark.parametrize(
    ("hits", "holds"), [(50, True), (72, True), (74, False), (200, False)]
)
def test_a_cell_that_is_over_is_noticed(hits, holds):
    # Clopper and Pearson at 99.9 %: 73 of 1,000 is the first whose limit is over 5 %.
    limit = stats.binomtest(hits, 1_000, alternative="greater").proportion_ci(0.999)
    cell = {
        "kind": "worst",
        "metric": "auc",
        "rows": "independent rows",
        "size": 300,
        "prevalence": 0.5,
        "slices": 10,
        "power": 1.0,
        "lower_limit": bench.lower_limit(hits, 1_000),
        **{f"{s}{k}": 0.0 for s in ("", "stock_") for k in ("false_bless", "beyond")},
        "stock_power": 1.0,
    }
    assert cell["lower_limit"] == pytest.approx(limit.low)
    assert (limit.low <= 0.05) == holds
    assert bench.summarise([cell])["holds"] == holds
