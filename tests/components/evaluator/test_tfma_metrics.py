"""The metrics in stock TFMA give our Evaluator's values on the same rows."""

import numpy as np
import pytest

from components.evaluator import measures, results, tfma_metrics

from .conftest import draw

MODULE = "components.evaluator.tfma_metrics"


@pytest.mark.parametrize("weight", ["", "w"])
def test_stock_tfma_gives_the_evaluators_values(
    tmp_path, write_examples, write_model, evaluate, stock, weight
):
    import tensorflow_model_analysis as tfma

    columns = {"eval": draw(700, ["EWR", "JFK"], seed=5)}
    examples = write_examples(tmp_path / "examples", columns)
    models = {
        "candidate": write_model(tmp_path / "candidate"),
        "baseline": write_model(tmp_path / "baseline", scale=0.6, shift=-0.2),
    }
    slices = [("environment",), ("environment", "carrier")]
    more = {"weight": weight} if weight else {}
    uri = evaluate(
        tmp_path,
        examples,
        models["candidate"],
        models["baseline"],
        **more,
        slices=slices,
    )
    ours = {(r.name, r.model): r.metrics for r in results.load_results(uri)}
    binary = [m for m in tfma_metrics.METRICS if m.MEASURE in measures.METRICS]
    wanted = [{"class_name": metric.__name__, "module": MODULE} for metric in binary]
    folder = stock(examples, "eval", models, slices, weight, wanted)
    compared = 0
    for model in models:
        read = tfma.load_eval_result(folder, model_name=model)
        for key, output in read.slicing_metrics:
            pairs = sorted(key, key=lambda pair: pair[0] == "carrier")
            name = ",".join(f"{f}={v}" for f, v in pairs) or "overall"
            found = output[""][""]  # and, with a baseline, differences
            assert not any(name.startswith("_") for name in found)
            found = {m.MEASURE: found[m.MEASURE] for m in binary}
            for metric, value in found.items():
                expected = ours[name, model][metric].value
                if np.isnan(expected):
                    assert value == "NaN" or np.isnan(value["doubleValue"])
                    continue
                assert value["doubleValue"] == pytest.approx(expected, abs=1e-9), metric
                compared += 1
    assert compared >= 2 * 7 * len(binary)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_merging_changes_nothing(task):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    p = rng.random((300, 2) if task == "multiclass" else 300).astype(np.float32)
    if task == "multiclass":
        p /= p.sum(axis=1, keepdims=True)
    key = tfma_metrics.metric_types.MetricKey("shared")
    combiner = tfma_metrics._MeasuresCombiner(key, None, False, task)

    def accumulate(rows):
        made = combiner.create_accumulator()
        for i in rows:
            made.labels.append(float(y[i]))
            made.predictions.append(p[i])
            made.weights.append(1.0)
        return made

    parts = [accumulate(rows) for rows in np.array_split(np.arange(300), [0, 7, 200])]
    merged = combiner.extract_output(combiner.merge_accumulators(parts))[key]
    whole = combiner.extract_output(accumulate(range(300)))[key]
    for name, value in whole.items():
        assert merged[name] == pytest.approx(value, abs=1e-9, nan_ok=True)
    nothing = combiner.extract_output(combiner.create_accumulator())[key]
    assert all(np.isnan(value) for value in nothing.values())


def test_a_metric_may_be_named():
    import tensorflow_model_analysis as tfma

    metrics = [tfma_metrics.CalibrationSlope(name="slope")]
    specs = tfma.metrics.specs_from_metrics(metrics)
    found = [m for s in specs for m in s.metrics if m.class_name == "CalibrationSlope"]
    assert ['"slope"' in metric.config for metric in found] == [True]


@pytest.mark.parametrize(
    ("metric", "task", "says"),
    [
        ("RSquared", "binary", "only of regression"),
        ("CalibrationIntercept", "multiclass", "only of binary and regression"),
        ("LossVariance", "ranking", "no metric of task 'ranking'"),
    ],
)
def test_a_metric_that_the_task_has_not(metric, task, says):
    with pytest.raises(ValueError, match=says):
        getattr(tfma_metrics, metric)(task=task)
