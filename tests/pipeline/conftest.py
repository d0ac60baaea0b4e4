"""A small project with a config and three environments, each in a format of its own."""

import gzip
import struct

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import yaml

ROWS = {
    "month": [1, 1, 2, 2],
    "arr_delay": [20, -3, 0, 16],
    "dep_delay": [1, 2, 3, 4],
    "distance": [100.5, 200.0, 300.0, 400.0],
    "carrier": ["UA", "AA", "UA", "B6"],
    "origin": ["EWR", "EWR", "JFK", "LGA"],
}
CONFIG = """\
name: flights
data:
  label: {name: late, from: arr_delay, above: 15}
  exclude: [dep_delay]
  environments:
    EWR: {parquet: data/ewr.parquet}
    JFK: {csv: data/jfk-*.csv.gz}
    LGA: {tfrecord: data/lga.tfrecord, held_out: true}
  split: {eval: 0.2, by: [month]}
  features:
    numeric: [distance]
    categorical: [carrier]
train:
  method: v_rex
  penalty: {weight: 100, anneal_steps: 500, schedule: step}
  methods: {irm_v1: {penalty: {weight: 1000}}}
  steps: 2000
evaluate: {slices: [carrier, [environment, carrier]]}
checks:
  worst: {auc: {min: 0.65}}
  gap: {auc: {max: 0.05, over: environment}}
verdict: {min_examples: 200}
"""


def _field(number, payload):
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def encode_example(features):
    """A tf.Example by protobuf's wire format: one byte of length per message."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], bytes):
            feature = _field(1, b"".join(_field(1, value) for value in values))
        elif isinstance(values[0], float):
            packed = b"".join(struct.pack("<f", value) for value in values)
            feature = _field(2, _field(1, packed))
        else:
            assert all(0 <= value < 128 for value in values)
            feature = _field(3, _field(1, bytes(values)))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    # The Features message may be longer than 127 bytes: a two-byte varint.
    size = len(entries)
    return b"\x0a" + bytes([size & 127 | 128, size >> 7]) + entries


def encode_records(records):
    """A TFRecord file: length, its checksum, payload, its checksum."""
    return b"".join(
        length + checksum(length) + payload + checksum(payload)
        for payload in records
        for length in (struct.pack("<Q", len(payload)),)
    )


def checksum(content):
    """CRC-32C, masked as tensorflow/core/lib/hash/crc32c.h does."""
    crc = google_crc32c.value(content)
    masked = ((crc >> 15) | (crc << 17) & 0xFFFFFFFF) + 0xA282EAD8
    return struct.pack("<I", masked % 2**32)


# Of that config, so that each environment is held out in its turn.
EACH = ["data.environments.LGA.held_out=false", "data.held_out=each"]


class Project:
    """A folder with `config.yaml` and data."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "config.yaml"
        (folder / "data").mkdir()
        self.config.write_text(CONFIG)
        self.parquet("ewr.parquet", ROWS)
        self.csv("jfk-1.csv.gz", ROWS)
        self.csv("jfk-2.csv.gz", ROWS)
        self.tfrecord("lga.tfrecord", ROWS)

    def parquet(self, name, columns):
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pa_parquet.write_table(table, self.folder / "data" / name)

    def csv(self, name, columns):
        rows = [list(columns), *zip(*columns.values(), strict=True)]
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        self.file(name, gzip.compress(text.encode()))

    def tfrecord(self, name, columns):
        records = []
        for row in zip(*columns.values(), strict=True):
            plain = [v.encode() if isinstance(v, str) else v for v in row]
            plain = [abs(v) if isinstance(v, int) else v for v in plain]
            features = dict(zip(columns, [[v] for v in plain], strict=True))
            records.append(encode_example(features))
        self.file(name, encode_records(records))

    def file(self, name, content):
        (self.folder / "data" / name).write_bytes(content)

    def replace(self, old, new):
        text = self.config.read_text()
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        self.config.write_text(text.replace(old, new))

    def update(self, **sections):
        """Replaces whole top-level sections by plain values."""
        data = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**data, **sections}))

    def by_column(self, **changes):
        """One source, of which `origin` tells the environment; each is held out."""
        form = {"parquet": "data/ewr.parquet", "environment_column": "origin"}
        data = yaml.safe_load(self.config.read_text())["data"]
        environments = {**form, "held_out": "each", **changes}
        self.update(data={**data, "environments": environments})


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
