"""The whole component on tf.Examples and SavedModels, against stock TFMA."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from components import norms
from components.errors import DataError
from components.evaluator import blocks, results
from components.evaluator.measures import METRICS

from .conftest import draw

SLICES = (("environment",), ("carrier",), ("environment", "carrier"))
SHARED = ("auc", "log_loss", "accuracy", "calibration", "mean_label", "mean_prediction")


@pytest.fixture(scope="module")
def toy(tmp_path_factory, write_examples, write_model, evaluate):
    """Two splits, two models, small carriers pooled."""
    root = tmp_path_factory.mktemp("toy")
    columns = {
        "eval": draw(500, ["EWR", "JFK"], seed=1),
        "ood": draw(400, ["LGA"], seed=2),
    }
    examples = write_examples(root / "examples", columns, list(map(list, SLICES)))
    models = {
        "candidate": write_model(root / "candidate"),
        "baseline": write_model(root / "baseline", scale=0.6, shift=-0.2),
    }
    uri = evaluate(
        root / "out",
        examples,
        models["candidate"],
        models["baseline"],
        splits=("eval", "ood"),
        slices=SLICES,
        cluster_by=["month", "day"],
        min_examples=60,
    )
    return {"uri": uri, "columns": columns, "examples": examples, "models": models}


@pytest.fixture(scope="module")
def loaded(toy):
    """(split, slice name, model) -> result."""
    return {(r.split, r.name, r.model): r for r in results.load_results(toy["uri"])}


@pytest.fixture(scope="module")
def reference(toy, stock):
    """Output folder of stock TFMA on the eval split with both models."""
    return stock(toy["examples"], "eval", toy["models"], SLICES)


def test_it_equals_stock_tfma(toy, loaded, reference):
    import tensorflow_model_analysis as tfma

    compared = 0
    for model in toy["models"]:
        read = tfma.load_eval_result(reference, model_name=model)
        for key, output in read.slicing_metrics:
            pairs = sorted(key, key=lambda pair: pair[0] == "carrier")
            name = ",".join(f"{f}={v}" for f, v in pairs) or "overall"
            if ("eval", name, model) not in loaded:
                continue  # pooled; see test_small_slices_are_pooled
            ours, theirs = loaded["eval", name, model], output[""][""]
            for metric in SHARED:
                expected = theirs[metric]["doubleValue"]
                assert ours.metrics[metric].value == pytest.approx(expected, abs=1e-9)
                compared += 1
            assert ours.examples == theirs["example_count"]["doubleValue"]
    slices = ["", "EWR", "JFK", "UA", "B6", "EWR,UA", "EWR,B6", "JFK,UA", "JFK,B6"]
    assert compared == len(slices) * len(SHARED) * 2


@pytest.mark.parametrize("model", ["candidate", "baseline"])
def test_the_curve_equals_stock_tfmas(toy, reference, model):
    import tensorflow_model_analysis as tfma

    def buckets(folder):
        plots = dict(tfma.load_eval_result(folder, model_name=model).plots)
        return plots[()][""][""]["calibrationHistogramBuckets"]["buckets"]

    ours, theirs = buckets(f"{toy['uri']}/Split-eval"), buckets(reference)
    assert len(ours) == len(theirs) == 22
    for one, other in zip(ours, theirs, strict=True):
        for part in set(one) | set(other):
            # What is 0 is left out of JSON; the ends are words.
            found, expected = float(one.get(part, 0)), float(other.get(part, 0))
            assert found == pytest.approx(expected, abs=1e-9), part


def test_values_are_scikit_learns(toy, loaded):
    columns = toy["columns"]["ood"]
    ours = loaded["ood", "overall", "baseline"]
    p = 1 / (1 + np.exp(-(0.6 * columns["x"].astype(float) - 0.2)))
    y = columns["late"]
    assert ours.examples == 400
    assert ours.positives == y.sum()
    values = {name: ours.metrics[name].value for name in METRICS}
    assert values["auc"] == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-4)
    assert values["log_loss"] == pytest.approx(metrics.log_loss(y, p), abs=1e-6)
    assert values["accuracy"] == metrics.accuracy_score(y, p > 0.5)
    total = sum(b.weight for b in ours.calibration)
    assert total == 400
    assert sum(b.weight * b.mean_label for b in ours.calibration) == pytest.approx(
        y.sum()
    )


def test_distances_between_scores_are_scipys(toy, loaded):
    columns = toy["columns"]["eval"]
    one, other = (
        loaded["eval", f"environment={e}", "candidate"] for e in ("EWR", "JFK")
    )
    p = 1 / (1 + np.exp(-columns["x"].astype(float)))
    expected = stats.wasserstein_distance(
        *(p[columns["environment"] == name] for name in (b"EWR", b"JFK"))
    )
    found = norms.l1(one.scores[0] - other.scores[0], one.scores[1:] - other.scores[1:])
    assert found.value == pytest.approx(expected, abs=1e-4)
    assert found.replicates.shape == (20,)


def test_the_noise_of_the_calibration_error_comes_with_it(loaded):
    for result in loaded.values():
        noises = {name: e.noise for name, e in result.metrics.items() if e.noise}
        assert list(noises) == ["calibration_error"]
        assert 0 < noises["calibration_error"] < 0.5


def test_tfma_reads_it(toy, loaded):
    import tensorflow_model_analysis as tfma

    for split in ("eval", "ood"):
        for model in ("candidate", "baseline"):
            read = tfma.load_eval_result(
                f"{toy['uri']}/Split-{split}", model_name=model
            )
            assert read.model_location.endswith(f"{model}/Format-Serving")
            names = set(read.get_metric_names())
            assert set(METRICS) | {f"{m}_replicates" for m in METRICS} <= names
            overall = read.get_metrics_for_slice(())
            expected = loaded[split, "overall", model].metrics["auc"]
            assert overall["auc"]["doubleValue"] == expected.value
            array = overall["auc_replicates"]["arrayValue"]["float64Values"]
            assert array == expected.replicates.tolist()


def test_splits_are_apart(loaded):
    slices = {s: {n for split, n, _ in loaded if split == s} for s in ("eval", "ood")}
    assert {n for n in slices["eval"] if n.startswith("environment=LGA")} == set()
    assert "environment=LGA" in slices["ood"]
    assert "environment=EWR" not in slices["ood"]
    assert loaded["eval", "overall", "candidate"].examples == 500


def test_numbers_are_sliced_by_their_buckets(toy, evaluate, tmp_path):
    uri = evaluate(
        tmp_path,
        toy["examples"],
        toy["models"]["candidate"],
        slices=[["x"], ["day", "environment"]],
        buckets={"x": [-2, 0.5], "day": [11, 21.5]},
    )
    columns = toy["columns"]["eval"]
    found = {r.name: r for r in results.load_results(uri)}
    bucket = np.digitize(columns["x"], np.float32([-2, 0.5]))
    for i, name in enumerate(("below -2", "-2 to 0.5", "0.5 and above")):
        rows, slice_ = bucket == i, found[f"x={name}"]
        assert slice_.examples == rows.sum()
        assert slice_.positives == columns["late"][rows].sum()
    for i, name in enumerate(("below 11", "11 to 21.5", "21.5 and above")):
        rows = np.digitize(columns["day"], [11, 21.5]) == i
        rows &= columns["environment"] == b"JFK"
        assert found[f"day={name},environment=JFK"].examples == rows.sum()
    assert len(found) == 1 + 3 + 6


def test_buckets_of_text_are_refused(toy, evaluate, tmp_path):
    with pytest.raises(DataError, match="'carrier' in split 'eval': buckets need"):
        evaluate(
            tmp_path,
            toy["examples"],
            toy["models"]["candidate"],
            slices=[["carrier"]],
            buckets={"carrier": [1, 2]},
        )


def test_small_slices_are_pooled(toy, loaded):
    columns = toy["columns"]["eval"]
    carriers, airports = columns["carrier"], columns["environment"]
    assert 0 < np.sum(carriers == b"HA") < 60
    names = {name for split, name, _ in loaded if split == "eval"}
    assert names == {
        "overall",
        *(f"environment={e}" for e in ("EWR", "JFK")),
        *(f"carrier={c}" for c in ("UA", "B6", "other")),
        *(
            f"environment={e},carrier={c}"
            for e in ("EWR", "JFK")
            for c in ("UA", "B6", "other")
        ),
    }
    other = loaded["eval", "carrier=other", "candidate"]
    assert other.examples == np.sum(carriers == b"HA")
    cross = loaded["eval", "environment=JFK,carrier=other", "candidate"]
    assert cross.examples == np.sum((carriers == b"HA") & (airports == b"JFK"))


def test_examples_without_the_feature_are_in_none_of_its_slices(toy, loaded):
    columns = toy["columns"]["ood"]
    missing = np.sum(columns["carrier"] == b"")
    assert missing > 0
    total = sum(
        result.examples
        for (split, name, model), result in loaded.items()
        if split == "ood" and name.startswith("carrier=") and model == "candidate"
    )
    assert total == 400 - missing


def test_blocks_are_days_and_the_same_for_both_models(toy, loaded):
    columns = toy["columns"]["eval"]
    expected = blocks.assign([columns["month"], columns["day"]])
    for model in ("candidate", "baseline"):
        found = loaded["eval", "overall", model]
        assert found.block_examples == tuple(np.bincount(expected, minlength=20))
        replicates = found.metrics["mean_label"].replicates
        for block in range(20):
            rest = columns["late"][expected != block]
            assert replicates[block] == pytest.approx(rest.mean(), abs=1e-12)


def test_differences_of_paired_models_are_known_better_than_each(loaded):
    one = loaded["eval", "overall", "candidate"].metrics["log_loss"]
    other = loaded["eval", "overall", "baseline"].metrics["log_loss"]
    difference = results.Estimate(
        one.value - other.value, one.replicates - other.replicates
    )
    apart = np.hypot(one.standard_error, other.standard_error)
    assert difference.standard_error < 0.6 * apart


@pytest.fixture(scope="module")
def weighted(tmp_path_factory, write_examples, write_model, evaluate):
    """One split, one model, weights, no clusters; the prediction under another key."""
    root = tmp_path_factory.mktemp("weighted")
    columns = draw(600, ["EWR", "JFK"], seed=3)
    columns["late"][columns["carrier"] == b"HA"] = 0
    examples = write_examples(root / "examples", {"eval": columns})
    model = write_model(root / "model")
    uri = evaluate(root / "out", examples, model, slices=[("carrier",)], weight="w")
    return {"uri": uri, "examples": examples, "model": model, "columns": columns}


def test_weights_count_as_in_stock_tfma(weighted, stock):
    import tensorflow_model_analysis as tfma

    folder = stock(
        weighted["examples"], "eval", {"candidate": weighted["model"]}, weight="w"
    )
    theirs = tfma.load_eval_result(folder).get_metrics_for_slice(())
    ours = results.load_results(weighted["uri"])[0]
    for metric in SHARED:
        expected = theirs[metric]["doubleValue"]
        assert ours.metrics[metric].value == pytest.approx(expected, abs=1e-9)
    assert ours.examples == 600
    assert sum(b.weight for b in ours.calibration) == pytest.approx(
        weighted["columns"]["w"].astype(float).sum()
    )


def test_a_single_model_is_the_candidate(weighted):
    import tensorflow_model_analysis as tfma

    assert {r.model for r in results.load_results(weighted["uri"])} == {"candidate"}
    for name in ("candidate", None):
        read = tfma.load_eval_result(f"{weighted['uri']}/Split-eval", model_name=name)
        assert "auc" in read.get_metrics_for_slice(())


def test_a_slice_of_one_class_has_no_auc(weighted):
    found = {r.name: r for r in results.load_results(weighted["uri"])}
    assert found["carrier=HA"].positives == 0
    assert np.isnan(found["carrier=HA"].metrics["auc"].value)
    assert np.isnan(found["carrier=HA"].metrics["auc"].standard_error)
    assert found["carrier=HA"].metrics["mean_label"].value == 0.0
    assert np.isfinite(found["carrier=UA"].metrics["auc"].value)


def test_without_clusters_every_example_is_its_own(weighted):
    (overall, *_) = results.load_results(weighted["uri"])
    counts = np.array(overall.block_examples)
    assert counts.sum() == 600
    assert counts.min() > 10  # 30 expected, standard deviation 5.3


def test_nan_predictions_are_never_dropped(
    tmp_path, write_examples, write_model, evaluate
):
    columns = draw(200, ["EWR", "JFK"], seed=4)
    columns["x"][columns["environment"] == b"JFK"] += 10
    columns["x"][np.argmax(columns["environment"] == b"EWR")] = -50
    examples = write_examples(tmp_path / "examples", {"eval": columns})
    model = write_model(tmp_path / "model", nan_below=-40)
    uri = evaluate(tmp_path, examples, model, slices=[("environment",)])
    found = {r.name: r for r in results.load_results(uri)}
    for name in ("overall", "environment=EWR"):
        assert found[name].invalid_predictions == 1
        assert np.isnan(found[name].metrics["auc"].value)
        assert np.isnan(found[name].metrics["log_loss"].value)
        assert np.isnan(found[name].metrics["accuracy"].standard_error)
    assert found["overall"].examples == 200
    assert found["environment=JFK"].invalid_predictions == 0
    assert np.isfinite(found["environment=JFK"].metrics["log_loss"].value)


def test_a_vanished_slice_is_absent(tmp_path, write_examples, write_model, evaluate):
    columns = draw(60, ["EWR"], seed=5)
    columns["carrier"][:] = b"UA"
    examples = write_examples(tmp_path / "examples", {"eval": columns})
    entries = [[["UA"], 60], [["B6"], 50], [["HA"], 3]]
    counts = {"slices": {"eval": {'["carrier"]': entries}}}
    examples.set_string_custom_property("counts", json.dumps(counts))
    model = write_model(tmp_path / "model")
    uri = evaluate(tmp_path, examples, model, slices=[("carrier",)], min_examples=30)
    assert [r.name for r in results.load_results(uri)] == ["overall", "carrier=UA"]


def test_a_wrong_label_is_a_data_error_out_of_the_runner(
    tmp_path, write_examples, write_model, evaluate
):
    columns = draw(60, ["EWR"], seed=6)
    columns["late"][7] = 2
    examples = write_examples(tmp_path / "examples", {"eval": columns})
    model = write_model(tmp_path / "model")
    sentence = "label 'late' in split 'eval': found 2 in an example, expected 0 or 1"
    with pytest.raises(DataError, match=sentence) as raised:
        evaluate(tmp_path / "out", examples, model)
    assert "while running" not in str(raised.value)
    error = json.loads((tmp_path / "out" / "a" / "error.json").read_text())
    assert error == {"exit": 2, "sentence": str(raised.value)}


def test_what_is_missing_is_named(tmp_path, write_examples, write_model, evaluate):
    examples = write_examples(
        tmp_path / "examples", {"eval": draw(30, ["EWR"], seed=7)}
    )
    model = write_model(tmp_path / "model", output="scores")
    with pytest.raises(
        DataError, match="no output 'probabilities', only logits, scores"
    ):
        evaluate(tmp_path, examples, model)
    with pytest.raises(
        DataError, match="feature 'tail' is in no example of split 'eval'"
    ):
        evaluate(tmp_path, examples, model, slices=[("tail",)])
    with pytest.raises(
        DataError, match="split 'ood' is not among those of the examples"
    ):
        evaluate(tmp_path, examples, model, splits=("ood",))
    with pytest.raises(DataError, match=r"say nothing of slice \['carrier'\]"):
        evaluate(tmp_path, examples, model, slices=[("carrier",)], min_examples=5)
    model.uri = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match="the candidate model has no SavedModel in"):
        evaluate(tmp_path, examples, model)
