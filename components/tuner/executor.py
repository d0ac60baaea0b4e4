"""Executor of Tuner: TFX's search, and what its tuner has to tell of each trial."""

from typing import Any

from tfx.components.tuner import executor as tfx_executor
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs

from components.errors import tells_reason


class Executor(base_executor.BaseExecutor):
    """Searches, and writes the best hyperparameters and all results."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the search of the `tuner_fn`; its tuner must have `write_results`."""
        tuner = tfx_executor.search(
            input_dict,
            exec_properties,
            self._get_tmp_dir(),
            print_tuning_summary=False,
        )
        tfx_executor.write_best_hyperparameters(tuner, output_dict)
        results = output_dict[standard_component_specs.TUNER_RESULTS_KEY]
        tuner.write_results(artifact_utils.get_single_uri(results))
