"""RunRecord: what a run came to, in one artifact."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components import artifacts, code
from components.run_record import executor

_TYPES = {
    "examples": standard_artifacts.Examples,
    "inference": artifacts.EnvironmentInference,
    "infra_blessing": standard_artifacts.InfraBlessing,
    "report": artifacts.InvarianceReport,
    "pushed_model": standard_artifacts.PushedModel,
    executor.ENVIRONMENTS_KEY: artifacts.EnvironmentReport,
}
_OPTIONAL = ("inference",)


class RunRecordSpec(types.ComponentSpec):
    """Contract of RunRecord."""

    PARAMETERS = {code.CODE_KEY: ExecutionParameter(type=str)}
    INPUTS = {
        key: ChannelParameter(type=kind, optional=key in _OPTIONAL)
        for key, kind in _TYPES.items()
    }
    OUTPUTS = {executor.RECORD_KEY: ChannelParameter(type=artifacts.RunRecord)}


class RunRecord(base_component.BaseComponent):
    """Leaves the summary and the report of a run where `tfx-irm submit` finds them.

    Output `record` (`components.RunRecord`): `summary.json`, `report.html`,
    `environments.html`. It must run anew each time, so that every run has its own.
    """

    SPEC_CLASS = RunRecordSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        environments: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        report: types.BaseChannel,
        pushed_model: types.BaseChannel,
        inference: types.BaseChannel | None = None,
    ):
        """Makes the component.

        Args:
          examples: of MultiEnvExampleGen.
          environments: report of EnvironmentValidator.
          infra_blessing: of ModelValidator.
          report: of InvarianceValidator.
          pushed_model: of Pusher.
          inference: of EnvironmentInferrer, or None.
        """
        spec = RunRecordSpec(
            examples=examples,
            environments=environments,
            infra_blessing=infra_blessing,
            report=report,
            pushed_model=pushed_model,
            inference=inference,
            code=code.of_component(__file__),
            record=types.Channel(type=artifacts.RunRecord),
        )
        super().__init__(spec=spec)
