"""`preprocessing_fn` for Transform: from raw columns to the features of features.py.

What counts as missing: an absent value, the empty string, a number that is not finite,
and the smallest int64 (the `raw` signature has no other way to say it). Of a column
with several values in a row only the first is read, unless it is a dense vector.

Few analysers keep Transform fast: all z-scores share one mean and one variance, taken
over the training split's values that are not missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from trainer_module.features import (
    ENVIRONMENT,
    LABEL,
    WEIGHT,
    Column,
    Plan,
    feature_name,
    make_plan,
)
from trainer_module.keras3 import tft
from trainer_module.settings import Columns, FeatureSettings

MISSING = {
    tf.string: "",
    tf.int64: tf.int64.min,
    tf.float32: float("nan"),
}
# A column whose deviation is below this share of its mean is constant but for rounding.
_CONSTANT = 1e-9

# TFT divides 0 by 0 where a batch has no value of a column, and mends it right after.
warnings.filterwarnings(
    "ignore", "invalid value", RuntimeWarning, "tensorflow_transform.analyzers"
)

RawTensor: TypeAlias = "tf.Tensor | tf.SparseTensor"


def preprocessing_fn(
    inputs: Mapping[str, RawTensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Transforms raw columns.

    Args:
      inputs: every column of the schema: [B] or [B, n] tensors for those that are
        always there, sparse ones for those that may be missing.
      custom_config: the Trainer's; the keys label, weight, environment, environments,
        exclude and features are read.

    Returns:
      The features that `features.py` lists, with label, weight and environment id.

    Raises:
      ValueError: a column is missing, or can't be what the config says that it is.
    """
    columns = Columns.from_config(custom_config)
    settings = FeatureSettings.from_config(custom_config.get("features"))
    schema = {name: Column.from_tensor(tensor) for name, tensor in inputs.items()}
    plan = make_plan(settings, columns, schema)
    return {
        **_passed_through(inputs, columns),
        **_numeric(inputs, plan),
        **_dense(inputs, plan),
        **_indicators(inputs, plan),
        **_categorical(inputs, plan, settings),
        **_bucketized(inputs, plan),
    }


def first_values(tensor: RawTensor) -> tf.Tensor:
    """One value a row, [B]; where there is none, the dtype's entry in `MISSING`."""
    if isinstance(tensor, tf.Tensor):
        return tf.reshape(tensor, [-1])
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.to_sparse()
    first = tf.equal(tensor.indices[:, 1], 0)
    alone = tf.SparseTensor(
        indices=tf.boolean_mask(tensor.indices, first),
        values=tf.boolean_mask(tensor.values, first),
        dense_shape=tf.stack([tensor.dense_shape[0], 1]),
    )
    filled = tf.sparse.to_dense(alone, default_value=MISSING[tensor.dtype])
    return tf.reshape(filled, [-1])


def is_missing(values: tf.Tensor) -> tf.Tensor:
    """[B] bool: where the values hold the mark for a missing one."""
    if values.dtype.is_floating:
        return tf.logical_not(tf.math.is_finite(values))
    return tf.equal(values, MISSING[values.dtype])


def _numbers(tensor: RawTensor) -> tf.Tensor:
    """[B] float64, NaN where missing. In float64 also large ints keep their digits."""
    values = first_values(tensor)
    nan = tf.constant(float("nan"), tf.float64)
    return tf.where(is_missing(values), nan, tf.cast(values, tf.float64))


def _numeric(inputs: Mapping[str, RawTensor], plan: Plan) -> dict[str, tf.Tensor]:
    """Z-scores. A missing value takes the mean, 0; so does a constant column."""
    if not plan.numeric:
        return {}
    stacked = tf.stack([_numbers(inputs[name]) for name in plan.numeric], axis=1)
    mean = tft.mean(stacked, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(stacked, reduce_instance_dims=False))
    varies = deviation > _CONSTANT * tf.abs(mean)
    scores = (stacked - mean) / tf.where(varies, deviation, 1.0)
    usable = tf.math.is_finite(scores) & varies
    scores = tf.cast(tf.where(usable, scores, 0.0), tf.float32)
    return {
        feature_name("numeric", name): scores[:, index : index + 1]
        for index, name in enumerate(plan.numeric)
    }


def _dense(inputs: Mapping[str, RawTensor], plan: Plan) -> dict[str, tf.Tensor]:
    """Vectors as float32; rows that are missing or not finite become 0."""
    outputs = {}
    for name, size in plan.dense.items():
        tensor = inputs[name]
        if isinstance(tensor, tf.RaggedTensor):
            tensor = tensor.to_sparse()
        if isinstance(tensor, tf.SparseTensor):
            shape = tf.stack([tensor.dense_shape[0], size])
            tensor = tf.sparse.to_dense(tf.sparse.reset_shape(tensor, shape))
        missing = is_missing(tensor)
        values = tf.where(missing, 0.0, tf.cast(tensor, tf.float32))
        outputs[feature_name("dense", name)] = tf.reshape(values, [-1, size])
    return outputs


def _indicators(inputs: Mapping[str, RawTensor], plan: Plan) -> dict[str, tf.Tensor]:
    """1 where a column that may be missing is."""
    outputs = {}
    for name in plan.indicators:
        missing = is_missing(first_values(inputs[name]))
        outputs[feature_name("missing", name)] = tf.cast(missing, tf.float32)[
            :, tf.newaxis
        ]
    return outputs


def _categorical(
    inputs: Mapping[str, RawTensor], plan: Plan, settings: FeatureSettings
) -> dict[str, tf.Tensor]:
    """Ids: 0 missing, then the vocabulary by frequency, then out of vocabulary."""
    outputs = {}
    for name in plan.categorical:
        values = first_values(inputs[name])
        missing = is_missing(values)
        if values.dtype != tf.string:
            values = tf.strings.as_string(values)
        vocabulary = tft.vocabulary(
            tf.boolean_mask(values, tf.logical_not(missing)),
            top_k=settings.vocabulary_size,
            vocab_filename=feature_name("categorical", name),
        )
        ids = tft.apply_vocabulary(
            values, vocabulary, num_oov_buckets=settings.oov_buckets
        )
        ids = tf.where(missing, tf.zeros_like(ids), ids + 1)
        outputs[feature_name("categorical", name)] = ids[:, tf.newaxis]
    return outputs


def _bucketized(inputs: Mapping[str, RawTensor], plan: Plan) -> dict[str, tf.Tensor]:
    """Ids: 0 missing, then the buckets between the quantiles."""
    outputs = {}
    for name, count in plan.bucketized.items():
        values = tf.cast(_numbers(inputs[name]), tf.float32)
        missing = is_missing(values)
        buckets = tf.cast(tft.bucketize(values, count), tf.int64)
        buckets = tf.clip_by_value(buckets, 0, count - 1) + 1
        buckets = tf.where(missing, tf.zeros_like(buckets), buckets)
        outputs[feature_name("bucket", name)] = buckets[:, tf.newaxis]
    return outputs


def _passed_through(
    inputs: Mapping[str, RawTensor], columns: Columns
) -> dict[str, tf.Tensor]:
    """Label, weight and environment id; the serving signatures know none of them."""
    for name in (columns.label, columns.weight, columns.environment):
        if name is not None and name not in inputs:
            raise ValueError(
                f"Column {name!r} (label, weight or environment) is not in the "
                f"examples: they have {', '.join(sorted(inputs))}"
            )
    label = tf.cast(_numbers(inputs[columns.label]), tf.float32)
    outputs = {
        LABEL: label[:, tf.newaxis],
        ENVIRONMENT: _environment_ids(inputs[columns.environment], columns),
    }
    if columns.weight is not None:
        weight = tf.cast(_numbers(inputs[columns.weight]), tf.float32)
        outputs[WEIGHT] = weight[:, tf.newaxis]
    return outputs


def _environment_ids(tensor: RawTensor, columns: Columns) -> tf.Tensor:
    """[B, 1] int64: the index in the static table of environments, -1 for others."""
    names = first_values(tensor)
    if names.dtype != tf.string:
        names = tf.strings.as_string(names)
    ids = tf.range(len(columns.environments), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(columns.environments), ids),
        default_value=-1,
    )
    return table.lookup(names)[:, tf.newaxis]
