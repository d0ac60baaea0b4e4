"""The configuration of a pipeline: the YAML, typed.

`pipeline.config_io.load_config` reads one from a file. All values are checked here but
for what only the data can tell (`pipeline.sources_check`). Paths are absolute.
"""

import os
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from pipeline.card_config import Card
from pipeline.checks_config import Checks, Verdict
from pipeline.config_types import (
    Column,
    LocalPath,
    Section,
    as_tuple,
    crosses,
    nearest,
    problem,
    short,
)
from pipeline.data_config import Data
from pipeline.inspect_config import Inspect
from pipeline.label_config import ENVIRONMENT as ENVIRONMENT
from pipeline.label_config import Task
from pipeline.load_check_config import LoadCheck
from pipeline.metadata_config import MetadataOrUrl
from pipeline.monitor_config import Monitor
from pipeline.push_config import Push
from pipeline.remote_config import Kubeflow, Vertex
from pipeline.sources_config import Number
from pipeline.train_config import Train
from pipeline.tune_config import Tune

MOST_FOLDS = 1000
_NAME = r"^[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?$"


class Evaluate(Section):
    """Where the metrics are computed, besides overall and each environment."""

    slices: Annotated[
        tuple[tuple[Column, ...], ...],
        BeforeValidator(
            crosses, json_schema_input_type=Column | list[Column | list[Column]] | None
        ),
    ] = ()
    buckets: dict[
        Column,
        Annotated[
            tuple[Number, ...],
            BeforeValidator(
                as_tuple,
                json_schema_input_type=Annotated[list[float], Field(min_length=1)],
            ),
        ],
    ] = Field(default={}, examples=["{age: [18, 40, 65]}"])

    @model_validator(mode="after")
    def _buckets_are_sliced_by(self) -> "Evaluate":
        sliced = {name for cross in self.slices for name in cross}
        for name, edges in self.buckets.items():
            if name == ENVIRONMENT or name not in sliced:
                raise problem(
                    ["buckets", name],
                    "is no column of evaluate.slices; slice by it, or take it out",
                )
            if not edges or list(edges) != sorted(set(edges)):
                raise problem(
                    ["buckets", name], "are edges that do not rise; give one or more"
                )
            if len({f"{edge:g}" for edge in edges}) < len(edges):
                raise problem(
                    ["buckets", name],
                    "has edges that are the same to six digits; move them apart",
                )
        return self


def _name(name: str) -> str:
    if not re.fullmatch(_NAME, name) or name.endswith("\n"):
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:128].strip("-") or "flights"
        raise ValueError(
            f"is {short(name)}; it takes lower-case letters, digits and hyphens, such"
            f" as {slug}"
        )
    return name


def _push(value: Any) -> Any:
    if value is None:
        raise ValueError(
            "is empty; say where a blessed model goes (path: serving), or leave the key"
            " out for that default"
        )
    return value


def _beam_option(option: str) -> str:
    if not option.startswith("--") or " " in option.strip():
        raise ValueError(f"is {option!r}; an option is one word, such as --name=value")
    if option.split("=")[0] == "--runner":
        raise ValueError(
            f"is {option!r}; this version runs Beam in its own process, so remove it"
        )
    return option


class PipelineConfig(Section):
    """A pipeline, from its sources to where the model goes."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        examples=["flights"], json_schema_extra={"pattern": _NAME}
    )
    root: LocalPath = Field(default="runs-root", validate_default=True)
    metadata: MetadataOrUrl | None = None
    task: Task = "binary"
    data: Data
    inspect: Inspect = Inspect()
    train: Train = Train()
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    checks: Checks = Field(examples=["{worst: {auc: {min: 0.65}}}"])
    verdict: Verdict = Verdict()
    load_check: LoadCheck = LoadCheck()
    monitor: Monitor = Monitor()
    card: Card = Card()
    push: Annotated[Push, BeforeValidator(_push)] = Field(
        default={}, validate_default=True
    )  # type: ignore[assignment]
    vertex: Vertex | None = None
    kubeflow: Kubeflow | None = None
    beam: Annotated[
        tuple[Annotated[str, AfterValidator(_beam_option)], ...],
        BeforeValidator(as_tuple, json_schema_input_type=str | list[str] | None),
    ] = ()

    _file: str = PrivateAttr("the config")
    _lines: dict[tuple[str | int, ...], int] = PrivateAttr(default_factory=dict)
    _origins: dict[tuple[str | int, ...], str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fits_the_task(self) -> "PipelineConfig":
        self.data.label.check_task(self.task)
        if self.task == "binary":
            return self
        if self.data.inferred is not None:
            raise problem(
                ["data", "environments", "infer"],
                f"tells rows apart by what they do to a binary label, and task is"
                f" {self.task}; name the environments, or the column that tells them",
            )
        self.train.check_task(self.task)
        wrong = self.tune.task_problem(self.task)
        if wrong and "select" in self.tune.model_fields_set:
            raise problem(["tune", "select"], wrong)
        return self

    @model_validator(mode="after")
    def _enough_environments(self) -> "PipelineConfig":
        training = self.data.training
        if training is None:
            return self
        if self.data.each and (wrong := self.fold_problem(len(training))):
            raise problem(["data", "environments"], wrong)
        if len(training) < 2 and self.train.compares:
            raise problem(
                ["data", "environments"],
                f"has one training environment ({training[0]}), and {self.method_label}"
                " compares at least two; add one, hold fewer out, or train with erm",
            )
        importance = self.train.importance
        targets = ["pooled", *training]
        if importance is not None and importance.target not in targets:
            raise problem(
                ["train", "importance", "target"],
                f"is {short(importance.target)}, which is no training environment"
                f"{nearest(importance.target, targets)}",
            )
        trained = len(training) - self.data.each
        if self.train.batch_size < trained:
            raise problem(
                ["train", "batch_size"],
                f"is {self.train.batch_size}, but each of the {trained} training"
                " environments needs a row of every batch; raise it",
            )
        return self

    @model_validator(mode="after")
    def _fits_every_fold(self) -> "PipelineConfig":
        if not self.data.each:
            return self
        importance = self.train.importance
        if importance is not None and importance.target != "pooled":
            raise problem(
                ["train", "importance", "target"],
                f"is {short(importance.target)}, which is held out in its turn; write"
                " pooled",
            )
        if not self.checks.model_copy(update={"baseline": {}}).as_json():
            raise problem(
                ["checks"],
                "has baseline alone, and where each environment is held out in turn"
                " no model is compared with a released one; add a check such as"
                " worst: {auc: {min: 0.65}}",
            )
        return self

    @model_validator(mode="after")
    def _tunes_within_training(self) -> "PipelineConfig":
        anneal = self.tune.anneal_steps
        if anneal is not None and anneal[1] >= self.train.steps:
            raise problem(
                ["tune", "anneal_steps"],
                f"goes up to {anneal[1]}, but training ends after {self.train.steps}"
                " steps (train.steps), before the penalty has its weight; lower it",
            )
        return self

    @model_validator(mode="after")
    def _queries_one_project(self) -> "PipelineConfig":
        asked = {one["options"].get("project") for one in self.data.sources} - {None}
        for i, option in enumerate(self.beam):
            key, _, project = option.partition("=")
            if key == "--project" and asked - {project}:
                raise problem(
                    ["beam", i],
                    f"is {short(option)}, but a query of data.environments is asked in"
                    f" {min(asked - {project})}, which Beam would not do; name the same"
                    " project",
                )
        return self

    @model_validator(mode="after")
    def _slices_are_no_label(self) -> "PipelineConfig":
        label = self.data.label
        for i, cross in enumerate(self.evaluate.slices):
            for name in cross:
                if name in (label.name, label.column):
                    raise problem(
                        ["evaluate", "slices", i],
                        f"slices by {name!r}, which decides the label, so that each"
                        " slice would hold one class; take it out",
                    )
        return self

    @model_validator(mode="after")
    def _vertex_is_described(self) -> "PipelineConfig":
        if self.vertex is not None:
            return self
        asked = {("train", "where"): self.train.where, ("push", "to"): self.push.to}
        for key, value in asked.items():
            if value == "vertex":
                raise problem(
                    key,
                    "is vertex, and there is no section vertex; add one with project,"
                    " region, root and image (docs/vertex_training.md)",
                )
        return self

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that the config wants as numbers, sorted."""
        return tuple(sorted({*self.data.numbers, *self.evaluate.buckets}))

    def fold_problem(self, environments: int) -> str | None:
        """Why so many environments cannot each be held out in turn; None: they can."""
        least = 3 if self.train.compares else 2
        if environments < least:
            mend = ", or train with erm" if environments == 2 else ""
            return (
                f"has {environments} environment{'s' * (environments != 1)}, and"
                f" {self.method_label} needs at least {least} where each is held out in"
                f" turn; add one{mend}"
            )
        if environments > MOST_FOLDS:
            return (
                f"has {environments:,} environments, and each that is held out in turn"
                f" is a training of its own; group them into at most {MOST_FOLDS:,}"
            )
        return None

    def fold(self, name: str) -> "PipelineConfig":
        """The same with one environment held out, in place of each in turn.

        Nothing that it trains is compared with a released model, so the checks of
        `baseline` are left out.
        """
        allowed = self.verdict.allow_insufficient
        kept = tuple(check for check in allowed if not check.startswith("baseline."))
        return self.model_copy(
            update={
                "data": self.data.fold(name),
                "checks": self.checks.model_copy(update={"baseline": {}}),
                "verdict": self.verdict.model_copy(update={"allow_insufficient": kept}),
            }
        )

    @property
    def file(self) -> str:
        """Path of the YAML as the user gave it; for errors."""
        return self._file

    @property
    def folder(self) -> str:
        """The folder that relative paths are counted from."""
        return os.path.dirname(os.path.abspath(self._file))

    def place(self, *path: str | int) -> str:
        """`flights.yaml, line 12: data.weight`, for an error at a key."""
        dotted = ".".join(map(str, path))
        for end in range(len(path), 0, -1):
            at = path[:end]
            if at in self._origins:
                return f"{self._file} with {self._origins[at]}: {dotted}"
            if at in self._lines:
                return f"{self._file}, line {self._lines[at]}: {dotted}"
        return f"{self._file}: {dotted}"

    @property
    def method_label(self) -> str:
        """`v_rex`, `irm_v1 + v_rex`."""
        return " + ".join(term.name for term in self.train.method)
