"""The config's sources: files of a format, alone, or as environments."""

import codecs
import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from components import bigquery as queries
from components.multi_env_example_gen.naming import Naming, bin_names
from components.source_manifest import spans
from components.source_manifest.listing import FORMATS
from pipeline.config_types import (
    Column,
    Columns,
    Count,
    EnvironmentName,
    EnvironmentNames,
    Patterns,
    Section,
    as_tuple,
    problem,
    short,
)
from pipeline.query_config import BESIDE, Bucket, Project, Query, check_beside

FILES = tuple(name for name in FORMATS if name != queries.FORMAT)
EACH = "each"  # for `held_out`: every environment in turn
DIALECT = ("columns", "delimiter", "quote", "nulls", "encoding")

Letter = Annotated[str, Field(min_length=1, max_length=1)]


def _encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError:
        raise ValueError(
            f"is {value!r}, which is no encoding; try utf8, latin-1, cp1252 or utf-16"
        ) from None
    return value


def _span(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        if isinstance(value, str) and len(value) == len("2024-03-01"):
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise ValueError(
        f"is {short(value)}; write the number of a span, such as 7, or a day, such as"
        " 2024-03-01"
    )


Bound = Annotated[spans.Span, BeforeValidator(_span, json_schema_input_type=int | str)]


class Spans(Section):
    """Which spans are read: of those from `from` to `to`, the `last` newest.

    The `skip` newest are left out before. Without any key, the newest alone.
    """

    last: Count | None = None
    skip: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    first: Bound | None = Field(default=None, alias="from")
    to: Bound | None = None

    @property
    def wanted(self) -> dict[str, Any]:
        """As `spans.choose` takes it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Source(Section):
    """Files of one format; the key named as the format holds the paths.

    `spans` says which are read where the paths have spans. `bigquery` is a query, or
    the name of a table; `project` is billed for it, and `temp` holds its rows in
    passing. The other keys say how a CSV is written: the names of its columns where it
    has no header, what stands between and around fields, what stands for a missing
    value.
    """

    parquet: Patterns = ()
    csv: Patterns = ()
    tfrecord: Patterns = ()
    jsonl: Patterns = ()
    avro: Patterns = ()
    bigquery: Query | None = None
    project: Project | None = None
    temp: Bucket | None = None
    columns: Columns = ()
    delimiter: Letter = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    nulls: Annotated[
        tuple[str, ...],
        BeforeValidator(as_tuple, json_schema_input_type=str | list[str]),
    ] = ()
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf8"
    spans: Spans = Field(default=Spans(), examples=["{last: 7}"])

    @model_validator(mode="after")
    def _one_format(self) -> "Source":
        given = [name for name in FORMATS if getattr(self, name)]
        if "sources" in self.model_fields_set and getattr(self, "sources", None):
            beside = self.model_fields_set - {"sources", "held_out", "infer"}
            if beside:
                raise problem(
                    [min(beside)], "stands beside sources; move it into one of them"
                )
            return self
        if not given:
            raise problem(
                [],
                f"names no files; add one of {', '.join(FILES[:-1])} or {FILES[-1]}"
                " with a path, or bigquery with a query",
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
        check_beside(given[0], {key: getattr(self, key) for key in BESIDE})
        if self.delimiter == self.quote:
            raise problem(
                ["quote"], f"is {self.quote!r}, the delimiter too; change one"
            )
        return self

    @model_validator(mode="after")
    def _spans_fit(self) -> "Source":
        if self.bigquery is not None and "spans" in self.model_fields_set:
            raise problem(["spans"], "chooses among paths; remove it from a query")
        if not (name := next((n for n in FILES if getattr(self, n)), None)):
            return self
        parsed = [spans.parse(pattern) for pattern in getattr(self, name)]
        by_date = [pattern and pattern.by_date for pattern in parsed]
        if len(set(by_date)) > 1:
            other = next(i for i, kind in enumerate(by_date) if kind != by_date[0])
            raise problem(
                [name, other],
                "has not the kind of span that the first path has (a number, a day, or"
                " none); make them two sources under `sources`",
            )
        if by_date[0] is None and "spans" in self.model_fields_set:
            raise problem(
                ["spans"],
                f"chooses among spans, and the path of {name} has none; put {{SPAN}} or"
                " {YYYY}, {MM} and {DD} into it, or remove the key",
            )
        _check_range(self.spans, bool(by_date[0]))
        return self

    @property
    def entry(self) -> dict[str, Any]:
        """Format, patterns, options and spans as `listing` takes them."""
        if self.bigquery is not None:
            options = {key: getattr(self, key) for key in BESIDE}
            return {
                "format": queries.FORMAT,
                "patterns": [queries.name_of(self.bigquery)],
                "options": {"query": self.bigquery, **options},
            }
        name = next(name for name in FILES if getattr(self, name))
        given = [key for key in DIALECT if key in self.model_fields_set]
        options = {key: getattr(self, key) for key in given}
        for key in {"columns", "nulls"} & set(options):
            options[key] = list(options[key])
        patterns = list(getattr(self, name))
        entry = {"format": name, "patterns": patterns, "options": options}
        if spans.parse(patterns[0]) is not None:
            entry["spans"] = self.spans.wanted
        return entry


def _check_range(wanted: Spans, by_date: bool) -> None:
    for key, bound in (("from", wanted.first), ("to", wanted.to)):
        if bound is not None and isinstance(bound, str) != by_date:
            mend = "whole numbers; write one, such as 7"
            if by_date:
                mend = "days; write one, such as 2024-03-01"
            raise problem(
                ["spans", key], f"is {bound!r}, and the spans of the path are {mend}"
            )
    low, high = wanted.first, wanted.to
    if low is not None and high is not None and high < low:  # type: ignore[operator]
        raise problem(["spans", "to"], f"is {high}, before `from`: {low}; swap them")


def not_only_a_path(value: Any) -> Any:
    """Names the mend where a path stands in the place of a source."""
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        raise ValueError("is a list of sources; put it under the key `sources`")
    if isinstance(value, str | list):
        first = value if isinstance(value, str) else next(iter(value), "")
        near = next((f for f in FILES if f in str(first).lower()), FILES[0])
        shown = f'"{first}"' if "{" in str(first) else first
        raise ValueError(
            f"is {short(value)}; say the format of the files: {{{near}: {shown}}}"
        )
    return value


class Environment(Source):
    """The source of one environment, or several under `sources`."""

    sources: Annotated[
        tuple[Annotated[Source, BeforeValidator(not_only_a_path)], ...],
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


def _form_of_held_out(value: Any) -> str:
    return "<each>" if value == EACH else "<names>"


class ColumnEnvironments(Source):
    """One source of which a column tells the environment of each row."""

    environment_column: Column
    values: dict[EnvironmentName, Values] = {}
    bins: Annotated[
        tuple[Number, ...],
        BeforeValidator(as_tuple, json_schema_input_type=list[float]),
    ] = ()
    by: Literal["year", "quarter", "month", "day"] | None = None
    held_out: Annotated[
        Annotated[Literal["each"], Tag("<each>")]
        | Annotated[EnvironmentNames, Tag("<names>")],
        Discriminator(_form_of_held_out),
    ] = ()

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
        if (names := self.names) is not None and self.held_out != EACH:
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
