"""Writes the example's data in the three formats that its sources have.

Reads the published Parquet files of New York's three airports and writes every
row and every column of them:

- EWR: one Parquet file, as published;
- JFK: a gzipped CSV file a quarter, a missing value is an empty cell;
- LGA: gzipped TFRecords of tf.Examples, a file a half-year, a missing value is
  an absent feature; integers are int64, reals float32, strings UTF-8 bytes.

The same source gives the same bytes: gzip headers carry neither time nor name,
and features are serialized in a fixed order. What was written is read back and
compared with the source, value by value.

Usage: python examples/flights/make_data.py SOURCE_FOLDER [--output FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import functools
import gzip
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import tensorflow as tf

SOURCES = ("EWR", "JFK", "LGA")
JFK_FILES = {f"jfk-2013q{q}.csv.gz": range(3 * q - 2, 3 * q + 1) for q in range(1, 5)}
LGA_FILES = {
    f"lga-2013h{h}.tfrecord.gz": range(6 * h - 5, 6 * h + 1) for h in range(1, 3)
}
# What neighbouring flights share comes first: 13 % smaller than sorted by name.
FEATURE_ORDER = (
    *("origin", "year", "month", "day", "time_hour", "temp", "dewp", "humid"),
    *("wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
    *("sched_dep_time", "dep_time", "dep_delay", "arr_time", "arr_delay"),
    *("sched_arr_time", "air_time", "flight", "carrier", "dest", "distance"),
    *("tailnum", "seats", "engines", "manufacturer", "plane_year"),
)


def in_months(table: pa.Table, months: Iterable[int]) -> pa.Table:
    """Returns the rows of `table` in `months` (1 to 12), in their order."""
    return table.filter(pa.array(np.isin(table["month"].to_numpy(), list(months))))


def gzipped_csv(table: pa.Table) -> bytes:
    """Returns `table` as gzipped CSV: a header, an empty cell for a missing value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*(c.to_pylist() for c in table.columns), strict=True))
    return gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0)


def feature_kind(type_: pa.DataType) -> str:
    """Returns which list of a tf.train.Feature holds values of `type_`."""
    if pa.types.is_string(type_):
        return "bytes_list"
    return "int64_list" if pa.types.is_integer(type_) else "float_list"


@functools.lru_cache(maxsize=1_000_000)
def serialized_feature(name: str, kind: str, value: int | float | str) -> bytes:
    """Returns a serialized tf.train.Features that has the one feature `name`."""
    features = tf.train.Features()
    element = value.encode() if isinstance(value, str) else value
    getattr(features.feature[name], kind).value.append(element)
    return features.SerializeToString()


def serialized_examples(table: pa.Table) -> Iterator[bytes]:
    """Yields a serialized tf.Example a row; a missing value has no feature."""
    kinds = [feature_kind(table.schema.field(name).type) for name in FEATURE_ORDER]
    columns = [table[name].to_pylist() for name in FEATURE_ORDER]
    for row in zip(*columns, strict=True):
        # Serialized messages, concatenated, are the serialized union of them.
        features = b"".join(
            serialized_feature(name, kind, value)
            for name, kind, value in zip(FEATURE_ORDER, kinds, row, strict=True)
            if value is not None
        )
        # Wraps them as field 1, which is what tf.train.Example calls `features`.
        yield tf.train.BytesList(value=[features]).SerializeToString()


def write_tfrecord(path: Path, records: Iterable[bytes]) -> None:
    """Writes `records` to the gzipped TFRecord file `path`."""
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=9)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


def read_csv(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """Returns the rows of the CSV files `paths`, with the types of `schema`."""
    convert = pyarrow.csv.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True
    )
    return pa.concat_tables(
        pyarrow.csv.read_csv(path, convert_options=convert) for path in paths
    )


def read_tfrecord(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """Returns the rows of the TFRecord files `paths`, reals as float32."""
    dtypes = {"bytes_list": tf.string, "int64_list": tf.int64, "float_list": tf.float32}
    spec = {
        field.name: tf.io.RaggedFeature(dtypes[feature_kind(field.type)])
        for field in schema
    }
    names = [str(path) for path in paths]
    dataset = tf.data.TFRecordDataset(names, compression_type="GZIP").batch(8192)
    tables = []
    for records in dataset:
        parsed = tf.io.parse_example(records, spec)
        columns = []
        for field in schema:
            lists = parsed[field.name].to_list()
            kept = [value[0] if value else None for value in lists]
            real = pa.types.is_floating(field.type)
            columns.append(pa.array(kept, pa.float32() if real else field.type))
        tables.append(pa.table(columns, schema.names))
    return pa.concat_tables(tables)


def as_float32(table: pa.Table) -> pa.Table:
    """Returns `table` with its reals rounded to float32."""
    return table.cast(
        pa.schema(
            field.with_type(pa.float32()) if pa.types.is_floating(field.type) else field
            for field in table.schema
        )
    )


def differences(written: pa.Table, source: pa.Table) -> list[str]:
    """Returns the names of the columns whose values differ, or are not there."""
    names = dict.fromkeys([*source.column_names, *written.column_names])
    return [
        name
        for name in names
        if name not in written.column_names
        or name not in source.column_names
        or not written[name].equals(source[name])
    ]


def write_data(source: Path, output: Path) -> dict[str, list[str]]:
    """Writes all three airports and reads them back.

    Args:
      source: folder with EWR.parquet, JFK.parquet and LGA.parquet.
      output: folder to write to.

    Returns:
      Airport -> the columns that did not read back as they are in the source.
    """
    shutil.copyfile(source / "EWR.parquet", output / "EWR.parquet")
    ewr, jfk, lga = (pq.read_table(source / f"{a}.parquet") for a in SOURCES)
    jfk_paths = [output / name for name in JFK_FILES]
    for path in jfk_paths:
        path.write_bytes(gzipped_csv(in_months(jfk, JFK_FILES[path.name])))
    lga_paths = [output / name for name in LGA_FILES]
    for path in lga_paths:
        rows = in_months(lga, LGA_FILES[path.name])
        write_tfrecord(path, serialized_examples(rows))
    # The published rows are not strictly by month: compare in the files' order.
    jfk = pa.concat_tables(in_months(jfk, months) for months in JFK_FILES.values())
    lga = pa.concat_tables(in_months(lga, months) for months in LGA_FILES.values())
    return {
        "EWR": differences(pq.read_table(output / "EWR.parquet"), ewr),
        "JFK": differences(read_csv(jfk_paths, jfk.schema), jfk),
        "LGA": differences(read_tfrecord(lga_paths, lga.schema), as_float32(lga)),
    }


def main() -> int:
    """Runs the script; exit status 1 where something did not read back equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the Parquet files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    args = parser.parse_args()
    for airport in SOURCES:
        if not (args.source / f"{airport}.parquet").is_file():
            parser.error(f"{args.source} has no {airport}.parquet")
    args.output.mkdir(parents=True, exist_ok=True)
    wrong = write_data(args.source, args.output)
    for airport, columns in wrong.items():
        print(
            f"{airport}: {'differs in ' + ', '.join(columns) if columns else 'equal'}"
        )
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
