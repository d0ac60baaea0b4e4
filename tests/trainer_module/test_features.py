"""Which column becomes what, and what is refused."""

import pytest
import tensorflow as tf

from trainer_module.features import (
    Column,
    Feature,
    argument_name,
    feature_name,
    make_features,
    make_plan,
)
from trainer_module.settings import Columns, FeatureSettings

COLUMNS = Columns("late", "importance", "environment", ("a", "b"), ("too late",))
SCHEMA = {
    "late": Column(tf.int64, optional=False),
    "importance": Column(tf.float32, optional=False),
    "environment": Column(tf.string, optional=False),
    "too late": Column(tf.float32, optional=False),
    "speed": Column(tf.float32, optional=True, size=None),
    "age": Column(tf.int64, optional=False),
    "carrier": Column(tf.string, optional=False),
    "pixels": Column(tf.float32, optional=False, size=4),
}


def plan(schema=SCHEMA, **features):
    return make_plan(FeatureSettings.from_config(features), COLUMNS, schema)


def test_without_names_the_dtypes_decide():
    derived = plan()
    assert derived.numeric == ("age", "speed")
    assert derived.categorical == ("carrier",)
    assert derived.dense == {"pixels": 4}
    assert derived.indicators == ("speed",)


def test_derivation_leaves_out_what_is_named_elsewhere():
    derived = plan(bucketized={"age": 5}, vocabulary_size=10)
    assert derived.numeric == ("speed",)
    assert derived.bucketized == {"age": 5}


def test_names_are_taken_as_they_are():
    named = plan(numeric=["age"])
    assert named.columns == ("age",)
    assert named.categorical == ()


def test_ids_count_missing_vocabulary_and_the_rest():
    settings = FeatureSettings.from_config({"oov_buckets": 2, "bucketized": {"age": 5}})
    features = make_features(
        make_plan(settings, COLUMNS, SCHEMA), settings, {"carrier": 7}
    )
    assert features == (
        Feature("numeric_speed"),
        Feature("missing_speed"),
        Feature("dense_pixels", width=4),
        Feature("categorical_carrier", cardinality=1 + 7 + 2),
        Feature("bucket_age", cardinality=1 + 5),
    )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"numeric": ["late"]}, "'late'.*label"),
        ({"numeric": ["too late"]}, "'too late'.*excluded"),
        ({"numeric": ["spede"]}, "'spede' is not a column.*age, carrier"),
        ({"numeric": ["carrier"]}, "'carrier' holds strings.*categorical"),
        ({"numeric": ["pixels"]}, "'pixels' holds 4 values.*dense"),
        ({"dense": {"pixels": 5}, "numeric": []}, "pixels is 5.*holds 4"),
        ({"numeric": [], "categorical": []}, "No column is left"),
    ],
)
def test_what_cannot_be_a_feature_is_named(features, message):
    with pytest.raises(ValueError, match=message):
        plan(**features)


def test_names_are_fit_for_keras_and_signatures():
    assert feature_name("numeric", "hours per week") == "numeric_hours_per_week"
    assert argument_name("a/b-c") == "a_b_c"
    assert argument_name("1st") == "arg_1st"
    schema = {"a b": Column(tf.float32, False), "a_b": Column(tf.float32, False)}
    with pytest.raises(ValueError, match="'a b' and 'a_b' would both be called 'a_b'"):
        plan(schema)


def test_columns_are_read_from_specs_and_from_tensors():
    assert Column.from_spec(tf.io.FixedLenFeature([4], tf.float32)) == SCHEMA["pixels"]
    assert Column.from_spec(tf.io.FixedLenFeature([], tf.int64)) == SCHEMA["age"]
    assert Column.from_spec(tf.io.VarLenFeature(tf.float32)) == SCHEMA["speed"]
    assert Column.from_tensor(tf.zeros([2, 4])) == SCHEMA["pixels"]
    assert Column.from_tensor(tf.zeros([2], tf.int64)) == SCHEMA["age"]
    assert Column.from_tensor(tf.sparse.from_dense(tf.ones([2, 1]))) == SCHEMA["speed"]
