"""Bundles become summaries; errors come back as they were raised."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from components.errors import DataError
from components.evaluator import evaluation, settings, summarize
from components.evaluator import statistics as st


def summarized(options=None, **features):
    options = options or settings.Options(label="late")
    rows = len(features["late"])
    slicing = summarize.Slicing(((),), None, "environment")
    fn = evaluation._SummarizeDoFn(options, {"candidate": "p"}, slicing, "eval")
    extracts = {
        tfma.FEATURES_KEY: features,
        tfma.INPUT_KEY: np.array([b"%d" % i for i in range(rows)], dtype=object),
        tfma.PREDICTIONS_KEY: {"p": np.full((rows, 1), 0.25, np.float32)},
    }
    fn.start_bundle()
    assert list(fn.process(extracts)) == []
    return [value.value for value in fn.finish_bundle()]


def test_a_bundle_ends_in_one_summary_a_slice():
    ((key, models),) = summarized(late=np.array([0, 1, 1]))
    assert key == ()
    totals = models["candidate"].blocks.sum(axis=0)
    assert totals[[st.EXAMPLES, st.POSITIVES, st.INVALID]].tolist() == [3, 2, 0]
    assert totals[[st.WEIGHT, st.LABEL, st.PREDICTION]].tolist() == [3.0, 2.0, 0.75]


def test_batches_are_checked_with_the_names_of_feature_and_split():
    with pytest.raises(DataError, match="label 'late' in split 'eval': found 2"):
        summarized(late=np.array([0, 2]))
    weighted = settings.Options(label="late", weight="w")
    with pytest.raises(DataError, match="weight 'w' in split 'eval': found -1.0"):
        summarized(weighted, late=np.array([0, 1]), w=np.array([1.0, -1.0]))


def test_a_data_error_loses_what_beam_added():
    raised = DataError("it is wrong [while running 'a']")
    assert str(evaluation.data_error(raised)) == "it is wrong"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x\nerrors.DataError: it is wrong [while running 'a']\n", "it is wrong"),
        ("DataError: it is wrong; mend it", "it is wrong; mend it"),
        ("ValueError: no", None),
    ],
)
def test_data_errors_are_found_in_what_runners_raise(text, sentence):
    found = evaluation.data_error(RuntimeError(text))
    assert (None if found is None else str(found)) == sentence
