"""Small slices give up their values for `other`."""

import json

import numpy as np
import pytest

from components.errors import DataError
from components.evaluator import pooling

COUNTS = json.dumps(
    {
        "slices": {
            "eval": {
                '["environment"]': [[["EWR"], 5], [["JFK"], 900]],
                '["carrier"]': [[["HA"], 50], [["UA"], 300]],
                '["carrier", "environment"]': [
                    [["HA", "JFK"], 50],
                    [["UA", "EWR"], 5],
                    [["UA", "JFK"], 295],
                ],
                '["month"]': [[["1"], 300], [["2"], 6]],
            },
            "ood": {'["carrier"]': [[["HA"], 400]]},
        }
    }
)
CROSS = ("environment", "carrier")


def kept(split, *slices, minimum=200, counts=(COUNTS,)):
    return pooling.kept_slices(counts, split, slices, "environment", minimum)


def test_values_with_too_few_examples_are_pooled_in_their_split():
    found = kept("eval", ("carrier",))
    assert pooling.pool((b"UA",), ("carrier",), found, "environment") == (b"UA",)
    assert pooling.pool((b"HA",), ("carrier",), found, "environment") == ("other",)
    assert pooling.pool((b"ZZ",), ("carrier",), found, "environment") == ("other",)
    there = kept("ood", ("carrier",))
    assert pooling.pool((b"HA",), ("carrier",), there, "environment") == (b"HA",)


def test_a_cross_is_pooled_by_its_own_counts_and_keeps_its_environment():
    found = kept("eval", CROSS)
    assert pooling.pool(("JFK", "UA"), CROSS, found, "environment") == ("JFK", "UA")
    assert pooling.pool(("EWR", "UA"), CROSS, found, "environment") == ("EWR", "other")


def test_an_environment_is_never_pooled():
    found = kept("eval", ("environment",), ())
    assert pooling.pool(("EWR",), ("environment",), found, "environment") == ("EWR",)


def test_counts_of_several_artifacts_add_up():
    found = kept("eval", ("carrier",), minimum=100, counts=(COUNTS, COUNTS))
    assert found == {("carrier",): frozenset({("HA",), ("UA",)})}


def test_numbers_are_matched_as_the_counts_write_them():
    found = kept("eval", ("month",))
    assert pooling.pool((1,), ("month",), found, "environment") == (1,)
    assert pooling.pool((2,), ("month",), found, "environment") == ("other",)
    assert pooling.text(np.float32(0.1)) == str(0.1)
    assert pooling.text(float(np.float32(0.1))) == str(0.1)
    assert pooling.text(2.0) == str(2.0)


def test_nothing_is_pooled_at_zero():
    assert kept("eval", ("tail",), minimum=0, counts=("{}",)) is None
    assert pooling.pool((b"x",), ("tail",), None, "environment") == (b"x",)


def test_counts_that_say_nothing_are_an_error():
    with pytest.raises(DataError, match=r"nothing of slice \['tail'\] in split 'eval'"):
        kept("eval", ("tail",))
