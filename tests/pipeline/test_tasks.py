"""What a config may say under each task."""

import pytest

from pipeline import stages
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

LABEL = "label: {name: late, from: arr_delay, above: 15}"
CLASSES = "label: {name: kind, from: carrier, classes: [UA, AA, B6]}"


@pytest.fixture
def regression(project):
    project.replace(LABEL, "label: arr_delay")
    project.replace("name: flights", "name: flights\ntask: regression")
    return project


@pytest.fixture
def multiclass(project):
    project.replace(LABEL, CLASSES)
    project.replace("    categorical: [carrier]\n", "")
    project.replace("[carrier, [environment, carrier]]", "[origin]")
    project.replace("name: flights", "name: flights\ntask: multiclass")
    return project


def refused(project, *sets):
    with pytest.raises(ConfigError) as error:
        load_config(str(project.config), sets=list(sets))
    return str(error.value)


def test_a_number_is_forecast_as_it_stands(regression):
    config = load_config(str(regression.config))
    spec = stages.ingestion_spec(config)
    assert spec.label == {"name": "arr_delay", "task": "regression"}
    assert "arr_delay" in spec.numbers
    settings = stages.custom_config(config)
    assert (settings["task"], settings["classes"]) == ("regression", None)
    assert "arr_delay" in settings["exclude"]


def test_classes_keep_their_order_and_are_no_numbers(multiclass):
    config = load_config(str(multiclass.config))
    spec = stages.ingestion_spec(config)
    assert spec.label == {
        "name": "kind",
        "from": "carrier",
        "classes": ["UA", "AA", "B6"],
    }
    assert "carrier" not in spec.numbers
    settings = stages.custom_config(config)
    assert (settings["task"], settings["classes"]) == ("multiclass", 3)
    assert "carrier" in settings["exclude"] and settings["label"] == "kind"


def test_a_number_of_classes_names_them_from_0_on(multiclass):
    multiclass.replace("[UA, AA, B6]", "3")
    config = load_config(str(multiclass.config))
    assert config.data.label.classes == ("0", "1", "2")


def test_the_binary_label_is_told_as_before(project):
    config = load_config(str(project.config))
    label = {"name": "late", "from": "arr_delay", "above": 15.0}
    assert stages.ingestion_spec(config).label == label


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("cdann", "train.method is cdann, which is not defined for task: regression"),
        (
            "{name: coral, options: {conditional: true}}",
            "train.method is coral, which with these options is not defined for task:"
            " regression (binary and multiclass only); with other options it is",
        ),
    ],
)
def test_a_method_that_needs_classes_is_refused_for_a_number(regression, method, said):
    assert said in refused(regression, f"train.method={method}")


def test_a_method_of_one_column_is_refused_for_classes(multiclass):
    said = refused(
        multiclass, "train.method={name: wasserstein, options: {on: logits}}"
    )
    assert "wasserstein, which with these options is not defined" in said
    fit = "train.method={name: wasserstein, options: {on: logits, solver: sliced}}"
    assert load_config(str(multiclass.config), sets=[fit])


def test_slopes_are_bounded_for_a_binary_label_alone(regression):
    bound = "constraint={calibration_slope_spread: 0.2}"
    said = refused(regression, f"train.{bound}")
    assert "train.constraint.calibration_slope_spread" in said
    assert "bound risk_gap instead" in said
    said = refused(regression, f"train.methods.irm_v1.{bound}")
    assert "train.methods.irm_v1.constraint.calibration_slope_spread" in said
    assert load_config(str(regression.config), sets=["train.constraint={risk_gap: 1}"])


def test_environments_are_inferred_of_a_binary_label_alone(regression):
    said = refused(
        regression,
        "data.environments={parquet: data/ewr.parquet, infer: {number: 2}}",
    )
    assert "data.environments.infer" in said and "task is regression" in said


def test_a_search_by_slopes_is_refused_before_it_starts(regression):
    from pipeline.tune import tune

    config = load_config(str(regression.config))
    with pytest.raises(ConfigError) as error:
        tune(config)
    assert "tune.select is invariance" in str(error.value)
