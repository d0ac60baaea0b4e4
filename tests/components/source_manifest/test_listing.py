"""Listing and fingerprints of sources."""

import pytest

from components.errors import DataError
from components.source_manifest import listing


def source(path, pattern="*.csv"):
    return {
        "environment": "EWR",
        "format": "csv",
        "patterns": [str(path / pattern)],
        "held_out": False,
    }


def test_lists_sorted_and_once(tmp_path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text("x\n1\n")
    entry = source(tmp_path)
    entry["patterns"].append(str(tmp_path / "a*"))
    files = listing.build_manifest([entry])
    assert [f.path for f in files] == [str(tmp_path / n) for n in ("a.csv", "b.csv")]
    assert listing.from_json(listing.to_json(files)) == files


def test_one_changed_byte_of_the_same_size_changes_the_fingerprint(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    before = listing.fingerprint(listing.build_manifest([source(tmp_path)]))
    same = listing.fingerprint(listing.build_manifest([source(tmp_path)]))
    path.write_text("x\n2\n")
    after = listing.fingerprint(listing.build_manifest([source(tmp_path)]))
    assert before == same != after


def test_pattern_that_matches_nothing(tmp_path):
    with pytest.raises(DataError, match=r"environment 'EWR': no file matches .*x\*'"):
        listing.build_manifest([source(tmp_path, "x*")])
