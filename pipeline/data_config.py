"""The config's section `data`: label, environments, split, features."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from components.multi_env_example_gen.naming import Naming
from components.source_manifest.listing import FORMATS
from pipeline.config_types import (
    Column,
    Columns,
    Count,
    EnvironmentName,
    PathOrBucket,
    Section,
    problem,
    short,
)
from pipeline.inferred_config import InferredEnvironments
from pipeline.label_config import ENVIRONMENT, Label, as_label
from pipeline.sources_config import (
    EACH,
    ColumnEnvironments,
    Environment,
    Values,
    not_only_a_path,
)


def _is_inferred(value: Any) -> bool:
    """Whether `infer` stands there as a key, and not as an environment's name."""
    if not isinstance(value, dict) or "infer" not in value:
        return isinstance(value, InferredEnvironments)
    keys = value["infer"] if isinstance(value["infer"], dict) else {}
    return not {*FORMATS, "sources"} & set(keys)


def _form_of_environments(value: Any) -> str:
    if _is_inferred(value):
        return "<inferred>"
    is_column = isinstance(value, ColumnEnvironments) or (
        isinstance(value, dict) and "environment_column" in value
    )
    return "<column>" if is_column else "<named>"


def _named_or_column(value: Any) -> Any:
    """Names what is missing where files stand in the place of environments."""
    if _is_inferred(value):
        if isinstance(value, dict) and "environment_column" in value:
            raise ValueError(
                "has environment_column and infer; environments are inferred where no"
                " column tells them, so remove one of the two"
            )
        return value
    if isinstance(value, dict) and "environment_column" not in value:
        for name in FORMATS:
            if name in value and not isinstance(value[name], dict):
                raise ValueError(
                    f"has files ({name}) but no environment; write NAME: {{{name}:"
                    " ...} for each, or add `environment_column`, the column that"
                    " tells it, or `infer` where nothing does"
                )
    return value


def _each(value: Any) -> Any:
    if value not in (None, EACH):
        raise ValueError(
            f"is {short(value)}; the one value here is each, for every environment in"
            " turn; to hold one out write `held_out: true` beside its files"
        )
    return value


def _form_of_eval(value: Any) -> str:
    listed = isinstance(value, list | tuple | str)
    return "<values>" if listed else "<share>"


class Split(Section):
    """How training environments are split into `train` and `eval`.

    By a hash of each row, or of the columns in `by`; by `time`, the latest rows of each
    environment; or as `column` says, of which `eval` lists the values.
    """

    eval: Annotated[
        Annotated[float, Field(gt=0, lt=1), Tag("<share>")]
        | Annotated[Values, Tag("<values>")],
        Discriminator(_form_of_eval),
    ] = 0.2
    by: Columns = ()
    time: Column | None = None
    column: Column | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Split":
        if self.time is not None and self.column is not None:
            raise problem(["column"], "stands beside time; split in one way")
        if self.column is not None and isinstance(self.eval, float):
            raise problem(
                ["column"],
                "says of each row where it belongs, so `eval` must list the values that"
                " are evaluated: {column: fold, eval: [test]}",
            )
        if self.column is None and not isinstance(self.eval, float):
            raise problem(
                ["eval"],
                f"is {short(list(self.eval))}; expected a share between 0 and 1, or"
                " values of a `column`",
            )
        return self


class Features(Section):
    """Which column becomes a feature, and as what; None: from the schema."""

    numeric: Columns | None = None
    categorical: Columns | None = None
    bucketized: dict[Column, Annotated[int, Field(ge=2, le=10_000)]] = {}
    dense: dict[Column, Count] = {}
    vocabulary_size: Count = 1000
    oov_buckets: Annotated[int, Field(ge=0, le=2**31 - 1)] = 1

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Kind -> columns that the config names, in its order."""
        return {
            "numeric": self.numeric or (),
            "categorical": self.categorical or (),
            "bucketized": tuple(self.bucketized),
            "dense": tuple(self.dense),
        }


class Data(Section):
    """Where the data lies and what its columns are."""

    label: Annotated[
        Label,
        BeforeValidator(
            as_label,
            json_schema_input_type=Label | str,
        ),
    ] = Field(examples=["late"])
    weight: Column | None = None
    exclude: Columns = ()
    optional: Columns = ()
    on_bad_row: Literal["refuse", "drop"] = "refuse"
    environments: Annotated[
        Annotated[ColumnEnvironments, Tag("<column>")]
        | Annotated[InferredEnvironments, Tag("<inferred>")]
        | Annotated[
            dict[
                EnvironmentName,
                Annotated[Environment, BeforeValidator(not_only_a_path)],
            ],
            Field(min_length=1),
            Tag("<named>"),
        ],
        Discriminator(_form_of_environments),
        BeforeValidator(_named_or_column),
    ] = Field(examples=["{EWR: {parquet: data/EWR.parquet}}"])
    every_one: Annotated[
        Literal["each"] | None,
        BeforeValidator(_each, json_schema_input_type=Literal["each"] | None),
    ] = Field(default=None, alias="held_out")
    split: Split = Split()
    features: Features = Features()
    schema_path: PathOrBucket | None = Field(default=None, alias="schema")

    @property
    def environment_column(self) -> str | None:
        """The column that tells the environment, None where none does."""
        naming = self.naming
        return None if naming is None else naming.column

    @property
    def naming(self) -> Naming | None:
        """How a column tells the environment, None where none does."""
        form = self.environments
        return form.naming if isinstance(form, ColumnEnvironments) else None

    @property
    def inferred(self) -> InferredEnvironments | None:
        """How environments are inferred, None where they are known."""
        form = self.environments
        return form if isinstance(form, InferredEnvironments) else None

    @property
    def telltale(self) -> str | None:
        """The column that is the environment, and so no feature.

        What bins or dates are made of may be one.
        """
        naming = self.naming
        return None if naming is None or naming.bins or naming.by else naming.column

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the held-out environments; none where each is, in turn."""
        if isinstance(self.environments, dict):
            return tuple(n for n, e in self.environments.items() if e.held_out)
        held_out = self.environments.held_out
        return () if isinstance(held_out, str) else tuple(held_out)

    @property
    def each(self) -> bool:
        """Whether every environment is held out in turn: a diagnosis, not a release."""
        form = self.environments
        if isinstance(form, dict):
            return self.every_one == EACH
        return form.held_out == EACH

    @property
    def each_key(self) -> tuple[str, ...]:
        """Where `held_out: each` stands."""
        named = isinstance(self.environments, dict)
        return ("held_out",) if named else ("environments", "held_out")

    def fold(self, name: str) -> "Data":
        """The same with one environment held out, in place of each in turn."""
        form: Any = self.environments
        if isinstance(form, dict):
            form = {**form, name: form[name].model_copy(update={"held_out": True})}
        else:
            form = form.model_copy(update={"held_out": (name,)})
        return self.model_copy(update={"environments": form, "every_one": None})

    @property
    def training(self) -> tuple[str, ...] | None:
        """Names of the training environments, None where only the data knows them."""
        if isinstance(self.environments, dict):
            return tuple(n for n, e in self.environments.items() if not e.held_out)
        names = self.environments.names
        return names and tuple(n for n in names if n not in self.held_out)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that the config wants as numbers, sorted."""
        named = self.features.named
        found = {*named["numeric"], *named["bucketized"], *named["dense"]}
        if self.label.classes is None:
            found.add(self.label.column)
        if self.weight:
            found.add(self.weight)
        if self.naming and self.naming.bins:
            found.add(self.naming.column)
        return tuple(sorted(found))

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The sources as `components.source_manifest.listing` takes them."""
        form = self.environments
        if isinstance(form, ColumnEnvironments):
            return [{"environment": None, "held_out": False, **form.entry}]
        pooled: list[dict[str, Any]] = []
        if isinstance(form, InferredEnvironments):
            pooled = [
                {"environment": None, "held_out": False, **entry}
                for entry in form.entries
            ]
            form = form.known
        return pooled + [
            {"environment": name, "held_out": environment.held_out, **entry}
            for name, environment in form.items()
            for entry in environment.entries
        ]

    @model_validator(mode="after")
    def _each_says_it_all(self) -> "Data":
        if self.every_one is None:
            return self
        if self.inferred is not None:
            raise problem(
                ["held_out"],
                "stands beside infer; what is inferred from all rows is known to the"
                " training without some of them too, so that holding it out shows"
                " nothing: name a known one in data.environments.held_out",
            )
        if not isinstance(self.environments, dict):
            raise problem(
                ["held_out"],
                "stands beside environment_column; write `held_out: each` in"
                " data.environments, where that stands",
            )
        for name in self.held_out:
            raise problem(
                ["environments", name, "held_out"],
                "is true, but data.held_out is each, which holds out every"
                " environment in turn; remove one of the two",
            )
        return self

    @model_validator(mode="after")
    def _no_leak(self) -> "Data":
        never = {
            self.label.column: "what the label is made from",
            self.label.name: "the label",
            ENVIRONMENT: "the environment",
        }
        if self.weight:
            never[self.weight] = "data.weight"
        if self.telltale:
            never[self.telltale] = "the environment"
        if self.split.column:
            never[self.split.column] = "data.split.column"
        never.update((name, "in data.exclude") for name in self.exclude)
        for kind, columns in self.features.named.items():
            for i, name in enumerate(columns):
                if name in never:
                    raise problem(
                        [
                            "features",
                            kind,
                            name if kind in ("bucketized", "dense") else i,
                        ],
                        f"is {name!r}, which is {never[name]} and so can never be a"
                        " feature; take it out",
                    )
        if self.weight in (self.label.name, self.label.column):
            raise problem(
                ["weight"], f"is {self.weight!r}, the label's own column; name another"
            )
        return self

    @model_validator(mode="after")
    def _someone_trains(self) -> "Data":
        if self.training == ():
            raise problem(
                ["environments"],
                f"holds out all it names ({', '.join(self.held_out)}); at least one"
                " environment must be trained on",
            )
        return self
