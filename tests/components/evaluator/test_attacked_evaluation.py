"""The Evaluator under attacks, from SavedModel to verdict, against closed forms."""

import json

import numpy as np
import pytest
from sklearn import metrics

from components.attack import parse
from components.errors import DataError
from components.evaluator import results
from components.invariance_validator.decision import decide

from .conftest import draw

SLICES = (("environment",), ("carrier",))
FGSM = {"epsilon": 0.5}
PGD = {"epsilon": 0.5, "attack": "pgd", "norm": "l2", "steps": 4}


@pytest.fixture(scope="module")
def write_served(tmp_path_factory):
    """Exports sigmoid(scale x + shift) with all that an attack needs."""
    import tensorflow as tf
    from tfx.types import standard_artifacts

    def write(scale, shift=0.0):
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}

        def transform(examples):
            return {"numeric_x": tf.io.parse_example(examples, spec)["x"]}

        def score(features):
            logits = scale * features["numeric_x"] + shift
            return {"logits": logits, "probabilities": tf.sigmoid(logits)}

        examples = tf.TensorSpec([None], tf.string, "examples")
        number = tf.TensorSpec([None, 1], tf.float32, "numeric_x")
        functions = {
            "serving_default": (lambda e: score(transform(e)), examples),
            "transform_features": (transform, examples),
            "transformed": (score, {"numeric_x": number}),
        }
        traced = {
            name: tf.function(f, autograph=False).get_concrete_function(taken)
            for name, (f, taken) in functions.items()
        }
        folder = tmp_path_factory.mktemp("served")
        path = folder / "Format-Serving"
        tf.saved_model.save(tf.Module(), str(path), signatures=traced)
        (path / "assets.extra").mkdir()
        movable = json.dumps({"numeric_x": {"missing": None}})
        (path / "assets.extra" / "perturbable.json").write_text(movable)
        artifact = standard_artifacts.Model()
        artifact.uri = str(folder)
        return artifact

    return write


@pytest.fixture(scope="module")
def toy(tmp_path_factory, write_examples):
    """Two splits."""
    columns = {
        "eval": draw(3000, ["EWR", "JFK"], seed=1),
        "ood": draw(1500, ["LGA"], seed=2),
    }
    folder = tmp_path_factory.mktemp("toy") / "examples"
    return write_examples(folder, columns), columns


@pytest.fixture(scope="module")
def loaded(toy, write_served, write_model, evaluate, tmp_path_factory):
    """(split, slice name, model) -> result, with a baseline that has no signatures."""
    uri = evaluate(
        tmp_path_factory.mktemp("out"),
        toy[0],
        write_served(0.8, 0.2),
        write_model(tmp_path_factory.mktemp("baseline"), scale=0.5),
        splits=("eval", "ood"),
        slices=SLICES,
        attacks=[FGSM, PGD],
    )
    return {(r.split, r.name, r.model): r for r in results.load_results(uri)}


def test_every_slice_is_measured_under_every_attack(loaded):
    models = {model for _, _, model in loaded}
    attacked = {parse(FGSM).model, parse(PGD).model}
    assert models == {"candidate", "baseline"} | attacked
    places = {(split, name) for split, name, _ in loaded}
    assert len(loaded) == len(places) * len(models)
    assert ("ood", "environment=LGA") in places


@pytest.mark.parametrize("leaf", [FGSM, PGD], ids=["fgsm", "pgd"])
@pytest.mark.parametrize(
    ("split", "feature", "value"),
    [("eval", "environment", b"EWR"), ("eval", "carrier", b"UA"), ("ood", "", b"")],
)
def test_values_are_the_closed_form(toy, loaded, leaf, split, feature, value):
    columns = toy[1][split]
    rows = columns[feature] == value if feature else np.full(1500, True)
    x, y = columns["x"][rows].astype(float), columns["late"][rows]
    sign = 2 * y - 1
    # One feature, so both norms: z moves by 0.8 epsilon to the wrong side.
    z = 0.8 * x + 0.2 - sign * 0.8 * 0.5
    name = f"{feature}={value.decode()}" if feature else "overall"
    found = loaded[split, name, parse(leaf).model]
    values = {n: estimate.value for n, estimate in found.metrics.items()}
    assert found.examples == rows.sum()
    assert values["log_loss"] == pytest.approx(
        np.logaddexp(0, -sign * z).mean(), abs=1e-5
    )
    assert values["accuracy"] == pytest.approx(((z > 0) == y).mean(), abs=1e-3)
    assert values["auc"] == pytest.approx(metrics.roc_auc_score(y, z), abs=1e-3)


def test_it_has_replicates_of_the_same_blocks(loaded):
    clean = loaded["eval", "environment=EWR", "candidate"]
    found = loaded["eval", "environment=EWR", parse(FGSM).model]
    assert found.block_examples == clean.block_examples
    estimate = found.metrics["log_loss"]
    assert estimate.replicates.shape == (20,)
    assert estimate.standard_error > 0


def test_the_clean_results_are_those_without_attacks(
    toy, loaded, write_served, evaluate, tmp_path
):
    model = write_served(0.8, 0.2)
    uri = evaluate(tmp_path, toy[0], model, splits=("eval", "ood"), slices=SLICES)
    found = results.load_results(uri)
    assert {r.model for r in found} == {"candidate"}
    for result in found:
        other = loaded[result.split, result.name, "candidate"]
        for name in ("auc", "log_loss", "calibration_slope"):
            assert result.metrics[name].value == other.metrics[name].value


def test_tfma_reads_it(toy, write_served, evaluate, tmp_path):
    import tensorflow_model_analysis as tfma

    uri = evaluate(tmp_path, toy[0], write_served(0.8), attacks=[FGSM])
    (result,) = (r for r in results.load_results(uri) if r.model == parse(FGSM).model)
    read = tfma.load_eval_result(f"{uri}/Split-eval", model_name=parse(FGSM).model)
    overall = read.get_metrics_for_slice(())
    assert overall["log_loss"]["doubleValue"] == result.metrics["log_loss"].value


def test_a_fragile_model_is_refused_and_a_robust_one_passes(
    toy, write_served, evaluate, tmp_path
):
    # Both are good on clean data; one leans five times as much on x.
    leaf = {"max": 0.8, "over": "environment", **FGSM}
    checks = {
        "worst": {"accuracy": {"min": 0.6, "over": "environment"}},
        "robustness": {"log_loss": leaf},
    }
    environments = {
        name: {"held_out": held, "splits": {split: {"examples": int(n)}}}
        for split, held in (("eval", False), ("ood", True))
        for name, n in zip(
            *np.unique(toy[1][split]["environment"].astype(str), return_counts=True),
            strict=True,
        )
    }
    counts = {"environments": environments, "slices": {"eval": {}, "ood": {}}}
    found = {}
    for scale in (0.5, 2.5):
        uri = evaluate(
            tmp_path / str(scale),
            toy[0],
            write_served(scale, 0.25 * scale),
            splits=("eval", "ood"),
            slices=SLICES,
            attacks=[FGSM],
        )
        found[scale] = decide(results.load_results(uri), counts, checks)
    robust, fragile = found[0.5], found[2.5]
    assert robust.blessed, [check.reason for check in robust.checks]
    worst, robustness = fragile.checks
    assert (worst.verdict, robustness.verdict) == ("PASS", "FAIL")
    assert not fragile.blessed
    assert robustness.name == "robustness.log_loss.fgsm-linf-0.5"
    assert "under fgsm-linf-0.5 is" in robustness.reason


def test_a_model_that_lacks_what_an_attack_needs_is_a_sentence(
    toy, write_model, evaluate, tmp_path
):
    model = write_model(tmp_path / "model")
    with pytest.raises(DataError) as error:
        evaluate(tmp_path / "out", toy[0], model, attacks=[FGSM])
    assert str(error.value) == (
        f"the model in {model.uri}/Format-Serving has no signature"
        " 'transform_features', only serving_default, so it can't be attacked; train"
        " it anew, or take checks.robustness out"
    )
