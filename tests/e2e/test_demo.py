"""The demo as `make demo` runs it: all flights, its own config."""

import json
import subprocess
import sys

import pytest

from tests.e2e.helpers import FLIGHTS

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def test_the_demo_comes_to_a_verdict_on_all_flights(tmp_path):
    command = [sys.executable, "-m", "pipeline.cli", "run", FLIGHTS / "config.yaml"]
    where = [f"root={tmp_path}", f"push.path={tmp_path}/serving"]
    done = subprocess.run(
        [*command, "--set", where[0], "--set", where[1]],
        capture_output=True,
        text=True,
        cwd=FLIGHTS.parents[1],
    )
    assert done.returncode in (0, 3), done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["verdict"] in ("PASS", "FAIL", "INSUFFICIENT_DATA")
    assert (summary["pushed"] is not None) == (summary["verdict"] == "PASS")
    assert len(summary["checks"]) == 4
    (examples,) = (tmp_path / "artifacts" / "MultiEnvExampleGen" / "examples").iterdir()
    assert list((examples / "Split-ood").iterdir())
    # 9,430 of the 336,776 flights were cancelled; of LGA only the eval days are kept.
    kept = sum(
        n for splits in summary["environments"].values() for n in splits.values()
    )
    held_out = summary["environments"]["LGA"]["ood"]
    assert kept - held_out == 336_776 - 104_662 - (9_430 - 3_522)
    assert summary["metrics"]["ood"]["environment=LGA"]["auc"] > 0.65
