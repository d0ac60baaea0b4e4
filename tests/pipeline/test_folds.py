"""The folds of `held_out: each`: their graph, summary and page."""

import json
import math
import pathlib
from xml.etree import ElementTree

import jsonschema
import pytest

from pipeline import folds, folds_page, local_runner
from pipeline.config_io import load_config
from pipeline.runtime import Local
from pipeline.schema import make
from tests.pipeline.conftest import EACH


class TestGraph:
    ODD = ("a/b", "⛄ New York", "x" * 10_000)

    def graph(self, config, environments):
        from pipeline.pipeline import create_folds

        return create_folds(config, environments, Local(config))

    def test_every_fold_is_whole_and_nothing_is_pushed(self, project):
        config = load_config(str(project.config), sets=EACH)
        graph = self.graph(config, config.data.training)
        kinds = [
            *("MultiEnvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator"),
            *("GroupSizeValidator", "Transform", "Trainer", "Evaluator"),
            "InvarianceValidator",
        ]
        names = {f"{kind}.{i}" for kind in kinds for i in (1, 2, 3)}
        assert {node.id for node in graph.components} == names | {"SourceManifest"}
        assert graph.pipeline_info.pipeline_name == "flights.each"

    @pytest.mark.parametrize("form", ["named", "column"])
    def test_each_holds_out_its_own(self, project, form):
        if form == "column":
            project.by_column()
        config = load_config(str(project.config), sets=EACH if form == "named" else [])
        names = ("EWR", "JFK", "LGA") if form == "named" else self.ODD
        nodes = {node.id: node for node in self.graph(config, names).components}
        for i, name in enumerate(names, 1):
            others = [other for other in names if other != name]
            ingestion = json.loads(
                nodes[f"MultiEnvExampleGen.{i}"].exec_properties["spec"]
            )
            assert ingestion["held_out"] == [name]
            for kind in ("Trainer", "Transform"):
                told = nodes[f"{kind}.{i}"].exec_properties["custom_config"]
                assert json.loads(told)["environments"] == others
            report = nodes[f"InvarianceValidator.{i}"].exec_properties
            assert json.loads(report["context"])["held_out"] == [name]
            assert nodes[f"Evaluator.{i}"].inputs.get("baseline_model") is None
        manifest = json.loads(nodes["SourceManifest"].exec_properties["sources"])
        assert not any(source["held_out"] for source in manifest)

    def test_it_compiles_whatever_the_names(self, project):
        from pipeline import tfx_local

        project.by_column()
        name = "a" * 63
        config = load_config(str(project.config), sets=[f"name={name}"])
        nodes = tfx_local.prepare(self.graph(config, self.ODD), "a run")
        assert len(nodes) == 1 + 3 * 9

    def test_a_run_is_never_built_from_it(self, project):
        from pipeline.pipeline import create_pipeline

        config = load_config(str(project.config), sets=EACH)
        with pytest.raises(ValueError, match="that is create_folds"):
            create_pipeline(config, Local(config))


METRICS = {"auc": 0.7, "log_loss": 0.5, "accuracy": 0.8, "calibration_slope": None}


def fold(name, verdict, others=("b",)):
    check = {"name": "worst.auc", "verdict": verdict, "reason": f"It is {verdict}."}
    rest = dict.fromkeys(("interval", "value", "bound", "split", "slice", "examples"))
    return {
        "environment": name,
        "verdict": verdict,
        "blessed": verdict == "PASS",
        "error": None,
        "report": "fold-1.html",
        "checks": [{**check, **rest}],
        "metrics": {
            "ood": {f"environment={name}": METRICS},
            "eval": {f"environment={other}": METRICS for other in others},
        },
        "undefined": [],
        "environments": {
            name: {"ood": 10},
            **{other: {"train": 8, "eval": 1234} for other in others},
            "few": {"train": 3, "eval": 2},
        },
    }


FAILED = {
    **fold("c", None),
    **{"checks": [], "metrics": {}, "environments": {}, "report": None},
    "error": {"exit": 2, "sentence": "environment 'b' has one class only; <mend>"},
}


def summary(*found):
    return {
        "run_id": "1",
        "verdict": "FAIL",
        "pushed": None,
        "error": None,
        "checks": [],
        "metrics": {},
        "environments": {},
        "folds": list(found),
        "method": "v_rex",
        "stages": [],
        "versions": {},
    }


class TestOutcome:
    def test_metrics_are_of_their_own_split(self):
        found = folds_page.measured(fold("z", "PASS"))
        assert list(found) == ["z", "b"]
        assert [entry["split"] for entry in found.values()] == ["ood", "eval"]
        assert [entry["examples"] for entry in found.values()] == [10, 1234]
        assert math.isnan(found["b"]["calibration_slope"])

    def test_the_page_holds_everything_and_escapes_it(self):
        long = "<b>" + "y" * 10_000
        made = folds_page.page(
            "flights", 1.0, summary(fold(long, "FAIL"), fold("d", "PASS"), FAILED)
        )
        body = (
            made.split("</head>")[1].removesuffix("</html>\n").removesuffix("</html>")
        )
        root = ElementTree.fromstring(body)
        text = "".join(root.itertext())
        for part in ("<mend>", "It is FAIL.", "worst.auc", "Every check", "1 of 3"):
            assert part in text
        assert "1 could not be tried" in text
        assert len(text) < 5000
        links = [link.get("href") for link in root.iter("a")]
        assert links == ["fold-1.html"] * 2

    def test_the_table_is_aligned(self):
        lines = folds_page.table([fold("a|b", "PASS"), fold("c" * 99, "FAIL"), FAILED])
        assert len({len(line) for line in lines}) == 1
        assert "| failed " in lines[-1]

    def test_the_summary_keeps_its_schema(self):
        path = pathlib.Path(make.CONFIG_SCHEMA).with_name("summary.schema.json")
        schema = json.loads(path.read_text())
        jsonschema.validate(summary(fold("a", "PASS"), FAILED), schema)
        wrong = {**fold("a", "PASS"), "metrics": {"test": {}}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(summary(wrong), schema)

    @pytest.mark.parametrize(
        ("found", "status"),
        [
            ((fold("a", "PASS"), fold("b", "PASS")), 0),
            ((fold("a", "PASS"), fold("b", "INSUFFICIENT_DATA")), 3),
            (({**fold("a", "INSUFFICIENT_DATA"), "blessed": True},), 0),
        ],
    )
    def test_exit_codes(self, found, status):
        assert folds.exit_code(summary(*found)) == status

    @pytest.mark.parametrize(
        ("exits", "status"),
        [({"1": 2}, 1), ({"1": 2, "2": 2}, 2), ({"1": 2, "2": 1}, 1), ({"": 2}, 2)],
    )
    def test_exit_codes_of_errors(self, project, monkeypatch, exits, status):
        passed = fold("b", "PASS")
        monkeypatch.setattr(
            "components.run_record.facts.decision_of", lambda *_: passed
        )
        config = load_config(str(project.config), sets=EACH)
        progress = local_runner.Progress()
        progress.errors = {
            part: {"exit": exit, "sentence": f"no {part}; mend it"}
            for part, exit in exits.items()
        }
        result = folds.summarize(config, "1", ["a", "b"], progress)
        assert folds.exit_code(result) == status
        assert result["verdict"] is None
        said = result["error"]["sentence"]
        assert said.startswith("no ; mend" if "" in exits else "a held out: no 1; mend")
        assert said.endswith(" (1 more failed)") == (len(exits) == 2)
        verdicts = [each["verdict"] for each in result["folds"]]
        told = [None if part in exits else "PASS" for part in "12"]
        assert verdicts == ([] if "" in exits else told)
