"""Our encoder against protocol buffers' own and tfx_bsl's."""

from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx_bsl.coders import example_coder

from components.multi_env_example_gen import encoding

KINDS = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.binary(): st.binary(max_size=300),
}
# tfx_bsl ends a name at its first NUL.
NAMES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=200
)


@st.composite
def batches(draw):
    rows = draw(st.integers(0, 6))
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    columns = []
    for _ in names:
        kind = draw(st.sampled_from(list(KINDS)))
        values = st.lists(KINDS[kind], min_size=1, max_size=draw(st.integers(1, 4)))
        cells = st.lists(st.none() | values, min_size=rows, max_size=rows)
        columns.append(pa.array(draw(cells), pa.list_(kind)))
    return pa.RecordBatch.from_arrays(columns, names)


def expected(batch):
    """The rows by protocol buffers alone."""
    rows = []
    for i in range(batch.num_rows):
        example = tf.train.Example()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            feature = example.features.feature[name]
            lists = {
                pa.int64(): feature.int64_list,
                pa.float32(): feature.float_list,
                pa.binary(): feature.bytes_list,
            }
            values = column[i].as_py()
            if values is not None:
                lists[column.type.value_type].value.extend(values)
        rows.append(example)
    return rows


@settings(deadline=None, max_examples=200)
@given(batches())
def test_every_row_reads_back(batch):
    found = [
        tf.train.Example.FromString(row) for row in encoding.encode(batch).to_pylist()
    ]
    assert [str(one) for one in found] == [str(one) for one in expected(batch)]


@settings(deadline=None, max_examples=50)
@given(batches())
def test_with_one_column_the_bytes_are_those_of_protocol_buffers(batch):
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        one = pa.RecordBatch.from_arrays([column], [name])
        wanted = [example.SerializeToString() for example in expected(one)]
        assert encoding.encode(one).to_pylist() == wanted


@settings(deadline=None, max_examples=50)
@given(batches())
def test_tfx_bsl_writes_the_same_but_for_the_order(batch):
    if not batch.num_columns or not batch.num_rows:
        return
    theirs = example_coder.RecordBatchToExamplesEncoder().encode(batch)
    for ours, other in zip(encoding.encode(batch).to_pylist(), theirs, strict=True):
        assert len(ours) == len(other)
        found, wanted = map(tf.train.Example.FromString, (ours, other))
        assert str(found) == str(wanted)


@settings(deadline=None, max_examples=50)
@given(batches(), st.data())
def test_a_slice_gives_the_bytes_of_the_whole(batch, data):
    start = data.draw(st.integers(0, batch.num_rows))
    whole = encoding.encode(batch).to_pylist()
    assert (
        encoding.encode(batch.slice(start, 3)).to_pylist() == whole[start : start + 3]
    )


@settings(deadline=None, max_examples=200)
@given(batches())
def test_entries_by_distinct_value_are_the_same(batch):
    plain = encoding.encode(batch).to_pylist()
    with mock.patch.object(encoding, "_FEW", 0):
        assert encoding.encode(batch).to_pylist() == plain


def test_few_values_in_many_rows_keep_their_bits():
    bits = np.array([0x7FC00000, 0x7FC00001, 0x80000000, 0, 0x3F800000], np.uint32)
    present = np.arange(500) % 7 > 0
    numbers = pa.array(np.tile(bits, 100)[present].view(np.float32))
    starts = np.concatenate([[0], np.cumsum(present)]).astype(np.int32)
    mask = np.append(~present, False)
    column = pa.ListArray.from_arrays(pa.array(starts, mask=mask), numbers)
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    whole = encoding.encode(batch).to_pylist()
    assert len(set(whole)) == 6
    one_by_one = [encoding.encode(batch.slice(i, 1))[0].as_py() for i in range(500)]
    assert whole == one_by_one


def test_long_values_and_long_lists_read_back():
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([[b"x" * 10_000_000], [b""], None], pa.list_(pa.binary())),
            pa.array([[1.5] * 100_000, None, [2.5]], pa.list_(pa.float32())),
            pa.array([[7], list(range(100_000)), [-1]], pa.list_(pa.int64())),
        ],
        ["text", "numbers", "ids"],
    )
    found = [
        tf.train.Example.FromString(row) for row in encoding.encode(batch).to_pylist()
    ]
    assert [str(one) for one in found] == [str(one) for one in expected(batch)]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**62, 2**63 - 1])
def test_varints_of_one_and_of_many_agree(number):
    data, sizes = encoding.varints(np.array([number, number], np.int64))
    assert data.tobytes() == 2 * encoding.varint(number)
    assert sizes.tolist() == [len(encoding.varint(number))] * 2
