"""Reading only the needed features of a split's tf.Examples, through TFXIO."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public.tfxio import (
    RecordBatchesOptions,
    TensorAdapterConfig,
    TFExampleRecord,
)

from components.errors import DataError

_TELEMETRY = ["tfx-irm", "Evaluator"]
_PEEK = 1_000
# TensorFlow prints the inputs of each call of a signature, in full up to 1,000 of them:
# batches are larger than that unless examples are.
_MOST_ROWS = 4_096
_BATCH_BYTES = 32 * 2**20
_RAW_COLUMN = "__raw_record__"  # tfma.ARROW_INPUT_COLUMN


@dataclasses.dataclass(frozen=True)
class Layout:
    """What must be known of the examples to read them.

    Attributes:
      schema: the needed features, their types, any number of values each.
      batch_size: examples a batch, so that one takes up to about 32 MiB.
    """

    schema: schema_pb2.Schema
    batch_size: int


def look(patterns: Mapping[str, Sequence[str]], names: Sequence[str]) -> Layout:
    """Looks at the first examples of each split.

    A split is read on until every feature has shown its type; mostly that is at once.

    Args:
      patterns: split -> file patterns of TFRecords of tf.Examples.
      names: the needed features.

    Returns:
      The layout.

    Raises:
      DataError: a feature is in no example.
    """
    types: dict[str, int] = {}
    seen: set[str] = set()
    most_bytes = 1.0
    for files in patterns.values():
        for batch in _peek(files):
            raw = batch.column(batch.schema.get_field_index(_RAW_COLUMN))
            most_bytes = max(most_bytes, raw.nbytes / batch.num_rows)
            seen.update(set(batch.schema.names) - {_RAW_COLUMN})
            for name in set(names) & seen & set(batch.schema.names):
                kind = _kind(batch.schema.field(name).type)
                if kind is not None:
                    types.setdefault(name, kind)
            if len(types) == len(set(names)):
                break
    for name in names:
        if name not in types:
            raise DataError(
                f"feature {name!r} is in no example of split"
                f" {' or '.join(map(repr, patterns))}; found {', '.join(sorted(seen))}"
            )
    schema = schema_pb2.Schema()
    for name, kind in sorted(types.items()):
        schema.feature.add(name=name, type=kind)
    return Layout(schema, int(min(max(_BATCH_BYTES / most_bytes, 1), _MOST_ROWS)))


def tfxio(patterns: Sequence[str], layout: Layout) -> TFExampleRecord:
    """TFXIO of a split that keeps the serialized examples where TFMA looks."""
    return TFExampleRecord(
        file_pattern=list(patterns),
        schema=layout.schema,
        raw_record_column_name=_RAW_COLUMN,
        telemetry_descriptors=_TELEMETRY,
    )


def adapter_config(record: TFExampleRecord) -> TensorAdapterConfig:
    """How TFMA is to make tensors of the record batches."""
    return TensorAdapterConfig(record.ArrowSchema(), record.TensorRepresentations())


def _peek(files: Sequence[str]) -> Any:
    record = TFExampleRecord(
        list(files),
        raw_record_column_name=_RAW_COLUMN,
        telemetry_descriptors=_TELEMETRY,
    )
    options = RecordBatchesOptions(batch_size=_PEEK, num_epochs=1, shuffle=False)
    return record.RecordBatches(options)


def _kind(arrow_type: pa.DataType) -> int | None:
    """The schema's type of an Arrow list column; None where all values are missing."""
    if not (pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type)):
        return None
    value = arrow_type.value_type
    if pa.types.is_integer(value):
        return schema_pb2.INT
    if pa.types.is_floating(value):
        return schema_pb2.FLOAT
    return schema_pb2.BYTES
