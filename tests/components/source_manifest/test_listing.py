"""Listing and fingerprints of sources."""

import glob
import json
import os

import pytest
from tfx.orchestration.portable import data_types

from components import artifacts
from components.errors import DataError
from components.source_manifest import component, executor, listing, matching


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


def of_spans(pattern, wanted=None):
    """A source with spans."""
    return {
        "environment": "EWR",
        "format": "csv",
        "patterns": [str(pattern)],
        "held_out": False,
        "spans": wanted or {},
    }


def write(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"x\n{path}\n")


def taken(source):
    return {
        os.path.basename(file.path): file.span
        for file in listing.build_manifest([source])
    }


class TestSpans:
    def test_files_and_spans_are_in_the_manifest(self, tmp_path):
        write(tmp_path, "2024-03-01/a.csv", "2024-03-02/b.csv", "2024-13-45/c.csv")
        write(tmp_path, "2024-03-02/d.txt", "today/e.csv")
        source = of_spans(tmp_path / "{YYYY}-{MM}-{DD}/*.csv", {"last": 7})
        assert taken(source) == {"a.csv": "2024-03-01", "b.csv": "2024-03-02"}
        files = listing.build_manifest([source])
        assert listing.from_json(listing.to_json(files)) == files
        assert listing.tell_spans(files) == "EWR: spans 2024-03-01 to 2024-03-02"

    def test_a_second_look_finds_the_new_day(self, tmp_path):
        source = of_spans(tmp_path / "{YYYY}-{MM}-{DD}/*.csv")
        write(tmp_path, "2024-03-01/a.csv")
        assert taken(source) == {"a.csv": "2024-03-01"}
        (tmp_path / "2024-03-02").mkdir()
        assert taken(source) == {"a.csv": "2024-03-01"}
        write(tmp_path, "2024-03-02/b.csv")
        assert taken(source) == {"b.csv": "2024-03-02"}

    def test_the_fingerprint_changes_with_what_is_taken_only(self, tmp_path):
        source = of_spans(tmp_path / "{SPAN}/v{VERSION}/*.csv", {"last": 2})

        def now():
            return listing.fingerprint(listing.build_manifest([source]))

        write(tmp_path, *(f"{span}/v1/a.csv" for span in (1, 2, 3)))
        seen = [now()]
        write(tmp_path, "1/v2/a.csv", "0/v1/a.csv", "3/v0/a.csv", "soon/v1/a.csv")
        assert now() == seen[0]
        for path in ("4/v1/a.csv", "3/v2/a.csv", "4/v1/b.csv"):
            write(tmp_path, path)
            seen.append(now())
        assert len(set(seen)) == 4

    def test_folders(self, tmp_path):
        write(tmp_path, "2024/03/01/a.csv", "2024/03/02/k=1/b.csv", "2024/03/02/_c")
        write(tmp_path, "2024/13/45")
        source = of_spans(tmp_path / "{YYYY}/{MM}/{DD}", {"last": 2})
        assert taken(source) == {"a.csv": "2024-03-01", "b.csv": "2024-03-02"}
        listed = listing.list_files(source)[str(tmp_path / "2024/03/02/k=1/b.csv")]
        assert listed.options == {"partitions": {"k": 1}}

    def test_names_with_characters_of_patterns(self, tmp_path):
        folder = tmp_path / "a [1]+(b).{SPAN}"
        write(folder, "7/x y.csv", "7/[z].csv")
        escaped = glob.escape(str(folder)).replace("{", "[{]")
        assert taken(of_spans(f"{escaped}/{{SPAN}}/*")) == {"x y.csv": 7, "[z].csv": 7}

    def test_patterns_share_their_spans(self, tmp_path):
        write(tmp_path, "a/1/a1", "a/2/a2", "a/3/a3", "b/01/b1", "b/02/b2")
        source = of_spans(tmp_path / "a/{SPAN}/*", {"last": 2})
        source["patterns"].append(str(tmp_path / "b/{SPAN:2}/*"))
        assert taken(source) == {"a2": 2, "a3": 3, "b2": 2}
        source["spans"] = {"last": 1}
        with pytest.raises(matching.NoSpan) as error:
            listing.list_files(source)
        assert str(error.value) == (
            "environment 'EWR': its key `spans` wants none of what matches"
            f" '{tmp_path}/b/{{SPAN:2}}/*', which has spans 1 to 2, but span 3 of its"
            " other paths; widen it, or wait for newer files"
        )

    def test_none_in_range(self, tmp_path):
        write(tmp_path, "3/a", "4/a")
        source = of_spans(tmp_path / "{SPAN}/*", {"from": 5})
        with pytest.raises(DataError, match=r"which has spans 3 to 4; widen it"):
            listing.build_manifest([source])

    def test_none_at_all(self, tmp_path):
        write(tmp_path, "2024-13-45/a")
        source = of_spans(tmp_path / "{YYYY}-{MM}-{DD}/*")
        with pytest.raises(matching.NoMatch, match=r"no file matches '.*\{DD\}/\*'"):
            listing.build_manifest([source])

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("memory://b/d-{SPAN}/v{VERSION:2}/*.csv", {"x.csv": 2}),
            ("memory://b/d-{SPAN}/v{VERSION:2}", {"x.csv": 2, "y": 2}),
            ("memory://b/d-{SPAN}/v{VERSION:2}/", {"x.csv": 2, "y": 2}),
            ("memory://b/e/{YYYY}{MM}{DD}*.csv", {"20240301 [1].csv": "2024-03-01"}),
        ],
    )
    def test_urls(self, memory, pattern, names):
        folder = "memory://b/d-"
        for path in ("1/v01/x.csv", "2/v01/x.csv", "2/v10/x.csv", "2/v10/k=1/y"):
            memory[f"{folder}{path}"] = b"x\n1\n"
        memory[f"{folder}2/v10/_SUCCESS"] = b""
        memory["memory://b/e/20240301 [1].csv"] = b"x\n1\n"
        memory["memory://b/e/20240299 [1].csv"] = b"x\n1\n"
        assert taken(of_spans(pattern)) == names


def test_the_driver_notices_a_new_day(tmp_path):
    """What the cache is asked with, and what the stage then writes."""
    source = of_spans(tmp_path / "in/{YYYY}-{MM}-{DD}/*.csv", {"last": 2})
    sources = json.dumps([source])
    info = data_types.ExecutionInfo(exec_properties={"sources": sources})

    def asked():
        output = executor.Driver(None).run(info)
        return output.exec_properties["fingerprint"].string_value

    def written(folder):
        manifest = artifacts.SourceManifest()
        manifest.uri = str(tmp_path / folder)
        outputs = {executor.MANIFEST_KEY: [manifest]}
        executor.Executor().Do({}, outputs, {"sources": sources})
        files = json.loads((tmp_path / folder / "manifest.json").read_text())
        return manifest, [file["span"] for file in files]

    write(tmp_path, "in/2024-02-28/a.csv", "in/2024-02-29/a.csv")
    before = asked()
    assert asked() == before
    manifest, days = written("first")
    assert manifest.get_string_custom_property("fingerprint") == before
    assert days == ["2024-02-28", "2024-02-29"]
    write(tmp_path, "in/2024-03-01/a.csv")
    assert asked() != before
    manifest, days = written("second")
    assert days == ["2024-02-29", "2024-03-01"]
    told = manifest.get_string_custom_property("spans")
    assert told == "EWR: spans 2024-02-29 to 2024-03-01"


def test_the_component_refuses_spans_of_nothing():
    with pytest.raises(ValueError, match="has `spans`, and its pattern 'a' none"):
        component.SourceManifest([of_spans("a")])


def hive(tmp_path, *paths):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x\n1\n")
    found = listing.list_files(source(tmp_path, ""))
    return {
        path.removeprefix(f"{tmp_path}/"): one.options.get(listing.PARTITIONS)
        for path, one in found.items()
    }


def test_a_folder_is_all_its_files_but_hidden_ones(tmp_path):
    found = hive(tmp_path, "a.csv", "b/c.csv", "_SUCCESS", ".a.csv.crc", "b/_tmp/d.csv")
    assert found == {"a.csv": None, "b/c.csv": None}


def test_folders_of_hive_are_columns(tmp_path):
    found = hive(
        tmp_path,
        "year=2024/site=a%2Fb/x.csv",
        "year=2024/site=__HIVE_DEFAULT_PARTITION__/x.csv",
        "year=-7/site=12/x.csv",
    )
    assert found == {
        "year=2024/site=a%2Fb/x.csv": {"year": 2024, "site": "a/b"},
        "year=2024/site=__HIVE_DEFAULT_PARTITION__/x.csv": {"year": 2024, "site": None},
        "year=-7/site=12/x.csv": {"year": -7, "site": "12"},
    }


def test_a_pattern_that_matches_files_leaves_folders_alone(tmp_path):
    hive(tmp_path, "a.csv", "old/b.csv")
    found = listing.list_files(source(tmp_path, "*"))
    assert list(found) == [str(tmp_path / "a.csv")]
