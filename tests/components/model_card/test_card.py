"""The card: the fields of Model Card Toolkit, and Markdown that shows text as text."""

import copy
import html
import re

import pytest

from components.model_card import card

RECORD = {
    "verdict": "FAIL",
    "min_examples": 200,
    "checks": [
        {
            "name": "worst.auc",
            "verdict": "FAIL",
            "value": 0.61,
            "interval": [0.6, 0.62],
            "bound": 0.65,
            "split": "eval",
            "slice": "environment=EWR",
            "reason": "it is 0.61",
        },
        {
            "name": "gap.auc",
            "verdict": "PASS",
            "value": 0.01,
            "interval": [None, 0.02],
            "bound": 0.05,
            "split": "eval",
            "slice": "a / b",
            "reason": "it is small.",
        },
        {
            "name": "baseline.auc",
            "verdict": "PASS",
            "value": None,
            "reason": "no model yet",
        },
    ],
    "metrics": {
        "eval": {
            "overall": {"auc": 0.7, "log_loss": None, "irm_penalty": 1.0},
            "environment=EWR": {"auc": 0.61},
            "environment=EWR,carrier=UA": {"auc": 0.5},
            "carrier=UA": {"auc": 0.5},
        }
    },
    "environments": {"EWR": {"train": 90_000, "eval": 1_000}, "LGA": {"ood": 5}},
    "pooled": {"eval": {"carrier": [["HA", 12]]}},
    "notes": ["a note"],
    "context": {
        "name": "flights",
        "task": "binary",
        "label": "late",
        "method": "v_rex",
        "environments": ["EWR"],
        "held_out": ["LGA"],
    },
}
SAID = {
    "overview": "Forecasts delays.",
    "owners": [{"name": "Ada", "contact": "ada@example.org"}],
    "licenses": ["Apache-2.0", "ask the legal department"],
    "references": ["https://example.org"],
    "citations": ["Ada 2026"],
    "users": ["dispatchers"],
    "use_cases": ["planning"],
    "limitations": ["no storms"],
    "tradeoffs": ["slower"],
    "sensitive_data": ["names"],
    "ethical_considerations": [{"name": "blame", "mitigation_strategy": "none yet"}],
}
# As the schema 0.0.2 of Model Card Toolkit has them.
FIELDS = {
    "model_details": {
        *("name", "overview", "documentation", "owners", "version", "licenses"),
        *("references", "citations"),
    },
    "model_parameters": {
        *("model_architecture", "data", "input_format", "output_format"),
    },
    "quantitative_analysis": {"performance_metrics"},
    "considerations": {
        *("users", "use_cases", "limitations", "tradeoffs", "ethical_considerations"),
    },
}


@pytest.fixture
def record():
    return copy.deepcopy(RECORD)


@pytest.fixture
def full(record):
    record["context"] |= {"card": SAID, "architecture": "64 units"}
    return card.make(record, "0" * 32)


def test_all_fields_are_the_toolkits(full):
    assert full.pop("schema_version") == "0.0.2"
    assert {section: set(content) for section, content in full.items()} == FIELDS


def test_what_nobody_said_is_left_out(record):
    made = card.make(record)
    assert set(made["considerations"]) == {"limitations"}
    assert set(made["model_details"]) == {
        *("name", "overview", "documentation", "version"),
    }
    assert set(made["model_details"]["version"]) == {"date"}
    assert made["model_details"]["overview"] == (
        "Binary classifier of late, trained with v_rex on EWR; never trained on LGA."
    )


def test_what_the_config_says_is_where_it_belongs(full):
    details, considered = full["model_details"], full["considerations"]
    assert details["licenses"] == [
        {"identifier": "Apache-2.0"},
        {"custom_text": "ask the legal department"},
    ]
    assert details["owners"] == SAID["owners"]
    assert details["version"]["name"] == "0" * 32
    assert considered["users"] == [{"description": "dispatchers"}]
    assert considered["ethical_considerations"] == SAID["ethical_considerations"]
    assert considered["limitations"][0] == {"description": "no storms"}


def test_metrics_have_interval_and_bound_where_a_check_judged_them(record):
    found = card.make(record)["quantitative_analysis"]["performance_metrics"]
    assert found == [
        {
            "type": "worst.auc",
            "value": 0.61,
            "slice": "eval environment=EWR",
            "threshold": 0.65,
            "confidence_interval": {"lower_bound": 0.6, "upper_bound": 0.62},
        },
        {
            "type": "gap.auc",
            "value": 0.01,
            "slice": "eval a / b",
            "threshold": 0.05,
        },
        {"type": "auc", "value": 0.7, "slice": "eval overall"},
        {"type": "auc", "value": 0.61, "slice": "eval environment=EWR"},
    ]


def test_limits_are_those_that_the_run_shows(record):
    made = card.make(record)["considerations"]["limitations"]
    said = [one["description"] for one in made]
    assert said[0].startswith("Evaluated on EWR and LGA alone")
    assert said[1] == "worst.auc is FAIL: it is 0.61."
    assert "1 group had fewer than 200" in said[2] and "carrier=HA" in said[2]
    assert said[3:] == ["a note"]


def test_every_environment_is_a_dataset(full):
    held, trained = sorted(
        full["model_parameters"]["data"], key=lambda one: one["name"], reverse=True
    )
    assert held["name"] == "LGA" and "never trained on; 5 in ood" in held["description"]
    assert "1,000 in eval, 90,000 in train" in trained["description"]
    assert trained["sensitive"] == {"sensitive_data": ["names"]}


def test_an_override_is_the_first_of_the_limits(record):
    made = card.make(record)
    override = {"who": "Ada", "why": "harm", "expires": "2026-01-31"}
    first, *rest = card.overridden(made, override)["considerations"]["limitations"]
    assert first["description"].startswith("Not released by its verdict")
    for word in override.values():
        assert word in first["description"]
    assert rest == made["considerations"]["limitations"]
    assert card.overridden(made, None) == made


def test_the_markdown_has_everything(full):
    text = html.unescape(card.markdown(full).replace("\\", ""))
    for word in (
        *("flights", "Forecasts delays.", "Ada, ada@example.org", "dispatchers"),
        *("ask the legal department", "no storms", "blame", "none yet", "0.6 to 0.62"),
        *("64 units", "names", "90,000 in train", "worst.auc is FAIL"),
    ):
        assert word in text
    assert "None" not in text and "Undefined" not in text
    assert not re.search("\n\n\n", text)


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a|b", "*a*", "[x](javascript:y)", "a\nb", "`x`"],
)
def test_names_from_data_are_text(record, name):
    record["environments"] = {name: {"ood": 5}}
    record["context"]["held_out"] = [name]
    text = card.markdown(card.make(record))
    lines = [line for line in text.splitlines() if line.startswith("- **")]
    assert len(lines) == 1  # no line break of theirs
    assert "<script" not in text
    for special in "|*[`":
        found = re.findall(r"(?<!\\)" + re.escape(special), lines[0])
        assert len(found) == (4 if special == "*" else 0)  # ours, around the name
