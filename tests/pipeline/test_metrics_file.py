"""What `--metrics` writes, read back by Prometheus's own parser."""

import json
import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipeline import cli, metrics_file
from pipeline.errors import ConfigError

SUMMARY = {
    "run_id": "20260101-000000-000000",
    "method": 'v_rex "2"',
    "verdict": "FAIL",
    "pushed": None,
    "checks": [
        {
            "name": "worst.auc",
            "verdict": "FAIL",
            "value": 0.61,
            "interval": [0.6, 0.62],
            "bound": 0.65,
        },
        {"name": "gap.auc", "verdict": "PASS", "value": None, "interval": None},
    ],
    "metrics": {
        "eval": {
            "overall": {"auc": 0.7, "log_loss": None},
            'environment=EWR,carrier=a"b\\c\n': {"auc": 0.5},
        }
    },
    "environments": {"EWR": {"train": 10, "eval": 3}},
    "stages": [{"name": "Trainer", "seconds": 1.5, "cached": True}],
    "findings": [{"level": "warn"}, {"level": "warn"}],
    "load_check": {
        "blessed": True,
        "load_seconds": 2.0,
        "peak_mb": 3.0,
        "latency_ms": {"1": [4.0, 5.0]},
    },
}


def read(path):
    """(name, labels) -> value of every sample."""
    found = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def one(samples, name, **labels):
    return samples["tfx_irm_" + name, frozenset(labels.items())]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "tfx_irm.prom"
    metrics_file.write(str(path), "run", 3, 12.5, SUMMARY, "flights")
    return read(path)


def test_a_run(written):
    assert one(written, "exit_status", command="run") == 3
    assert one(written, "duration_seconds", command="run") == 12.5
    assert one(written, "verdict", verdict="FAIL") == 1
    assert one(written, "verdict", verdict="PASS") == 0
    assert one(written, "pushed") == 0
    assert one(written, "check_verdict", check="worst.auc", verdict="FAIL") == 1
    assert one(written, "check_value", check="worst.auc") == 0.61
    assert one(written, "check_bound", check="worst.auc") == 0.65
    assert one(written, "check_interval", check="worst.auc", side="upper") == 0.62
    assert one(written, "examples", environment="EWR", split="eval") == 3
    assert one(written, "findings", level="warn") == 2
    assert one(written, "findings", level="error") == 0
    assert one(written, "stage_duration_seconds", stage="Trainer", reused="true") == 1.5


def test_units_are_seconds_and_bytes(written):
    assert one(written, "model_memory_bytes") == 3 * 1024 * 1024
    latency = one(written, "model_latency_seconds", examples="1", quantile="0.99")
    assert math.isclose(latency, 0.005)


def test_names_from_data_survive(written):
    name = 'environment=EWR,carrier=a"b\\c\n'
    assert one(written, "metric", split="eval", slice=name, metric="auc") == 0.5
    labels = {
        "pipeline": "flights",
        "run_id": SUMMARY["run_id"],
        "method": 'v_rex "2"',
    }
    assert one(written, "run_info", **labels) == 1


def test_what_is_undefined_is_left_out(written):
    checks = {dict(labels).get("check") for n, labels in written if "value" in n}
    assert checks == {"worst.auc"}
    named = {dict(labels)["metric"] for n, labels in written if n == "tfx_irm_metric"}
    assert named == {"auc"}


def test_a_run_that_ended_in_an_error(tmp_path):
    path = tmp_path / "m"
    error = SUMMARY | {
        "verdict": None,
        "checks": [],
        "metrics": {},
        "load_check": None,
    }
    metrics_file.write(str(path), "run", 2, 1.0, error, "flights")
    samples = read(path)
    assert sum(one(samples, "verdict", verdict=v) for v in metrics_file.VERDICTS) == 0


def test_it_is_replaced_whole(tmp_path):
    path = tmp_path / "m"
    path.write_text("of last week")
    metrics_file.write(str(path), "validate", 0, 0.1)
    assert one(read(path), "exit_status", command="validate") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("name", "says"), [("no/m", "no folder"), ("", "a folder")])
def test_a_file_that_cannot_be_written(tmp_path, name, says):
    with pytest.raises(ConfigError, match=says):
        metrics_file.check(str(tmp_path / name) if name else str(tmp_path))


def test_the_command_writes_it_when_it_fails_too(tmp_path, capsys):
    path = tmp_path / "m"
    status = cli.main(["validate", str(tmp_path / "none.yaml"), "--metrics", str(path)])
    assert status == 2
    assert one(read(path), "exit_status", command="validate") == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_command_refuses_a_place_before_it_does_anything(tmp_path, capsys):
    place = str(tmp_path / "no" / "m")
    assert cli.main(["validate", "none.yaml", "--metrics", place]) == 2
    assert "--metrics: there is no folder" in capsys.readouterr().err


def test_the_summary_of_a_run_is_what_is_written(tmp_path, monkeypatch):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))

    def run(options):
        options.summary, options.name = str(tmp_path / "summary.json"), "flights"
        return 3

    monkeypatch.setattr(cli, "_run", run)
    path = tmp_path / "m"
    assert cli.main(["run", "config.yaml", "--metrics", str(path)]) == 3
    assert one(read(path), "verdict", verdict="FAIL") == 1
