"""Executor of RunRecord: the artifacts of a run in, its summary and report out."""

import json
import os
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components import filesystem
from components.artifact_files import read_json, write_text
from components.environment_validator import page, record
from components.errors import tells_reason
from components.run_record import facts

RECORD_KEY = "record"
ENVIRONMENTS_KEY = "environments"
SUMMARY_FILE = "summary.json"
# Input key -> the node and the output key that `facts` knows it by.
INPUTS = {
    "examples": ("MultiEnvExampleGen", "examples"),
    "inference": ("EnvironmentInferrer", "inference"),
    "infra_blessing": ("ModelValidator", "blessing"),
    "report": ("InvarianceValidator", "report"),
    "pushed_model": ("Pusher", "pushed_model"),
}


class Executor(base_executor.BaseExecutor):
    """Writes what `tfx-irm run` leaves of a run, but for its stages and its id."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for keys."""
        del exec_properties
        outputs: dict[str, dict[str, Any]] = {}
        for key, (node, name) in INPUTS.items():
            outputs.setdefault(node, {})[name] = input_dict.get(key)
        inspected = input_dict.get(ENVIRONMENTS_KEY)
        kept = read_json(inspected, record.RECORD_FILE) or {}
        found = facts.gather(outputs, findings=kept.get("findings"))
        folder = artifact_utils.get_single_uri(output_dict[RECORD_KEY])
        report = facts.report_of(outputs, outcome=found)
        if report is not None:
            write_text(folder, facts.REPORT_FILE, report)
        if inspected:
            path = os.path.join(inspected[0].uri, page.PAGE_FILE)
            with filesystem.open_file(path) as file:
                write_text(folder, page.PAGE_FILE, file.read().decode())
        found["method"] = facts.decision_of(outputs)["context"]["method"]
        # Last: who waits for it finds the others.
        write_text(folder, SUMMARY_FILE, json.dumps(found, indent=1, allow_nan=False))
