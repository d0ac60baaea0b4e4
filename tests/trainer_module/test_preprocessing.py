"""Transformed features against NumPy, on rows made by hand."""

import numpy as np
import pytest
import tensorflow as tf

from trainer_module.preprocessing import preprocessing_fn
from trainer_module.transform_graph import TransformGraph


@pytest.fixture(scope="module")
def graph(sample):
    return TransformGraph.open(sample.transform, sample.config)


@pytest.fixture(scope="module")
def transform(graph, sample):
    def transform(rows):
        raw = tf.io.parse_example(sample.encode(rows), graph.training_spec)
        return {name: value.numpy() for name, value in graph.apply(raw).items()}

    return transform


@pytest.fixture(scope="module")
def transformed(transform, sample):
    return transform(sample.rows)


def column(rows, name, missing=np.nan):
    return np.array([row.get(name, [missing])[0] for row in rows])


@pytest.mark.parametrize("name", ["distance", "hours per week", "gust", "seats"])
def test_numbers_become_z_scores_and_missing_ones_the_mean(sample, transformed, name):
    values = column(sample.rows, name).astype(np.float64)
    expected = (values - np.nanmean(values)) / np.nanstd(values)
    expected[np.isnan(values)] = 0.0
    output = transformed[f"numeric_{name.replace(' ', '_')}"]
    np.testing.assert_allclose(output[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["flat", "never"])
def test_columns_without_variance_are_zero_everywhere(transform, transformed, name):
    np.testing.assert_array_equal(transformed[f"numeric_{name}"], 0.0)
    unseen = transform([{name: [1e6]}])
    np.testing.assert_array_equal(unseen[f"numeric_{name}"], 0.0)


def test_only_columns_that_may_be_missing_have_indicators(sample, transformed):
    indicators = {name for name in transformed if name.startswith("missing_")}
    optional = {"missing_gust", "missing_seats", "missing_never", "missing_patch"}
    assert indicators == optional
    for name in ("gust", "seats", "never", "patch"):
        expected = [[float(name not in row)] for row in sample.rows]
        np.testing.assert_array_equal(transformed[f"missing_{name}"], expected)


def test_vocabulary_is_ordered_by_frequency_and_cut_at_its_size(sample, transformed):
    carriers = column(sample.rows, "carrier")
    names, counts = np.unique(carriers, return_counts=True)
    assert len(set(counts)) == 4  # no ties, so that the order is one
    kept = names[np.argsort(-counts)][:3].tolist()
    expected = [kept.index(name) + 1 if name in kept else 4 for name in carriers]
    np.testing.assert_array_equal(transformed["categorical_carrier"][:, 0], expected)


def test_missing_and_unknown_categories_have_ids_of_their_own(transform):
    rows = [{}, {"maker": [b""]}, {"maker": [b"never seen"]}, {"code": [70]}]
    outputs = transform(rows)
    # Two makers, so 1 and 2 are known, 3 is out of vocabulary and 0 is missing.
    assert outputs["categorical_maker"][:, 0].tolist() == [0, 0, 3, 0]
    assert outputs["categorical_code"][:3, 0].tolist() == [0, 0, 0]
    assert outputs["categorical_code"][3, 0] in (1, 2)


def test_buckets_hold_equal_shares_and_missing_is_zero(sample, transformed):
    times = column(sample.rows, "time")
    buckets = transformed["bucket_time"][:, 0]
    np.testing.assert_array_equal(buckets == 0, np.isnan(times))
    shares = np.bincount(buckets, minlength=5)[1:] / np.sum(buckets > 0)
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
    assert all(
        times[buckets == low].max() <= times[buckets == low + 1].min()
        for low in (1, 2, 3)
    )


def test_dense_vectors_pass_and_missing_ones_are_zero(sample, transformed):
    expected = np.array([row["pixels"] for row in sample.rows], np.float32)
    np.testing.assert_array_equal(transformed["dense_pixels"], expected)
    expected = [row.get("patch", [0.0, 0.0]) for row in sample.rows]
    np.testing.assert_array_equal(transformed["dense_patch"], expected)


def test_label_weight_and_environment(transform, sample, transformed):
    for name, output in (("late", "label"), ("importance", "weight")):
        np.testing.assert_array_equal(
            transformed[output][:, 0], column(sample.rows, name)
        )
    names = column(sample.rows, "environment")
    np.testing.assert_array_equal(
        transformed["environment_id"][:, 0], np.where(names == b"north", 0, 1)
    )
    unknown = transform([{"environment": [b"held out"]}, {}])
    assert unknown["environment_id"][:, 0].tolist() == [-1, -1]


def test_columns_that_serving_lacks_count_as_missing(transform, sample):
    mean_row = {"distance": [float(np.mean(column(sample.rows, "distance")))]}
    empty, mean = (
        {name: value[index] for name, value in transform([{}, mean_row]).items()}
        for index in (0, 1)
    )
    assert empty["numeric_distance"] == 0.0
    assert mean["numeric_distance"] == pytest.approx(0.0, abs=1e-5)
    assert empty["missing_gust"] == 1.0
    assert empty["categorical_carrier"] == 0
    assert empty["bucket_time"] == 0


def test_nothing_transformed_is_ever_nan(graph, transform):
    strange = {
        "distance": [float("nan")],
        "gust": [float("inf")],
        "hours per week": [tf.int64.min],
        "pixels": [float("nan"), 1.0, 2.0],
        "time": [float("nan")],
    }
    outputs = transform([strange])
    features = [feature.name for feature in graph.features]
    assert all(np.isfinite(outputs[name]).all() for name in features)
    assert outputs["numeric_distance"] == outputs["numeric_hours_per_week"] == 0.0
    assert outputs["missing_gust"] == 1.0
    assert outputs["bucket_time"] == 0


def test_features_can_be_computed_without_label_and_environment(graph, sample):
    raw = tf.io.parse_example(sample.encode(sample.rows[:2]), graph.feature_spec)
    outputs = graph.apply(raw)
    assert {feature.name for feature in graph.features} <= set(outputs)
    assert not {"label", "weight", "environment_id"} & set(outputs)


def test_a_column_that_is_not_there_is_named(sample):
    inputs = {"distance": tf.zeros([1, 1]), "environment": tf.constant([["north"]])}
    config = {**sample.config, "features": {"numeric": ["distance"]}}
    with pytest.raises(ValueError, match="'late'.*distance, environment"):
        preprocessing_fn(inputs, config)


def test_the_excluded_column_is_no_input_of_the_model(graph):
    assert "known too late" in graph.output.raw_feature_spec()
    assert "known too late" not in graph.training_spec
