"""Plain values out of the output folder."""

import numpy as np
import pytest

from components.errors import DataError
from components.evaluator import results


def test_the_standard_error_is_the_jackknifes():
    data = np.random.default_rng(0).normal(size=20)
    replicates = np.array([np.delete(data, i).mean() for i in range(20)])
    estimate = results.Estimate(data.mean(), replicates)
    # The jackknife of a mean is its textbook standard error.
    expected = data.std(ddof=1) / np.sqrt(20)
    assert estimate.standard_error == pytest.approx(expected, rel=1e-12)


def test_an_undefined_replicate_makes_it_nan():
    replicates = np.array([0.5, np.nan, 0.6])
    assert np.isnan(results.Estimate(0.5, replicates).standard_error)


def test_names_are_those_of_the_summary():
    def name(*pairs):
        return results.SliceResult("eval", pairs, "candidate", 1, 0, {}, ()).name

    assert name() == "overall"
    assert name(("environment", "EWR")) == "environment=EWR"
    assert name(("environment", "EWR"), ("carrier", "UA")) == (
        "environment=EWR,carrier=UA"
    )


def test_a_folder_without_evaluation_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no Split-<name> folder"):
        results.load_results(str(tmp_path))
    with pytest.raises(DataError, match="holds no evaluation"):
        results.load_results(str(tmp_path / "absent"))
    (tmp_path / "Split-eval").mkdir()
    with pytest.raises(DataError, match="eval_config.json is missing"):
        results.load_results(str(tmp_path))
