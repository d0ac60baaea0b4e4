"""The config's section `data`: label, environments, split, features."""

import codecs
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from components.multi_env_example_gen.naming import Naming, bin_names
from pipeline.config_types import (
    Column,
    Columns,
    Count,
    EnvironmentName,
    EnvironmentNames,
    LocalPath,
    Patterns,
    Section,
    as_tuple,
    problem,
    short,
)

FORMATS = ("parquet", "csv", "tfrecord", "jsonl", "avro")
DIALECT = ("columns", "delimiter", "quote", "nulls", "encoding")
ENVIRONMENT = "environment"


class Label(Section):
    """What is forecast: a column of 0 and 1, or a number above a threshold."""

    name: Column
    from_column: Column | None = Field(default=None, alias="from")
    above: float | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Label":
        if self.above is not None and self.from_column is None:
            raise problem(
                ["above"],
                "has no `from` beside it; name the column that is compared with"
                f" {self.above:g}",
            )
        if self.from_column is not None and self.above is None:
            raise problem(
                ["from"],
                "has no `above` beside it; say above which value the label is 1, or"
                f" write `label: {self.from_column}` where the column holds 0 and 1",
            )
        if self.from_column == self.name:
            raise problem(
                ["name"],
                f"is {self.name!r}, the column that it is made from; give the label a"
                " name of its own",
            )
        if self.name == ENVIRONMENT:
            raise problem(
                ["name"],
                f"is {ENVIRONMENT!r}, where every example's environment stands",
            )
        return self

    @property
    def column(self) -> str:
        """The column of the data that it is, or is made from."""
        return self.from_column or self.name


def _label(value: Any) -> Any:
    if value is None:
        raise ValueError("is empty; name the column that is forecast")
    return {"name": value} if isinstance(value, str) else value


Letter = Annotated[str, Field(min_length=1, max_length=1)]


def _encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError:
        raise ValueError(
            f"is {value!r}, which is no encoding; try utf8, latin-1, cp1252 or utf-16"
        ) from None
    return value


class Source(Section):
    """Files of one format; the key named as the format holds the paths.

    The other keys say how a CSV is written: the names of its columns where it has no
    header, what stands between and around fields, what stands for a missing value.
    """

    parquet: Patterns = ()
    csv: Patterns = ()
    tfrecord: Patterns = ()
    jsonl: Patterns = ()
    avro: Patterns = ()
    columns: Columns = ()
    delimiter: Letter = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    nulls: Annotated[
        tuple[str, ...],
        BeforeValidator(as_tuple, json_schema_input_type=str | list[str]),
    ] = ()
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf8"

    @model_validator(mode="after")
    def _one_format(self) -> "Source":
        given = [name for name in FORMATS if getattr(self, name)]
        if "sources" in self.model_fields_set and getattr(self, "sources", None):
            beside = self.model_fields_set - {"sources", "held_out"}
            if beside:
                raise problem(
                    [min(beside)], "stands beside sources; move it into one of them"
                )
            return self
        if not given:
            raise problem(
                [],
                f"names no files; add one of {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
                " with a path",
            )
        if len(given) > 1:
            raise problem(
                [given[1]],
                f"stands beside {given[0]}; a source has files of one format, so write"
                f" sources: [{{{given[0]}: ...}}, {{{given[1]}: ...}}]",
            )
        for key in DIALECT:
            if key in self.model_fields_set and given != ["csv"]:
                raise problem(
                    [key],
                    f"says how a CSV is written, and this is {given[0]}; remove it",
                )
        if self.delimiter == self.quote:
            raise problem(
                ["quote"], f"is {self.quote!r}, the delimiter too; change one"
            )
        return self

    @property
    def entry(self) -> dict[str, Any]:
        """Format, patterns and options as `listing` takes them."""
        name = next(name for name in FORMATS if getattr(self, name))
        given = [key for key in DIALECT if key in self.model_fields_set]
        options = {key: getattr(self, key) for key in given}
        for key in {"columns", "nulls"} & set(options):
            options[key] = list(options[key])
        patterns = list(getattr(self, name))
        return {"format": name, "patterns": patterns, "options": options}


def _not_only_a_path(value: Any) -> Any:
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        raise ValueError("is a list of sources; put it under the key `sources`")
    if isinstance(value, str | list):
        first = value if isinstance(value, str) else next(iter(value), "")
        near = next((f for f in FORMATS if f in str(first).lower()), FORMATS[0])
        raise ValueError(
            f"is {short(value)}; say the format of the files: {{{near}: {first}}}"
        )
    return value


class Environment(Source):
    """The source of one environment, or several under `sources`."""

    sources: Annotated[
        tuple[Annotated[Source, BeforeValidator(_not_only_a_path)], ...],
        BeforeValidator(as_tuple, json_schema_input_type=list[Source]),
    ] = ()
    held_out: bool = False

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Each source as `listing` takes it."""
        return [source.entry for source in self.sources or (self,)]


def _texts(value: Any) -> Any:
    """Values of a column as text, as the column's own are compared."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int) and not isinstance(v, bool) for v in values):
        raise ValueError(f"is {short(value)}; expected values of the column, as text")
    return tuple(map(str, values))


Number = Annotated[float, Field(strict=False)]
Values = Annotated[
    tuple[str, ...],
    BeforeValidator(_texts, json_schema_input_type=str | int | list[str | int]),
    Field(min_length=1),
]


class ColumnEnvironments(Source):
    """One source of which a column tells the environment of each row."""

    environment_column: Column
    values: dict[EnvironmentName, Values] = {}
    bins: Annotated[
        tuple[Number, ...],
        BeforeValidator(as_tuple, json_schema_input_type=list[float]),
    ] = ()
    by: Literal["year", "quarter", "month", "day"] | None = None
    held_out: EnvironmentNames = ()

    @model_validator(mode="after")
    def _one_way(self) -> "ColumnEnvironments":
        given = [key for key in ("values", "bins", "by") if getattr(self, key)]
        if len(given) > 1:
            raise problem(
                [given[1]], f"stands beside {given[0]}; the column tells it in one way"
            )
        if list(self.bins) != sorted(set(self.bins)):
            raise problem(["bins"], "are edges that do not rise; sort them")
        values = [value for each in self.values.values() for value in each]
        for value in values:
            if values.count(value) > 1:
                raise problem(
                    ["values"], f"has {value!r} in two environments; name it once"
                )
        if (names := self.names) is not None:
            for i, name in enumerate(self.held_out):
                if name not in names:
                    raise problem(
                        ["held_out", i],
                        f"is {name!r}, and the environments are {', '.join(names)}",
                    )
        return self

    @property
    def names(self) -> tuple[str, ...] | None:
        """All environments, None where only the data knows them."""
        if self.bins:
            return bin_names(self.bins)
        return tuple(self.values) or None

    @property
    def naming(self) -> Naming:
        """As ingestion takes it."""
        groups = {v: name for name, values in self.values.items() for v in values}
        return Naming(self.environment_column, groups, self.bins, self.by)


def _form_of_environments(value: Any) -> str:
    is_column = isinstance(value, ColumnEnvironments) or (
        isinstance(value, dict) and "environment_column" in value
    )
    return "<column>" if is_column else "<named>"


def _named_or_column(value: Any) -> Any:
    """Names what is missing where files stand in the place of environments."""
    if isinstance(value, dict) and "environment_column" not in value:
        for name in FORMATS:
            if name in value and not isinstance(value[name], dict):
                raise ValueError(
                    f"has files ({name}) but no environment; write NAME: {{{name}:"
                    " ...} for each, or add `environment_column`, the column that"
                    " tells it"
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
            _label,
            json_schema_input_type=Label | str,
        ),
    ] = Field(examples=["late"])
    weight: Column | None = None
    exclude: Columns = ()
    optional: Columns = ()
    environments: Annotated[
        Annotated[ColumnEnvironments, Tag("<column>")]
        | Annotated[
            dict[
                EnvironmentName,
                Annotated[Environment, BeforeValidator(_not_only_a_path)],
            ],
            Field(min_length=1),
            Tag("<named>"),
        ],
        Discriminator(_form_of_environments),
        BeforeValidator(_named_or_column),
    ] = Field(examples=["{EWR: {parquet: data/EWR.parquet}}"])
    split: Split = Split()
    features: Features = Features()
    schema_path: LocalPath | None = Field(default=None, alias="schema")

    @property
    def environment_column(self) -> str | None:
        """The column that tells the environment, None where each has its source."""
        form = self.environments
        return None if isinstance(form, dict) else form.environment_column

    @property
    def naming(self) -> Naming | None:
        """How a column tells the environment, None where each has its source."""
        form = self.environments
        return None if isinstance(form, dict) else form.naming

    @property
    def telltale(self) -> str | None:
        """The column that is the environment, and so no feature.

        What bins or dates are made of may be one.
        """
        naming = self.naming
        return None if naming is None or naming.bins or naming.by else naming.column

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of the held-out environments."""
        if isinstance(self.environments, dict):
            return tuple(n for n, e in self.environments.items() if e.held_out)
        return self.environments.held_out

    @property
    def training(self) -> tuple[str, ...] | None:
        """Names of the training environments, None where only the data knows them."""
        if isinstance(self.environments, dict):
            return tuple(n for n, e in self.environments.items() if not e.held_out)
        names = self.environments.names
        return names and tuple(n for n in names if n not in self.held_out)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """The sources as `components.source_manifest.listing` takes them."""
        form = self.environments
        if not isinstance(form, dict):
            return [{"environment": None, "held_out": False, **form.entry}]
        return [
            {"environment": name, "held_out": environment.held_out, **entry}
            for name, environment in form.items()
            for entry in environment.entries
        ]

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
