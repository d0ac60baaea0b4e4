"""TFRecord columns, read by hand, against the table that the file was made from."""

import pathlib

import pyarrow.parquet as pa_parquet
import pytest

from components.errors import DataError
from components.multi_env_example_gen.columns import Column, column_of
from pipeline.tfrecord_columns import RECORDS, columns_of
from tests.pipeline.conftest import encode_records

DATA = pathlib.Path(__file__).parents[2] / "examples" / "flights" / "data"


def test_the_real_flights():
    """Written by TensorFlow; EWR's Parquet has the same columns."""
    found, whole = columns_of(str(DATA / "lga-2013h1.tfrecord.gz"))
    fields = pa_parquet.read_schema(DATA / "EWR.parquet")
    expected = {f.name: column_of(f.type, f.name, "EWR") for f in fields}
    assert not whole
    assert found == expected


def test_kinds_and_lists(project):
    project.tfrecord("a", {"i": [1, 2], "f": [0.5, 1.0], "b": ["x", "y"]})
    found, whole = columns_of(str(project.folder / "data" / "a"))
    assert whole
    assert found == {"i": Column("int"), "f": Column("float"), "b": Column("bytes")}


# Serialized by hand after the encoding guide of protobuf; names of one letter.


def record(payload):
    return encode_records([payload])


@pytest.mark.parametrize(
    ("feature", "column"),
    [
        ("1a04 0a02 0102", Column("int", is_list=True)),  # packed int64
        ("1a04 0801 0802", Column("int", is_list=True)),  # not packed
        ("1a0c 0a0a ffffffffffffffffff01", Column("int")),  # -1: ten bytes
        ("1206 0a04 0000803f", Column("float")),
        ("1205 0d 0000803f", Column("float")),  # not packed
        ("1206 0a04 0000803f" + "1206 0a04 0000803f", Column("float")),
        ("0a03 0a01 78", Column("bytes")),
        ("0a05 0a01 780a00", Column("bytes", is_list=True)),
        ("1a00", Column("null")),
        ("", Column("null")),
    ],
)
def test_wire_format(tmp_path, feature, column):
    value = bytes.fromhex(feature.replace(" ", ""))
    entry = b"\x0a\x01a" + b"\x12" + bytes([len(value)]) + value
    features = b"\x0a" + bytes([len(entry)]) + entry
    example = b"\x0a" + bytes([len(features)]) + features
    path = tmp_path / "x"
    path.write_bytes(record(example))
    assert columns_of(str(path)) == ({"a": column}, True)


def test_reads_the_first_records_only(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(record(b"") * (RECORDS + 1))
    assert columns_of(str(path)) == ({}, False)
    path.write_bytes(record(b"") * RECORDS)
    assert columns_of(str(path)) == ({}, True)


def test_a_damaged_gzip(tmp_path):
    content = bytearray((DATA / "lga-2013h1.tfrecord.gz").read_bytes()[:20_000])
    content[12:400] = bytes(388)
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as tfrecord"):
        columns_of(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it holds no record"),
        (b"month,day\n1,2\n", "a record's length is damaged, or it is no TFRecord"),
        (record(b"")[:7], "it ends within a record"),
        (record(b"abcd")[:18], "it ends within a record"),
        (record(b"hello")[:-1] + b"x", "a record's checksum is not its own"),
        (record(b"hello"), "no tf.Examples"),
        (record(b"\x0a\x7f\x0a"), "no tf.Examples"),
        (record(b"\x0a\x02\x0a\x00"), "no tf.Examples"),
        (record(b"\x0a" + b"\xff" * 12), "no tf.Examples"),
        (record(b"\x0a\x80"), "no tf.Examples"),
        (b"\x1f\x8b\x08\x00", "cannot be read as tfrecord"),
    ],
)
def test_refuses(tmp_path, content, said):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        columns_of(str(path))
    assert str(error.value).startswith(f"{path} cannot be read as tfrecord: ")
    assert said in str(error.value)
