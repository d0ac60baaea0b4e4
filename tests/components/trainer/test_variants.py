"""Which settings a parameter of a run chooses."""

import json

import pytest
from tfx.components.trainer import executor as tfx_trainer
from tfx.dsl.components.base import base_executor
from tfx.orchestration import data_types
from tfx.types import channel, standard_artifacts
from tfx.utils import json_utils

from components.errors import DataError
from components.trainer import executor, variants
from components.trainer.component import Trainer

OWN = {"steps": 2000, "methods": [{"name": "v_rex"}]}
OTHER = {"steps": 500, "methods": [{"name": "irm_v1"}]}


@pytest.mark.parametrize("method", [None, ""])
def test_the_own_settings_hold_no_variant(method):
    told = variants.with_variants(OWN, {"irm_v1": OTHER})
    assert variants.chosen(told, method) == OWN


def test_another_method_has_its_own():
    told = variants.with_variants(OWN, {"irm_v1": OTHER})
    assert variants.chosen(json.loads(json.dumps(told)), "irm_v1") == OTHER


def test_without_variants_nothing_is_added():
    assert variants.with_variants(OWN, {}) == OWN


@pytest.mark.parametrize("known", [{}, {"irm_v1": OTHER}])
def test_an_unknown_method(known):
    legal = "none" if not known else "irm_v1"
    with pytest.raises(DataError, match=rf"'v_rexx', .* \({legal}\); leave it empty"):
        variants.chosen(variants.with_variants(OWN, known), "v_rexx")


def made(**more):
    standard = standard_artifacts
    return Trainer(
        run_fn="a.b",
        examples=channel.Channel(type=standard.Examples),
        schema=channel.Channel(type=standard.Schema),
        transform_graph=channel.Channel(type=standard.TransformGraph),
        custom_config=OWN,
        methods={"irm_v1": OTHER},
        **more,
    )


def test_the_component_takes_a_parameter():
    parameter = data_types.RuntimeParameter("method", str, "")
    assert made(method=parameter).exec_properties["method"] is parameter


def test_the_component_refuses_a_name_that_is_none():
    with pytest.raises(ValueError, match="'v_rexx' is none of the methods"):
        made(method="v_rexx")


def test_the_executor_hands_over_what_was_chosen(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(
        tfx_trainer.GenericExecutor,
        "Do",
        lambda self, i, o, properties: seen.update(properties),
    )
    properties = dict(made(method="irm_v1").exec_properties)
    executor.Executor(base_executor.BaseExecutor.Context()).Do({}, {}, properties)
    assert json_utils.loads(seen["custom_config"]) == OTHER
    assert seen["run_fn"] == "a.b"


class Broken(Exception):
    """As SetupError of trainer_module, which this room does not know."""

    exit_code = 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Broken("a GPU is missing"), {"exit": 2, "sentence": "a GPU is missing"}),
        (ValueError("a\nb"), {"exit": 1, "sentence": "ValueError: a"}),
        (RuntimeError(), {"exit": 1, "sentence": "RuntimeError: RuntimeError"}),
    ],
)
def test_a_failure_leaves_its_reason(monkeypatch, tmp_path, error, told):
    def fail(*_):
        raise error

    monkeypatch.setattr(tfx_trainer.GenericExecutor, "Do", fail)
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "Trainer" / "model" / "1")
    trainer = executor.Executor(base_executor.BaseExecutor.Context())
    with pytest.raises(type(error)):
        trainer.Do({}, {"model": [model]}, dict(made().exec_properties))
    left = json.loads((tmp_path / "Trainer" / "error.json").read_text())
    assert left == told
