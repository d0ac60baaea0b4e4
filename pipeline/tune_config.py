"""The config's section `tune`: where `tfx-irm tune` looks, and how it chooses."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.config_types import Count, Section
from pipeline.train_config import Train


def _pair(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _factors(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"is {list(ends)}; give the smaller end first")
    return ends


INVARIANCE = "invariance"
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[
    tuple[Positive, Positive], BeforeValidator(_pair), AfterValidator(_ordered)
]
Steps = Annotated[int, Field(ge=0, le=2**31 - 1)]
StepRange = Annotated[
    tuple[Steps, Steps], BeforeValidator(_pair), AfterValidator(_ordered)
]


class Tune(Section):
    """The search: how many models, which hyperparameters, and what names one of them.

    `weight` and `width` are factors of what `train` says: of each penalty's weight, and
    of the hidden layers' units. The ends of `anneal_steps` are a twentieth and a half
    of `train.steps` where not given, those of `learning_rate` a third and three times
    `train.learning_rate`. The first model is the config's own.
    """

    select: Literal[
        "training_environments",
        "worst_training_environment",
        "leave_one_environment_out",
        "invariance",
    ] = "invariance"
    trials: Count = 20
    weight: Range = (0.01, 100.0)
    anneal_steps: StepRange | None = None
    learning_rate: Range | None = None
    width: Annotated[
        tuple[Positive, ...],
        BeforeValidator(_factors, json_schema_input_type=Positive | list[Positive]),
        Field(min_length=1),
    ] = (0.5, 1.0, 2.0)

    def task_problem(self, task: str) -> str | None:
        """Why models of a task cannot be chosen by the rule; None: they can."""
        if self.select != INVARIANCE or task == "binary":
            return None
        return (
            f"is {INVARIANCE}, which compares the calibration slopes of a binary label,"
            f" and task is {task}; choose by worst_training_environment,"
            " leave_one_environment_out or training_environments"
        )

    def space(self, train: Train) -> dict[str, list[float]]:
        """The ranges as `custom_config["tune"]["space"]` takes them, all filled in."""
        steps, rate = train.steps, train.learning_rate
        anneal = self.anneal_steps or (steps // 20, steps // 2)
        weight = self.weight
        if not train.has_penalty:
            weight, anneal = (1.0, 1.0), (train.anneal_steps, train.anneal_steps)
        return {
            "weight": list(weight),
            "anneal_steps": list(anneal),
            "learning_rate": list(self.learning_rate or (rate / 3, rate * 3)),
            "width": [1.0] if train.model.build else list(self.width),
        }
