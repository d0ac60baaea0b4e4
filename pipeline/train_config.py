"""The config's section `train`: method, penalty, steps, model."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config_types import Count, Section, nearest, problem, short
from trainer_module.methods import METHODS, tasks_of


def _method(name: str) -> str:
    if name not in METHODS:
        legal = ", ".join(METHODS)
        hint = nearest(name, METHODS)
        legal = "" if legal in hint else f" (there are {legal})"
        raise ValueError(f"is {name!r}, which is no method{hint}{legal}")
    return name


def _terms(value: Any) -> Any:
    if not isinstance(value, str | list | dict):
        raise ValueError(
            f"is {short(value)}; name a method ({', '.join(METHODS)}), or list some"
        )
    items = value if isinstance(value, list) else [value]
    named = [{"name": item} if isinstance(item, str) else item for item in items]
    return tuple(named)


def _dotted(name: str) -> str:
    parts = name.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ValueError(
            f"is {short(name)}; name a module and a function in it, such as"
            " my_model.build_model"
        )
    return name


def _layers(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)


MethodName = Annotated[
    str, AfterValidator(_method), Field(json_schema_extra={"enum": sorted(METHODS)})
]
# A plain value, as YAML gives it; the method itself checks what it is worth.
Options = dict[str, Any]


class MethodTerm(Section):
    """One method of the sum; its weight is `train.penalty.weight` where not given."""

    name: MethodName
    weight: float | None = Field(default=None, ge=0)
    options: Options = {}


class Penalty(Section):
    """How much the penalty counts, and from which step on.

    `anneal_steps` is a quarter of `steps` where not given; `initial_weight` is what the
    schedule starts from, by default min(weight, 1) for `step` and 0 for the two ramps.
    """

    weight: float = Field(default=1.0, ge=0)
    anneal_steps: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    schedule: Literal["step", "constant", "linear", "cosine"] = "step"
    initial_weight: Annotated[float, Field(ge=0)] | None = None
    reset_optimizer: bool = False


class Importance(Section):
    """Weights of the rows that undo a covariate shift between environments.

    A classifier tells the environments apart by their features; the ratio of
    densities that follows from it weighs the rows, so that every environment looks
    like `target`: one of them, or all of them pooled.
    """

    target: str = "pooled"
    clip: float = Field(default=10.0, ge=1)
    hidden: tuple[Count, ...] = ()
    steps: Count = 500
    l2: float = Field(default=1e-4, ge=0)


class Model(Section):
    """The network: layers, or the dotted name of a function that builds one."""

    hidden: Annotated[
        tuple[Count, ...],
        BeforeValidator(_layers, json_schema_input_type=Count | list[Count]),
    ] = (256, 128)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    l2: float = Field(default=0.0, ge=0)
    embedding_dim: Count = 8
    build: Annotated[str, AfterValidator(_dotted)] | None = None


class EarlyStopping(Section):
    """Ends training where the worst training environment gets no better.

    It is its risk on the eval split that counts, from `penalty.anneal_steps` on;
    `patience` evaluations in a row without a risk lower by `min_delta` are the end. The
    weights with the lowest risk are exported. Risks of a regression are in variances of
    the label.
    """

    patience: Count = 3
    min_delta: float = Field(default=0.0, ge=0)


class Constraint(Section):
    """What training aims at: environments no further apart than this on `eval`.

    From `penalty.anneal_steps` on, the penalties' weights are multiplied by a number
    that rises while a bound is not kept and falls while all are: by at most
    exp(`rate`) every so many steps (`every`; `log_every` if not given), and within
    1 / `most` and `most`. Risks of a regression are in variances of the label.
    """

    risk_gap: Annotated[float, Field(gt=0)] | None = None
    calibration_slope_spread: Annotated[float, Field(gt=0)] | None = None
    every: Count | None = None
    rate: float = Field(default=0.2, gt=0)
    most: float = Field(default=1000.0, ge=1)

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Constraint":
        if self.risk_gap is None and self.calibration_slope_spread is None:
            raise problem(
                [], "has no bound; give risk_gap, calibration_slope_spread or both"
            )
        return self


class TrainingSettings(Section):
    """What `train` holds and `train.methods` may change for one method."""

    penalty: Penalty = Penalty()
    importance: Importance | None = None
    options: Options = {}
    steps: Count = 2000
    batch_size: Count = 1024
    learning_rate: float = Field(default=0.001, gt=0)
    optimizer: Literal[
        "adam",
        "adamw",
        "sgd",
        "rmsprop",
        "adagrad",
        "adadelta",
        "adamax",
        "nadam",
        "lion",
    ] = "adam"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    log_every: Count = 50
    eval_every: Count | None = None
    checkpoint_every: Count | None = None
    early_stopping: EarlyStopping | None = None
    constraint: Constraint | None = None
    jit: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    deterministic: bool = True
    accelerators: Annotated[int, Field(ge=0)] = 0
    model: Model = Model()


class Train(TrainingSettings):
    """How a model is trained."""

    method: Annotated[
        tuple[MethodTerm, ...],
        BeforeValidator(
            _terms,
            json_schema_input_type=MethodName
            | MethodTerm
            | list[MethodName | MethodTerm],
        ),
        Field(min_length=1),
    ] = (MethodTerm(name="erm"),)
    methods: dict[MethodName, TrainingSettings] = {}
    where: Literal["local", "vertex"] = "local"

    @model_validator(mode="after")
    def _legal_options(self) -> "Train":
        names = [term.name for term in self.method]
        for i, term in enumerate(self.method):
            if term.name in names[:i]:
                raise problem(["method", i], f"is {term.name!r} again; list it once")
            _check_options(["method", i, "options"], term.name, term.options)
        if self.options and len(names) > 1:
            raise problem(
                ["options"],
                f"could belong to any of {', '.join(names)}; write them beside the"
                " method's name: {name: ..., options: {...}}",
            )
        _check_options(["options"], names[0], self.options)
        for name, changes in self.methods.items():
            _check_options(["methods", name, "options"], name, changes.options)
        return self

    @model_validator(mode="after")
    def _constraint_acts(self) -> "Train":
        if self.constraint is not None and not self.has_penalty:
            raise problem(
                ["constraint"],
                "works through a penalty's weight, and train.method has no penalty:"
                " take one, such as v_rex, or remove the constraint",
            )
        return self

    @model_validator(mode="after")
    def _one_device_for_jit(self) -> "Train":
        if self.jit and self.accelerators > 1:
            raise problem(
                ["jit"],
                f"is true with train.accelerators at {self.accelerators}: XLA compiles"
                " steps on one device only; set it to false, or accelerators to 1",
            )
        return self

    @model_validator(mode="after")
    def _penalty_acts(self) -> "Train":
        acts = self.penalty.schedule == "constant" or not self.has_penalty
        if not acts and self.anneal_steps >= self.steps:
            raise problem(
                ["penalty", "anneal_steps"],
                f"is {self.anneal_steps}, but training ends after {self.steps} steps"
                " (train.steps), before the penalty has its weight; make it smaller",
            )
        return self

    def check_task(self, task: str) -> None:
        """Refuses methods and constraints that a task does not have.

        Raises:
          PydanticCustomError: at the key below the whole config.
        """
        for i, term in enumerate(self.method):
            path: list[str | int] = ["train", "method", i]
            options = {**self.options, **term.options}
            _check_task_of(path, term.name, options, task)
        for name, changes in self.methods.items():
            _check_task_of(["train", "methods", name], name, changes.options, task)
        sections: list[tuple[list[str], TrainingSettings]] = [([], self)]
        sections += [(["methods", n], changes) for n, changes in self.methods.items()]
        for where, section in sections:
            bound = section.constraint and section.constraint.calibration_slope_spread
            if task != "binary" and bound is not None:
                raise problem(
                    ["train", *where, "constraint", "calibration_slope_spread"],
                    f"compares calibration slopes of a binary label, and task is"
                    f" {task}; bound risk_gap instead",
                )

    @property
    def anneal_steps(self) -> int:
        """Steps until the penalty has its weight."""
        given = self.penalty.anneal_steps
        return self.steps // 4 if given is None else given

    @property
    def engine(self) -> dict[str, Any]:
        """How steps are computed, as `custom_config["engine"]` takes it."""
        keys = ("jit", "precision", "clip_norm", "deterministic", "accelerators")
        return {key: getattr(self, key) for key in keys}

    @property
    def has_penalty(self) -> bool:
        """Whether there is a penalty at all, whose weight has a schedule."""
        return any(METHODS[term.name].kind != "baseline" for term in self.method)

    @property
    def compares(self) -> bool:
        """Whether a method needs two training environments to differ."""
        return any(METHODS[term.name].compares for term in self.method)

    @property
    def terms(self) -> list[dict[str, Any]]:
        """The sum as `custom_config["methods"]` takes it, all filled in."""
        return [
            {
                "name": term.name,
                "weight": self.penalty.weight if term.weight is None else term.weight,
                "options": {**self.options, **term.options},
            }
            for term in self.method
        ]


def _check_task_of(
    path: list[str | int], name: str, options: Options, task: str
) -> None:
    legal = tasks_of(name, options)
    if task in legal:
        return
    what, mend = " with these options", "with other options it is"
    if task not in METHODS[name].tasks:
        able = [other for other in METHODS if task in METHODS[other].tasks]
        what, mend = "", f"take one of {', '.join(able)}"
    raise problem(
        path,
        f"is {name}, which{what} is not defined for task: {task}"
        f" ({' and '.join(legal) or 'none'} only); {mend}",
    )


def _check_options(path: list[str | int], name: str, options: Options) -> None:
    legal = METHODS[name].options
    for key, value in options.items():
        if key not in legal:
            raise problem(
                [*path, key],
                f"is no option of {name}{nearest(key, legal)}"
                if legal
                else f"is no option of {name}, which has none; remove it",
            )
        if not legal[key].accepts(value):
            raise problem(
                [*path, key], f"is {short(value)}; expected {legal[key].legal}"
            )
