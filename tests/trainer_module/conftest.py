"""Rows made by hand, as TFRecords, with the transform graph that they lead to."""

import copy
import dataclasses
import os
import types

import numpy as np
import pytest

from trainer_module.keras3 import tft  # first: settles Keras
from trainer_module.preprocessing import preprocessing_fn

import apache_beam as beam  # isort:skip
import tensorflow as tf  # isort:skip
import tensorflow_transform.beam as tft_beam  # isort:skip
from tensorflow_transform.tf_metadata import dataset_metadata  # isort:skip
from tensorflow_transform.tf_metadata import schema_utils  # isort:skip

SPECS = {
    "distance": tf.io.FixedLenFeature([1], tf.float32),
    "flat": tf.io.FixedLenFeature([1], tf.float32),
    "hours per week": tf.io.FixedLenFeature([1], tf.int64),
    "gust": tf.io.VarLenFeature(tf.float32),
    "seats": tf.io.VarLenFeature(tf.int64),
    "never": tf.io.VarLenFeature(tf.float32),
    "carrier": tf.io.FixedLenFeature([1], tf.string),
    "maker": tf.io.VarLenFeature(tf.string),
    "code": tf.io.FixedLenFeature([1], tf.int64),
    "time": tf.io.VarLenFeature(tf.float32),
    "pixels": tf.io.FixedLenFeature([3], tf.float32),
    "patch": tf.io.VarLenFeature(tf.float32),
    "known too late": tf.io.FixedLenFeature([1], tf.float32),
    "late": tf.io.FixedLenFeature([1], tf.int64),
    "importance": tf.io.FixedLenFeature([1], tf.float32),
    "environment": tf.io.FixedLenFeature([1], tf.string),
}

CONFIG = {
    "task": "binary",
    "label": "late",
    "weight": "importance",
    "environment": "environment",
    "environments": ["north", "south"],
    "exclude": ["known too late"],
    "features": {
        "numeric": ["distance", "flat", "hours per week", "gust", "seats", "never"],
        "categorical": ["carrier", "maker", "code"],
        "bucketized": {"time": 4},
        "dense": {"pixels": 3, "patch": 2},
        "vocabulary_size": 3,
        "oov_buckets": 1,
    },
    "methods": [{"name": "v_rex", "weight": 10.0}],
    "schedule": {"kind": "step", "anneal_steps": 10},
    "steps": 60,
    "batch_size": 32,
    "learning_rate": 0.01,
    "seed": 7,
    "log_every": 25,
    "model": {"hidden": [8], "embedding_dim": 2},
}

Row = dict[str, list]


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a Trainer gets, and the rows behind it."""

    rows: list[Row]
    transform: str
    train: str
    eval: str
    config: dict = dataclasses.field(default_factory=lambda: copy.deepcopy(CONFIG))

    @staticmethod
    def encode(rows: list[Row]) -> tf.Tensor:
        """Rows as serialized tf.Examples, [N] string."""
        return tf.constant([to_example(row) for row in rows])

    @staticmethod
    def write(rows: list[Row], path: str, compression: str = "GZIP") -> None:
        """Rows as a TFRecord."""
        write_examples(rows, path, compression)

    def fn_args(self, folder: str, **changes: object) -> types.SimpleNamespace:
        """What TFX hands to `run_fn`, with changes of the config."""
        return types.SimpleNamespace(
            custom_config=copy.deepcopy(CONFIG) | changes,
            train_files=[self.train],
            eval_files=[self.eval],
            transform_graph_path=self.transform,
            serving_model_dir=f"{folder}/model",
            model_run_dir=f"{folder}/run",
        )


def make_rows(count: int, seed: int) -> list[Row]:
    """Rows of two environments, two to one; some values are missing, some constant."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        distance = float(np.float32(random.normal(1000, 300)))
        late = int(distance + random.normal(0, 150) > 1000)
        row = {
            "distance": [distance],
            "flat": [0.1],
            "hours per week": [int(random.integers(0, 60))],
            "gust": [float(np.float32(random.gamma(2)))] if index % 3 else [],
            "seats": [int(random.integers(1, 400))] if index % 5 else [],
            "never": [],
            "carrier": [
                random.choice([b"UA", b"B6", b"AA", b"DL"], p=[0.4, 0.3, 0.2, 0.1])
            ],
            "maker": [random.choice([b"BOEING", b"AIRBUS"])] if index % 4 else [],
            "code": [int(random.choice([7, 70]))],
            "time": [float(random.integers(0, 2400))] if index % 6 else [],
            "pixels": [float(np.float32(value)) for value in random.uniform(size=3)],
            "patch": [1.0, 2.0] if index % 2 else [],
            "known too late": [float(late)],
            "late": [late],
            "importance": [0.5 if index % 7 == 0 else 1.0],
            "environment": [b"south" if index % 3 == 1 else b"north"],
        }
        rows.append({name: values for name, values in row.items() if values})
    return rows


def to_example(row: Row) -> bytes:
    """A serialized tf.Example."""
    features = {}
    for name, values in row.items():
        if SPECS[name].dtype == tf.string:
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif SPECS[name].dtype == tf.int64:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        features[name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def write_examples(rows: list[Row], path: str, compression: str = "GZIP") -> None:
    """Writes rows as a TFRecord."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path, compression) as writer:
        for row in rows:
            writer.write(to_example(row))


def run_transform(rows: list[Row], config: dict, folder: str) -> None:
    """Analyses rows in memory and writes what Transform would."""
    metadata = dataset_metadata.DatasetMetadata(
        schema_utils.schema_from_feature_spec(SPECS)
    )
    instances = [
        {name: np.array(row[name]) if name in row else None for name in SPECS}
        for row in rows
    ]
    with (
        tft_beam.Context(temp_dir=f"{folder}/tmp", use_deep_copy_optimization=False),
        beam.Pipeline() as pipeline,
    ):
        source = pipeline | beam.Create(instances)
        analysed = (source, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, config)
        )
        _ = analysed | tft_beam.WriteTransformFn(folder)
        raw_folder = f"{folder}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
        _ = metadata | tft_beam.WriteMetadata(raw_folder, pipeline)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """240 rows to train on, 90 to evaluate on, and their transform graph."""
    folder = tmp_path_factory.mktemp("sample")
    rows = make_rows(240, seed=1)
    write_examples(rows[:100], f"{folder}/Split-train/data-00000-of-00002.gz")
    write_examples(rows[100:], f"{folder}/Split-train/data-00001-of-00002.gz")
    write_examples(make_rows(90, seed=2), f"{folder}/Split-eval/data-00000-of-00001.gz")
    run_transform(rows, CONFIG, f"{folder}/transform")
    return Sample(
        rows=rows,
        transform=f"{folder}/transform",
        train=f"{folder}/Split-train/*",
        eval=f"{folder}/Split-eval/*",
    )
