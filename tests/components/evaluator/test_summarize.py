"""Which examples are in which slice."""

import numpy as np

from components.evaluator import statistics as st
from components.evaluator.summarize import Batch, Slicing, concatenate, merge, summarize


def objects(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def batch(values, models=("candidate",)):
    n = len(next(iter(values.values())))
    return Batch(
        labels=np.arange(n) % 2.0,
        weights=np.ones(n),
        blocks=np.arange(n) % 20,
        predictions={m: np.linspace(0.1, 0.9, n, dtype=np.float32) for m in models},
        values=values,
    )


def counts(summary, model="candidate"):
    return {
        key: round(models[model].blocks[:, st.EXAMPLES].sum())
        for key, models in summary.items()
    }


AIRPORT = objects([b"EWR", b"JFK", b"EWR", b"EWR", b"JFK"])
CARRIER = objects([b"UA", b"B6", None, b"B6", b"UA"])


def test_slices_and_their_crosses():
    slices = ((), ("airport",), ("carrier",), ("carrier", "airport"))
    found = summarize(
        batch({"airport": AIRPORT, "carrier": CARRIER}),
        Slicing(slices, None, "airport"),
    )
    assert counts(found) == {
        (): 5,
        (("airport", "EWR"),): 3,
        (("airport", "JFK"),): 2,
        (("carrier", "UA"),): 2,
        (("carrier", "B6"),): 2,
        (("airport", "EWR"), ("carrier", "UA")): 1,
        (("airport", "EWR"), ("carrier", "B6")): 1,
        (("airport", "JFK"), ("carrier", "UA")): 1,
        (("airport", "JFK"), ("carrier", "B6")): 1,
    }


def test_pooled_values_become_one_slice():
    carrier = objects([b"UA", b"HA", b"OO", b"UA", b"HA"])
    kept = {("carrier",): frozenset({("UA",)})}
    found = summarize(
        batch({"carrier": carrier}), Slicing((("carrier",),), kept, "airport")
    )
    assert counts(found) == {(("carrier", "UA"),): 2, (("carrier", "other"),): 3}


def test_numbers_stay_numbers():
    values = {"month": np.array([1, 2, 1])}
    found = summarize(batch(values), Slicing((("month",),), None, "airport"))
    assert counts(found) == {(("month", 1),): 2, (("month", 2),): 1}


def test_a_feature_that_is_missing_everywhere_makes_no_slice():
    values = {"carrier": objects([None, None])}
    found = summarize(batch(values), Slicing(((), ("carrier",)), None, "airport"))
    assert counts(found) == {(): 2}


def test_models_are_summed_apart_on_the_same_rows_and_blocks():
    whole = batch({"airport": AIRPORT}, models=("candidate", "baseline"))
    whole.predictions["baseline"][:] = 0.25
    found = summarize(whole, Slicing(((),), None, "airport"))[()]
    np.testing.assert_array_equal(
        found["candidate"].blocks[:, : st.PREDICTION],
        found["baseline"].blocks[:, : st.PREDICTION],
    )
    assert found["baseline"].fine.keys.tolist() == [2_501]


def test_batches_come_together():
    one = batch({"airport": AIRPORT})
    slicing = Slicing(((), ("airport",)), None, "airport")
    together = summarize(concatenate([one, one]), slicing)
    apart = summarize(one, slicing)
    for key, models in together.items():
        merged = merge([apart[key], apart[key]])["candidate"]
        np.testing.assert_array_equal(merged.blocks, models["candidate"].blocks)
        np.testing.assert_array_equal(merged.fine.sums, models["candidate"].fine.sums)
