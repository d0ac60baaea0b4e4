"""The config's environments where none is known: how they are inferred."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.environment_inferrer.names import inferred_names
from pipeline.config_types import EnvironmentName, Section, as_tuple, problem, short
from pipeline.sources_config import Environment, Source, not_only_a_path


class Infer(Section):
    """How environments are inferred from the features and the label.

    `sample` rows at most are fitted on. Environments that two fits on different rows
    do not agree on, by an adjusted Rand index of at least `min_stability`, are refused
    unless `on_uncertain` accepts them.
    """

    method: Literal["eiil", "clusters"] = "eiil"
    number: Annotated[int, Field(ge=2, le=16)] = 2
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    sample: Annotated[int, Field(ge=1000, le=1_000_000)] = 20_000
    min_stability: Annotated[float, Field(ge=0, le=1)] = 0.65
    on_uncertain: Literal["refuse", "accept"] = "refuse"

    @model_validator(mode="after")
    def _two_of_eiil(self) -> "Infer":
        if self.method == "eiil" and self.number != 2:
            raise problem(
                ["number"],
                f"is {self.number}, and eiil makes exactly 2: within one of its"
                " environments the reference model is always right, or always wrong;"
                " write 2, or method: clusters",
            )
        return self


def _named(value: Any) -> Any:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(
            f"is {short(value)}; beside infer it holds the environments that are known,"
            " with their files: {NAME: {parquet: ...}}"
        )
    return value


class InferredEnvironments(Source):
    """Sources without environments, beside known ones that are held out."""

    sources: Annotated[
        tuple[Annotated[Source, BeforeValidator(not_only_a_path)], ...],
        BeforeValidator(as_tuple, json_schema_input_type=list[Source]),
    ] = ()
    infer: Infer
    held_out: Annotated[
        dict[EnvironmentName, Annotated[Environment, BeforeValidator(not_only_a_path)]],
        BeforeValidator(_named, json_schema_input_type=dict[EnvironmentName, Any]),
    ] = {}

    @model_validator(mode="after")
    def _known_apart(self) -> "InferredEnvironments":
        for name, environment in self.held_out.items():
            if name in self.names:
                raise problem(
                    ["held_out", name],
                    f"is named as an inferred environment ({', '.join(self.names)});"
                    " give it another name",
                )
            if "held_out" in environment.model_fields_set and not environment.held_out:
                raise problem(
                    ["held_out", name, "held_out"],
                    "is false; beside infer, environments that are known are held out:"
                    " remove the key",
                )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The training environments."""
        return inferred_names(self.infer.number)

    @property
    def known(self) -> dict[str, Environment]:
        """The environments that are held out."""
        return {
            name: environment.model_copy(update={"held_out": True})
            for name, environment in self.held_out.items()
        }

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Each source without environments, as `listing` takes it."""
        return [source.entry for source in self.sources or (self,)]
