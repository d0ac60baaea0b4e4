"""Splits by stable hash."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from components.multi_env_example_gen import splitting


def test_key_hash_does_not_depend_on_batch_or_order():
    keys = pa.array([5, 7, 5, 9, None])
    whole = splitting.key_hashes([keys])
    first, rest = keys.slice(0, 2), keys.slice(2)
    parts = np.concatenate([splitting.key_hashes([part]) for part in (first, rest)])
    np.testing.assert_array_equal(whole, parts)
    assert whole[0] == whole[2]
    assert len(set(whole.tolist())) == 4


def test_int_here_and_float_there_are_the_same_key():
    np.testing.assert_array_equal(
        splitting.key_hashes([pa.array([1, 2])]),
        splitting.key_hashes([pa.array([1.0, 2.0])]),
    )


def test_order_of_key_columns_matters_and_values_do_not_run_together():
    a, b = pa.array(["1", "12"]), pa.array(["12", "1"])
    first, second = splitting.key_hashes([a, b])
    assert first != second


def test_text_key_is_a_blake2b_digest_mixed_once():
    digest = hashlib.blake2b(b"abc", digest_size=8).digest()
    state = (int.from_bytes(digest, "little") + 0x9E3779B97F4A7C15) % 2**64
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    expected = state ^ (state >> 31)
    assert int(splitting.key_hashes([pa.array(["abc"])])[0]) == expected


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.5, None, -0.0, 0.0]),
        pa.array([True, None, False, False]),
        pa.array([[1], None, [2, 3], [2, 3]]),
        pa.nulls(4),
    ],
)
def test_any_column_can_be_part_of_a_row_hash(array):
    hashes = splitting.key_hashes([array])
    assert hashes[2] == hashes[3]
    assert (hashes[0] == hashes[1]) == (array.null_count == 4)


def test_every_value_of_a_list_counts_and_so_does_its_place():
    lists = [[1, 2, 3], [0, 2, 3], [3, 2, 1], [1, 2], [1, 2, 3, 3], [3], [1, 1], [2, 2]]
    hashes = splitting.key_hashes([pa.array(lists)]).tolist()
    assert len(set(hashes)) == len(lists)
    # Whichever rows are in the batch.
    sliced = splitting.key_hashes([pa.array([[9, 9], *lists, []]).slice(1, len(lists))])
    assert sliced.tolist() == hashes
    texts = [[str(value) for value in values] for values in lists]
    assert len(set(splitting.key_hashes([pa.array(texts)]).tolist())) == len(lists)


def test_a_list_of_one_is_its_value_and_an_empty_one_is_missing():
    flat = splitting.key_hashes([pa.array([1.5, None, None, -2.0])])
    lists = pa.array([[1.5], [], None, [-2.0]], pa.list_(pa.float32()))
    np.testing.assert_array_equal(splitting.key_hashes([lists]), flat)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_share_on_the_eval_side(fraction):
    hashes = splitting.key_hashes([pa.array(np.arange(40_000))])
    share = splitting.on_eval_side(hashes, fraction).mean()
    # Five standard deviations of a binomial share.
    assert abs(share - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / 40_000)
