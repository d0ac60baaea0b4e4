"""What the Evaluator accepts to be told, and what it refuses."""

import json

import pytest

from components.evaluator import settings

OPTIONS = settings.Options(label="late")


def config(**parts):
    return json.dumps(parts)


def metric(class_name, **fields):
    return {"metrics_specs": [{"metrics": [{"class_name": class_name, **fields}]}]}


def test_options_are_read_with_their_defaults():
    read = settings.parse_options('{"label": "late", "cluster_by": ["month", "day"]}')
    assert read == settings.Options(
        label="late",
        environment="environment",
        cluster_by=("month", "day"),
        min_examples=200,
        task="binary",
        weight=None,
    )


def test_attacks_are_read():
    read = settings.parse_options('{"label": "y", "attacks": [{"epsilon": 0.5}]}')
    assert [attack.name for attack in read.attacks] == ["fgsm-linf-0.5"]
    assert settings.parse_options('{"label": "y"}').attacks == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "found a JSON list, expected a dict"),
        ("{}", "'label' is missing"),
        ('{"label": "y", "clusters": []}', "unknown key 'clusters'; use label,"),
        ('{"label": "y", "cluster_by": "day"}', "not a list of features"),
        ('{"label": "y", "cluster_by": [1]}', "1 is not a feature's name"),
        ('{"label": "y", "min_examples": -1}', "min_examples is -1"),
        ('{"label": "y", "min_examples": true}', "min_examples is True"),
        ('{"label": "y", "task": "ranking"}', "task 'ranking' is not supported"),
        ('{"label": "y", "attacks": {}}', "not a list of maps"),
        ('{"label": "y", "attacks": [1]}', "not a list of maps"),
        ('{"label": "y", "attacks": [{"epsilon": 1, "max": 2}]}', "unknown key 'max'"),
        ('{"label": "y", "attacks": [{"epsilon": 0}]}', "epsilon of an attack is 0"),
        (
            '{"label": "y", "attacks": [{"epsilon": 1}, {"epsilon": 1.0}]}',
            "attack fgsm-linf-1 is there twice",
        ),
        ('{"label": "y", "classes": ["a", "b"]}', "task 'binary' has none"),
        ('{"label": "y", "task": "regression", "classes": ["a"]}', "has none"),
        ('{"label": "y", "task": "multiclass"}', "name two different ones"),
        ('{"label": "y", "task": "multiclass", "classes": ["a"]}', "name two"),
        (
            '{"label": "y", "task": "multiclass", "classes": ["a", "b", "a"]}',
            "each once",
        ),
        ('{"label": "y", "task": "multiclass", "classes": [1, 2]}', "not all of text"),
        ('{"label": "y", "task": "multiclass", "classes": 3}', "not a list of names"),
    ],
)
def test_wrong_options_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        settings.parse_options(text)


@pytest.mark.parametrize("text", ["[]", '["eval", "eval"]', "[1]", '"eval"'])
def test_wrong_splits_are_refused(text):
    with pytest.raises(ValueError, match="example_splits"):
        settings.parse_splits(text)


def test_the_models_are_filled_in():
    read = settings.parse_eval_config(config(), OPTIONS)
    (spec,) = read.model_specs
    assert spec.name == "candidate"
    assert spec.label_key == "late"
    assert spec.signature_name == "serving_default"
    assert spec.prediction_key == "probabilities"


@pytest.mark.parametrize(
    ("task", "output"), [("multiclass", "probabilities"), ("regression", "predictions")]
)
def test_a_task_has_an_output_and_metrics_of_its_own(task, output):
    options = settings.Options("y", task=task)
    asked = [
        {"class_name": class_name, "config": json.dumps({"name": name})}
        for class_name, name in settings.METRIC_NAMES[task].items()
    ]
    text = config(metrics_specs=[{"metrics": asked}])
    (spec,) = settings.parse_eval_config(text, options).model_specs
    assert spec.prediction_key == output
    with pytest.raises(ValueError, match=f"'AUC' is not computed of task '{task}'"):
        settings.parse_eval_config(config(**metric("AUC")), options)


@pytest.mark.parametrize("given", [[], [{"is_baseline": True, "prediction_key": "p"}]])
def test_the_baseline_is_there_exactly_when_its_model_is(given):
    read = settings.parse_eval_config(config(model_specs=[{}, *given]), OPTIONS)
    alone = settings.models_of(read, has_baseline=False)
    both = settings.models_of(read, has_baseline=True)
    assert [spec.name for spec in alone.model_specs] == ["candidate"]
    assert [spec.name for spec in both.model_specs] == ["candidate", "baseline"]
    assert both.model_specs[1].is_baseline
    assert both.model_specs[1].prediction_key == ("p" if given else "probabilities")


def test_slices_keep_the_order_of_the_config():
    specs = [{}, {"feature_keys": ["environment", "carrier"]}]
    read = settings.parse_eval_config(config(slicing_specs=specs), OPTIONS)
    assert settings.slices_of(read) == [(), ("environment", "carrier")]
    assert settings.slices_of(settings.parse_eval_config(config(), OPTIONS)) == [()]


def test_the_metrics_that_are_computed_are_accepted_under_their_names():
    metrics = [
        {"class_name": class_name, "config": json.dumps({"name": name})}
        for class_name, name in settings.METRIC_NAMES["binary"].items()
    ]
    text = config(metrics_specs=[{"metrics": metrics}])
    settings.parse_eval_config(text, OPTIONS)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (metric("Precision"), "'Precision' is not computed; use AUC"),
        (metric("BinaryCrossEntropy"), "must be named 'log_loss'"),
        (metric("AUC", config='{"name": "a"}'), "must be named 'auc'"),
        (metric("AUC", config='{"num_thresholds": 5}'), r"\['num_thresholds'\]"),
        (
            metric("AUC", threshold={"value_threshold": {"lower_bound": 0.6}}),
            "threshold is not supported",
        ),
        ({"metrics_specs": [{"binarize": {}}]}, "metrics_specs.binarize"),
        ({"slicing_specs": [{"feature_values": {"a": "b"}}]}, "feature_values"),
        (
            {"slicing_specs": [{"feature_keys": ["a"]}, {"feature_keys": ["a"]}]},
            r"\['a'\] is there twice",
        ),
        ({"cross_slicing_specs": [{}]}, "cross_slicing_specs"),
        (
            {"options": {"compute_confidence_intervals": True}},
            "compute_confidence_intervals",
        ),
        ({"options": {"min_slice_size": 10}}, "set options.min_examples"),
        ({"model_specs": [{}, {}]}, "2 candidates and 0 baselines"),
        ({"model_specs": [{"label_key": "y"}]}, "label_key of candidate is 'y'"),
        ({"model_specs": [{"example_weight_key": "w"}]}, "example_weight_key"),
        ({"model_specs": [{"label_keys": {"a": "b"}}]}, "label_keys"),
        ({"slices": []}, "not a tfma.EvalConfig"),
    ],
)
def test_a_config_that_asks_for_more_is_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        settings.parse_eval_config(json.dumps(parts), OPTIONS)
