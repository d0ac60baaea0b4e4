"""What is found out about the examples before they are read."""

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import DataError
from components.evaluator import reading


def write(path, rows):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for row in rows:
            features = {}
            for name, value in row.items():
                if isinstance(value, bytes):
                    feature = tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[value])
                    )
                elif isinstance(value, int):
                    feature = tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[value])
                    )
                else:
                    feature = tf.train.Feature(
                        float_list=tf.train.FloatList(value=[value])
                    )
                features[name] = feature
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return [str(path)]


def test_only_the_needed_features_are_in_the_schema(tmp_path):
    rows = [{"late": 1, "w": 0.5, "carrier": b"UA", "more": 3}] * 3
    patterns = {"eval": write(tmp_path / "a.gz", rows)}
    layout = reading.look(patterns, ["late", "w", "carrier"])
    assert {f.name: f.type for f in layout.schema.feature} == {
        "carrier": schema_pb2.BYTES,
        "late": schema_pb2.INT,
        "w": schema_pb2.FLOAT,
    }
    assert layout.batch_size == 4_096
    record = reading.tfxio(patterns["eval"], layout)
    assert set(record.TensorRepresentations()) == {"carrier", "late", "w"}


def test_a_feature_may_show_late_or_in_another_split(tmp_path):
    rows = [{"late": 1}] * 1_500
    patterns = {
        "eval": write(tmp_path / "a.gz", [*rows, {"late": 0, "carrier": b"UA"}]),
        "ood": write(tmp_path / "b.gz", [{"late": 1, "month": 3}]),
    }
    layout = reading.look(patterns, ["late", "carrier", "month"])
    assert {f.name for f in layout.schema.feature} == {"late", "carrier", "month"}


def test_large_examples_come_in_small_batches(tmp_path):
    rows = [{"late": 1, "image": b"x" * 2**20}] * 2
    layout = reading.look({"eval": write(tmp_path / "a.gz", rows)}, ["late"])
    assert 30 <= layout.batch_size <= 32


def test_a_feature_that_is_nowhere_is_named(tmp_path):
    patterns = {"eval": write(tmp_path / "a.gz", [{"late": 1, "x": 2}])}
    with pytest.raises(
        DataError, match="'tail' is in no example of split 'eval'; found"
    ):
        reading.look(patterns, ["late", "tail"])
