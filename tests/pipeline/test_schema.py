"""The JSON schemas: up to date, and as strict as the code."""

import copy
import json
import pathlib
import re

import pytest
import yaml

from components.invariance_validator.decision import CheckResult
from pipeline.config_io import load_config
from pipeline.schema import make
from trainer_module.methods import METHODS

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
SUMMARY = pathlib.Path(make.CONFIG_SCHEMA).with_name("summary.schema.json")
TYPES = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
    "null": type(None),
}
SOURCE = {"environments": {"A": {"csv": "a"}}}
CHECKED = {
    "$ref",
    "additionalProperties",
    "anyOf",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if",
    "items",
    "maximum",
    "maxItems",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "const",
    "oneOf",
    "pattern",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
}
SAID = {"$defs", "$schema", "default", "description", "examples", "title"}


def is_valid(value, schema, root):
    """JSON Schema 2020-12, as far as our two schemas go; an unknown keyword fails."""
    assert set(schema) <= CHECKED | SAID, set(schema) - CHECKED - SAID

    def valid(part, sub):
        return is_valid(part, sub, root)

    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        if not valid(value, root["$defs"][name]):
            return False
    if "type" in schema:
        names = schema["type"]
        kinds = [TYPES[n] for n in ([names] if isinstance(names, str) else names)]
        is_bool = isinstance(value, bool)
        if not any(isinstance(value, k) and (k is bool or not is_bool) for k in kinds):
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "anyOf" in schema and not any(valid(value, s) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(valid(value, s) for s in schema["oneOf"]) != 1:
        return False
    if (
        "if" in schema
        and valid(value, schema["if"])
        and not valid(value, schema["then"])
    ):
        return False
    if isinstance(value, dict):
        return _object(value, schema, valid)
    if isinstance(value, list):
        items = schema.get("items", {})
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        return least <= len(value) <= most and all(valid(v, items) for v in value)
    if isinstance(value, str):
        long = len(value) >= schema.get("minLength", 0)
        return long and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", value - 1)
            and value < schema.get("exclusiveMaximum", value + 1)
        )
    return True


def _object(value, schema, valid):
    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", {})
    rest = {"enum": []} if rest is False else rest
    return (
        len(value) >= schema.get("minProperties", 0)
        and all(key in value for key in schema.get("required", []))
        and all(valid(key, schema.get("propertyNames", {})) for key in value)
        and all(valid(part, properties.get(key, rest)) for key, part in value.items())
    )


class TestConfigSchema:
    @pytest.fixture
    def schema(self):
        return json.loads(pathlib.Path(make.CONFIG_SCHEMA).read_text())

    def test_is_up_to_date(self):
        text = pathlib.Path(make.CONFIG_SCHEMA).read_text()
        assert text == make.text(), "run `python -m pipeline.schema.make`"

    @pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/config*.yaml")), ids=str)
    def test_takes_the_examples(self, schema, path):
        load_config(str(path))
        assert is_valid(yaml.safe_load(path.read_text()), schema, schema)

    def test_names_every_method(self, schema):
        assert schema["$defs"]["MethodTerm"]["properties"]["name"]["enum"] == sorted(
            METHODS
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"data": {"label": "y", "environments": {"A": {"csv": ["a", "b"]}}}},
            {
                "data": {
                    "label": "y",
                    "environments": {
                        "csv": "a",
                        "environment_column": "c",
                        "held_out": "B",
                    },
                }
            },
            {"task": "regression", "data": {"label": "y", **SOURCE}},
            {"data": {"label": {"name": "y", "classes": 10}, **SOURCE}},
            {"data": {"label": {"name": "y", "classes": ["a", 2]}, **SOURCE}},
            {"train": {"method": [{"name": "erm"}, "v_rex"]}},
            {"train": {"methods": {"irm_v1": {"steps": 5}}}},
            {"evaluate": {"slices": "carrier"}},
            {"evaluate": {"slices": ["a"], "buckets": {"a": [1, 2.5]}}},
            {"push": {"path": "x"}, "beam": ["--x=1"]},
            {"checks": {"floor": {"auc": {"slice": {"a": 1, "b": "x"}, "min": 0.6}}}},
            {"checks": {"floor": {"auc": [{"slice": {}, "min": 0.6}]}}},
            {"checks": {"calibration_error": {"max": 0.05, "over": ["a", ["a", "b"]]}}},
            {"checks": {"score_distance": {"max": 0.1}, "risk_variance": {"max": 1}}},
            {"checks": {"ood_drop": {"log_loss": {"max": 0}}}},
            {"checks": {"robustness": {"log_loss": {"max": 0.8, "epsilon": 1}}}},
            {
                "checks": {
                    "robustness": {
                        "auc": [
                            {"min": 0.6, "epsilon": 0.1, "over": "environment"},
                            {
                                "min": 0.6,
                                "epsilon": 0.1,
                                "attack": "pgd",
                                "norm": "l2",
                                "steps": 5,
                                "step_size": 0.1,
                                "clip": [0, 1],
                                "frozen": ["numeric_a"],
                                "split": "ood",
                            },
                        ]
                    }
                }
            },
        ],
    )
    def test_takes_every_form(self, project, schema, change):
        config = {**yaml.safe_load(project.config.read_text()), **change}
        assert is_valid(config, schema, schema)

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "A B"},
            {"vertex": {}},
            {"task": "ranking"},
            {"data": {"label": {"name": "y", "classes": 1}, **SOURCE}},
            {"data": {"label": {"name": "y", "classes": ["a"]}, **SOURCE}},
            {"data": {"label": {"name": "y", "classes": "a"}, **SOURCE}},
            {"train": {"stepz": 5}},
            {"train": {"steps": 0}},
            {"train": {"steps": "5"}},
            {"train": {"method": "vrex"}},
            {"train": {"methods": {"vrex": {}}}},
            {"checks": {"worst": {"acu": {"min": 1}}}},
            {"checks": {"gap": {"auc": {"min": 1}}}},
            {"checks": {"floor": {"auc": []}}},
            {"checks": {"floor": {"auc": {"min": 0.6}}}},
            {"checks": {"floor": {"auc": {"slice": {"a": []}, "min": 0.6}}}},
            {"checks": {"worst": {"calibration_error": {"max": 0.6}}}},
            {"checks": {"score_distance": {}}},
            {"checks": {"robustness": {"auc": []}}},
            {"checks": {"robustness": {"auc": {"min": 0.6}}}},
            {"checks": {"robustness": {"auc": {"min": 0.6, "epsilon": 0}}}},
            {"checks": {"robustness": {"auc": {"epsilon": 1, "attack": "cw"}}}},
            {"checks": {"robustness": {"auc": {"epsilon": 1, "clip": [1]}}}},
            {"checks": {"robustness": {"auc": {"epsilon": 1, "steps": 0}}}},
            {"checks": {"ood_drop": {"auc": {"max": 0.1, "split": "ood"}}}},
            {"verdict": {"confidence": 1}},
            {"data": {"label": "y", "environments": {"A": {"csvv": "a"}}}},
            {"data": {"label": "y", "environments": {}}},
            {"evaluate": {"slices": ["a"], "buckets": {"a": []}}},
            {"evaluate": {"slices": ["a"], "buckets": {"a": ["1"]}}},
            {"data": {"environments": {"A": {"csv": "a"}}}},
        ],
    )
    def test_refuses(self, project, schema, change):
        config = {**yaml.safe_load(project.config.read_text()), **change}
        assert not is_valid(config, schema, schema)


class TestSummarySchema:
    @pytest.fixture
    def schema(self):
        return json.loads(SUMMARY.read_text())

    @pytest.fixture
    def summary(self):
        check = CheckResult(
            name="worst.auc",
            verdict="PASS",
            value=0.7,
            interval=[0.69, 0.71],
            bound=0.65,
            split="ood",
            slice="environment=LGA",
            examples=1000,
            reason="It is.",
        )
        return {
            "run_id": "20130101-000000-000000",
            "verdict": "PASS",
            "pushed": "/serving/1",
            "error": None,
            "checks": [check.to_dict()],
            "metrics": {
                "eval": {"overall": {"auc": 0.7}},
                "ood": {"environment=LGA,carrier=UA": {"auc": None}},
            },
            "undefined": [
                {
                    "split": "ood",
                    "slice": "environment=LGA,carrier=UA",
                    "metric": "auc",
                    "reason": "all 3 examples are positive",
                }
            ],
            "environments": {"EWR": {"train": 10, "eval": 3}, "LGA": {"ood": 4}},
            "method": "v_rex",
            "stages": [{"name": "Trainer", "seconds": 1.5, "cached": False}],
            "versions": {"python": "3.10.1"},
        }

    def test_takes_a_run(self, schema, summary):
        assert is_valid(summary, schema, schema)

    def test_takes_a_run_that_ended_in_an_error(self, schema, summary):
        error = {"exit": 2, "sentence": "environment 'A' has no rows"}
        ended = {"verdict": None, "pushed": None, "error": error, "checks": []}
        assert is_valid({**summary, **ended}, schema, schema)

    @pytest.mark.parametrize(
        "name",
        [
            "floor.auc.environment=LGA,carrier=UA",
            "floor.log_loss.overall",
            "robustness.log_loss.fgsm-linf-0.1",
            "robustness.auc.pgd-l2-0.5-5x0.2-0to1-frozen numeric_a,numeric_b",
            "ood_drop.auc",
            "calibration_error",
            "score_distance",
            "risk_variance",
        ],
    )
    def test_takes_every_check(self, schema, summary, name):
        summary["checks"][0]["name"] = name
        assert is_valid(summary, schema, schema)

    def test_has_the_fields_of_the_architecture(self, schema):
        assert set(schema["required"]) == {
            "run_id",
            "verdict",
            "pushed",
            "error",
            "checks",
            "metrics",
            "environments",
            "method",
            "stages",
            "versions",
        }

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (["verdict"], "MAYBE"),
            (["verdict"], None),  # without an error there is one
            (["error"], {"exit": 0, "sentence": "x"}),
            (["error"], "x"),
            (["checks", 0, "verdict"], None),
            (["checks", 0, "reason"], ""),
            (["checks", 0, "interval"], [1]),
            (["checks", 0, "name"], "auc"),
            (["metrics", "eval", "overall", "auc"], "NaN"),
            (["metrics", "test"], {}),
            (["metrics", "eval", "EWR"], {}),
            (["environments", "EWR", "train"], -1),
            (["stages", 0, "seconds"], None),
            (["versions", "python"], 3.1),
        ],
    )
    def test_refuses(self, schema, summary, path, value):
        wrong = copy.deepcopy(summary)
        at = wrong
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
        assert not is_valid(wrong, schema, schema)

    @pytest.mark.parametrize("key", ["run_id", "checks", "error", "versions"])
    def test_needs_every_field(self, schema, summary, key):
        del summary[key]
        assert not is_valid(summary, schema, schema)
