"""The config's sections `checks` and `verdict`: what a model must be shown to meet."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from components import attack
from components.invariance_validator.metrics import NAMES, TASKS
from pipeline.config_types import (
    Column,
    Columns,
    Count,
    Section,
    as_tuple,
    crosses,
    nearest,
    problem,
    short,
)

# Shared by the tasks that have the metric; `check_satisfiable` knows the config's task.
_METRICS = {name: m for task in TASKS.values() for name, m in task.metrics.items()}
_INSTEAD = {
    name: text for task in TASKS.values() for name, text in task.instead.items()
}


def _metric(name: str) -> str:
    if name in _INSTEAD:
        raise ValueError(f"cannot be named here; {_INSTEAD[name]}")
    if name not in NAMES:
        raise ValueError(f"is not a metric{nearest(name, NAMES)}")
    return name


MetricName = Annotated[
    str,
    AfterValidator(_metric),
    Field(json_schema_extra={"enum": sorted(NAMES)}),
]


class Scope(Section):
    """Where a check looks; the default is both splits, and every single feature."""

    split: Literal["eval", "ood"] | None = None
    over: Annotated[
        tuple[tuple[Column, ...], ...],
        BeforeValidator(
            crosses, json_schema_input_type=Column | list[Column | list[Column]] | None
        ),
    ] = ()


def _not_only_a_number(keys: str) -> BeforeValidator:
    """Names the bounds that a bare number could be."""

    def check(value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            forms = " or ".join(f"{{{key}: {value}}}" for key in keys.split())
            raise ValueError(f"is {value}; say which bound that is: {forms}")
        return value

    return BeforeValidator(check)


class Range(Scope):
    """The metric of each slice must lie between two bounds."""

    min: float | None = None
    max: float | None = None


def _slice(value: Any) -> Any:
    """Values as text, as slices are named."""
    if not isinstance(value, dict):
        raise ValueError(
            f"is {short(value)}; map features to a value each, such as"
            " {environment: north}, or write {} for all examples"
        )
    for feature, found in value.items():
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise problem([feature], f"is {short(found)}; give one value")
    return {feature: str(found) for feature, found in value.items()}


class Floor(Section):
    """The metric of one named slice must lie between two bounds."""

    slice: Annotated[
        dict[Column, Annotated[str, Field(min_length=1)]],
        BeforeValidator(
            _slice,
            json_schema_input_type=dict[
                Column, Annotated[str, Field(min_length=1)] | int | float
            ],
        ),
    ] = Field(examples=["{environment: north}"])
    split: Literal["eval", "ood"] | None = None
    min: float | None = None
    max: float | None = None


class Robustness(Range):
    """The metric of each slice must lie between two bounds under an attack."""

    attack: Literal["fgsm", "pgd"] = "fgsm"
    epsilon: Annotated[float, Field(gt=0)] = Field(examples=[0.1])
    norm: Literal["linf", "l2"] = "linf"
    steps: Count | None = None
    step_size: Annotated[float, Field(gt=0)] | None = None
    clip: Annotated[
        tuple[float, float] | None,
        BeforeValidator(
            as_tuple,
            json_schema_input_type=Annotated[
                list[float], Field(min_length=2, max_length=2)
            ]
            | None,
        ),
    ] = None
    frozen: Columns = ()


def _several(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, dict) else value


Floors = Annotated[
    tuple[Floor, ...],
    BeforeValidator(
        _several,
        json_schema_input_type=Floor | Annotated[list[Floor], Field(min_length=1)],
    ),
    Field(min_length=1),
]


Robustnesses = Annotated[
    tuple[Robustness, ...],
    BeforeValidator(
        _several,
        json_schema_input_type=Robustness
        | Annotated[list[Robustness], Field(min_length=1)],
    ),
    Field(min_length=1),
]


class Most(Scope):
    """What is compared or counted must be at most this."""

    max: float = Field(examples=[0.05])


class Drop(Section):
    """How much worse a held-out environment may be than the mean of the trained."""

    max: float = Field(examples=[0.05])


class Change(Scope):
    """How much worse than the released model."""

    max_drop: float | None = None
    max_rise: float | None = None


class Checks(Section):
    """The checks; each kind maps metrics to bounds."""

    worst: dict[MetricName, Annotated[Range, _not_only_a_number("min max")]] = {}
    floor: dict[MetricName, Floors] = {}
    robustness: dict[MetricName, Robustnesses] = {}
    gap: dict[MetricName, Annotated[Most, _not_only_a_number("max")]] = {}
    calibration_slope: Range | None = None
    calibration_error: Annotated[Most | None, _not_only_a_number("max")] = None
    score_distance: Annotated[Most | None, _not_only_a_number("max")] = None
    risk_variance: Annotated[Most | None, _not_only_a_number("max")] = None
    ood_drop: dict[MetricName, Annotated[Drop, _not_only_a_number("max")]] = {}
    baseline: dict[
        MetricName, Annotated[Change, _not_only_a_number("max_drop max_rise")]
    ] = {}

    @model_validator(mode="after")
    def _asks_something(self) -> "Checks":
        for kind in sorted(self.model_fields_set):
            if not getattr(self, kind):
                raise problem([kind], "is empty; give a metric and its bound")
        if not self.model_fields_set:
            raise problem(
                [],
                "names no check, so nothing would be shown and no model released; add"
                " one, such as worst: {auc: {min: 0.65}}",
            )
        return self

    @model_validator(mode="after")
    def _bounds(self) -> "Checks":
        for metric, leaf in self.worst.items():
            _has_bound(["worst", metric], leaf, ("min", "max"))
            wrong = {"higher": "max", "lower": "min"}
            _right_end(["worst", metric], leaf, wrong, metric)
        for metric, floors in self.floor.items():
            for i, floor in enumerate(floors):
                path: list[str | int] = ["floor", metric, i]
                _has_bound(path, floor, ("min", "max"))
                wrong = {"higher": "max", "lower": "min"}
                _right_end(path, floor, wrong, metric)
        for metric, leaves in self.robustness.items():
            for i, attacked in enumerate(leaves):
                _has_bound(["robustness", metric, i], attacked, ("min", "max"))
                wrong = {"higher": "max", "lower": "min"}
                _right_end(["robustness", metric, i], attacked, wrong, metric)
                for key, found in attack.problems(attacked.model_dump()):
                    raise problem(["robustness", metric, i, key], found)
        if self.calibration_slope:
            _has_bound(["calibration_slope"], self.calibration_slope, ("min", "max"))
        for metric, change in self.baseline.items():
            keys = ("max_drop", "max_rise")
            _has_bound(["baseline", metric], change, keys)
            wrong = {"higher": "max_rise", "lower": "max_drop"}
            _right_end(["baseline", metric], change, wrong, metric)
        return self

    def as_json(self) -> dict[str, Any]:
        """The section as the InvarianceValidator takes it."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _has_bound(path: list[str | int], leaf: Section, keys: tuple[str, str]) -> None:
    if all(getattr(leaf, key) is None for key in keys):
        raise problem(path, f"has no bound; give {' or '.join(keys)}")


def _right_end(
    path: list[str | int], leaf: Section, wrong: Mapping[str, str], metric: str
) -> None:
    better = _METRICS[metric].better or ""
    key = wrong.get(better)
    if key and getattr(leaf, key) is not None:
        right = {"min": "max", "max": "min", "max_drop": "max_rise"}.get(
            key, "max_drop"
        )
        raise problem(
            [*path, key],
            f"would refuse a model for being better, for {metric} is the better the"
            f" {better} it is; write {right}",
        )


class Verdict(Section):
    """How sure a check must be."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    min_examples: Annotated[int, Field(ge=1, le=2**31 - 1)] = 200
    allow_insufficient: Columns = ()

    def as_json(self) -> dict[str, Any]:
        """The section as the InvarianceValidator takes it."""
        return self.model_dump(mode="json")
