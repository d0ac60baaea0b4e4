"""Executor of EnvironmentValidator: Examples in, findings and a page out."""

import dataclasses
import json
import os
import pickle
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.artifact_files import counts_of, present, read_json, write_text
from components.environment_validator import (
    checks,
    page,
    profiles,
    profiling,
    record,
    validating,
)
from components.environment_validator.findings import Finding
from components.errors import DataError, stage_folder, tells_reason

EXAMPLES_KEY = "examples"
STATISTICS_KEY = "statistics"
SCHEMA_KEY = "schema"
RELEASED_KEY = "released"
REPORT_KEY = "report"
OPTIONS_KEY = "options"
INSPECT_KEY = "inspect"
STATISTICS_FILE = "statistics.pb"
_PROFILES_FILE = ".profiles"
_STATISTICS_NAME = "FeatureStats.pb"


@dataclasses.dataclass(frozen=True)
class Options:
    """Which columns are what.

    Attributes:
      name: of the pipeline, for the page.
      label: the label.
      label_columns: the label, and what it is made from.
      environment: the feature that names the environment.
      telltale: a column that names it too, or None.
      weight: the column of example weights, or None.
      split_by: columns that are kept on one side of the split.
      exclude: columns that the model never sees.
      features: the candidates; None: all that are left.
      categorical: of them, numbers that are names.
      task: binary, multiclass or regression.
      classes: their names, for multiclass.
    """

    name: str
    label: str
    label_columns: tuple[str, ...]
    environment: str
    telltale: str | None = None
    weight: str | None = None
    split_by: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] = ()
    task: str = "binary"
    classes: tuple[str, ...] = ()

    def as_json(self) -> str:
        """The exec property."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """From the exec property.

        Raises:
          ValueError: an unknown field.
        """
        values: dict[str, Any] = json.loads(text)
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"EnvironmentValidator options: unknown {unknown}")
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Profiles the environments, judges them, and stops where a check is an error."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the component for inputs, outputs and properties.

        Raises:
          DataError: a finding is an error; its sentence. What was found lies in the
            stage's folder, beside `error.json`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        input_dict = present(input_dict)
        options = Options.from_json(exec_properties[OPTIONS_KEY])
        settings = checks.parse(json.loads(exec_properties[INSPECT_KEY]))
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        folder = artifact_utils.get_single_uri(output_dict[REPORT_KEY])
        fileio.makedirs(folder)
        columns = _columns(input_dict, options, settings)
        found, repeated = self._profile(examples, columns, folder)
        evidence = validating.gather(
            found,
            repeated,
            dataclasses.replace(columns, schema=_schema(input_dict)),
            counts_of(examples) or {},
            options.categorical,
            read_json(input_dict.get(RELEASED_KEY), record.REFERENCE_FILE),
        )
        findings = validating.judge(evidence, settings, columns)
        kept = record.record(evidence, settings, findings)
        written = {
            record.RECORD_FILE: record.to_json(kept),
            page.PAGE_FILE: page.page(kept, options.name),
        }
        errors = record.errors(kept)
        if errors:
            at = stage_folder(output_dict)
            _write_all(at, written)
            raise DataError(_sentence(errors, os.path.join(at, page.PAGE_FILE)))
        written[record.REFERENCE_FILE] = record.to_json(record.reference(evidence))
        _write_all(folder, written)
        datasets = [p.statistics for p in evidence.profiles]
        together = statistics_pb2.DatasetFeatureStatisticsList(datasets=datasets)
        with fileio.open(os.path.join(folder, STATISTICS_FILE), "wb") as file:
            file.write(together.SerializeToString(deterministic=True))

    def _profile(self, examples: Any, columns: profiles.Columns, folder: str) -> Any:
        splits = artifact_utils.decode_split_names(examples.split_names)
        patterns = {
            split: examples_utils.get_split_file_patterns([examples], split)
            for split in splits
        }
        path = os.path.join(folder, _PROFILES_FILE)
        with self._make_beam_pipeline() as pipeline:
            _ = pipeline | profiling.ProfileSplits(columns, patterns, path)
        with fileio.open(path, "rb") as file:
            found = pickle.loads(file.read())
        fileio.remove(path)
        return found


def _columns(
    input_dict: dict[str, list[Any]], options: Options, settings: checks.Settings
) -> profiles.Columns:
    """Of the examples as they are: the columns that their statistics saw."""
    schema = _seen(artifact_utils.get_single_instance(input_dict[STATISTICS_KEY]))
    there = [feature.name for feature in schema.feature]
    never = {
        *options.exclude,
        *options.label_columns,
        options.environment,
        options.telltale,
        options.weight,
    }
    wanted = there if options.features is None else options.features
    for what, names in (("split.by", options.split_by), ("key", settings.key)):
        for name in names:
            if name not in there:
                raise DataError(
                    f"{what} names the column {name!r}, which no example has; the"
                    f" examples have {', '.join(there)}"
                )
    return profiles.Columns(
        schema=schema,
        label=options.label,
        label_columns=options.label_columns,
        environment=options.environment,
        telltales=tuple(n for n in there if n == options.telltale),
        split_by=options.split_by,
        key=settings.key,
        candidates=tuple(n for n in wanted if n in there and n not in never),
        task=options.task,
        classes=options.classes,
    )


def _seen(statistics: Any) -> schema_pb2.Schema:
    """Names and types of all columns, in any number of values."""
    types: dict[str, int] = {}
    kinds = statistics_pb2.FeatureNameStatistics
    for split in artifact_utils.decode_split_names(statistics.split_names):
        uri = artifact_utils.get_split_uri([statistics], split)
        for dataset in tfdv.load_stats_binary(
            os.path.join(uri, _STATISTICS_NAME)
        ).datasets:
            for feature in dataset.features:
                name = feature.path.step[0]
                kind = {kinds.INT: schema_pb2.INT, kinds.FLOAT: schema_pb2.FLOAT}.get(
                    feature.type, schema_pb2.BYTES
                )
                types[name] = max(types.get(name, kind), kind, key=_WIDTH.index)
    schema = schema_pb2.Schema()
    for name, kind in sorted(types.items()):
        schema.feature.add(name=name, type=kind)
    return schema


_WIDTH = [schema_pb2.INT, schema_pb2.FLOAT, schema_pb2.BYTES]


def _schema(input_dict: dict[str, list[Any]]) -> schema_pb2.Schema:
    uri = artifact_utils.get_single_uri(input_dict[SCHEMA_KEY])
    return io_utils.SchemaReader().read(os.path.join(uri, "schema.pbtxt"))


def _sentence(errors: list[Finding], path: str) -> str:
    more = len(errors) - 1
    others = f"{more} more error{'s' * (more != 1)}; " if more else ""
    return (
        f"{errors[0].sentence} (inspect.{errors[0].check}; {others}all findings are in"
        f" {path})"
    )


def _write_all(folder: str, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        write_text(folder, name, text)
