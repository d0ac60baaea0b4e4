"""The example on Colored MNIST: one config, two methods, two verdicts."""

import json
import subprocess
import sys

import pytest

from tests.e2e.helpers import FLIGHTS

pytestmark = pytest.mark.e2e

CONFIG = FLIGHTS.parent / "colored_mnist" / "config.yaml"


def run(root, method):
    """Exit code and summary of `tfx-irm run --method`."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(CONFIG)]
    places = ["--set", f"root={root}", "--set", f"push.path={root}/serving"]
    done = subprocess.run(
        [*command, "--method", method, *places],
        capture_output=True,
        text=True,
        cwd=CONFIG.parents[2],
        timeout=900,
    )
    assert done.returncode in (0, 3), done.stderr + done.stdout
    last = sorted((root / "runs").iterdir())[-1]
    return done.returncode, json.loads((last / "summary.json").read_text())


def test_erm_is_refused_and_the_invariant_model_released(tmp_path):
    refused, erm = run(tmp_path, "erm")
    assert (refused, erm["verdict"], erm["pushed"]) == (3, "FAIL", None)
    assert not (tmp_path / "serving").exists()
    eval_auc = erm["metrics"]["eval"]["overall"]["auc"]
    assert eval_auc > 0.8 > 0.3 > erm["metrics"]["ood"]["environment=turned"]["auc"]

    released, irm = run(tmp_path, "irm_v1")
    assert (released, irm["verdict"]) == (0, "PASS"), irm["checks"]
    assert irm["pushed"].startswith(str(tmp_path / "serving"))
    assert irm["metrics"]["ood"]["environment=turned"]["auc"] > 0.6
    stages = {stage["name"]: stage["cached"] for stage in irm["stages"]}
    assert stages["MultiEnvExampleGen"] and stages["Transform"]
    assert not stages["Trainer"]
