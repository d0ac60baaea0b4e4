"""Values of parameters, where the stubs of the services have nothing to tell."""

import types

import pytest

from components.errors import DataError
from components.source_manifest import listing, matching
from pipeline import parameters

QUERY = {"environment": "EWR", "format": "bigquery", "patterns": ["SELECT 1"]}


@pytest.fixture
def made():
    data = types.SimpleNamespace(sources=[QUERY])
    return types.SimpleNamespace(config=types.SimpleNamespace(data=data))


@pytest.fixture
def lists(monkeypatch):
    """Decides what the sources are, or how listing them ends."""

    def decide(found):
        def build_manifest(sources):
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(listing, "build_manifest", build_manifest)

    return decide


def file(version):
    return listing.SourceFile(
        "EWR", "bigquery", "SELECT 1", 1, "d" * 32, version, False
    )


def told(made):
    lines = []
    return parameters.fingerprint(made, None, lines.append), lines


def test_a_query_that_differs_each_time_is_not_fingerprinted(made, lists):
    """The stage would find another digest, and refuse it as a change."""
    lists([file("")])
    assert told(made) == (listing.fingerprint([file("")]), [])
    lists([file("it calls RAND()")])
    found, (line,) = told(made)
    assert found == ""
    assert line.endswith("SourceManifest is run anew: it calls RAND()")


@pytest.mark.parametrize(
    "error",
    [
        matching.NoMatch("gs://a-bucket/none.csv", "EWR"),
        matching.NoSpan("wants none of what matches", "EWR"),
    ],
)
def test_what_would_end_the_job_ends_it_here(made, lists, error):
    lists(error)
    with pytest.raises(type(error)):
        told(made)


@pytest.mark.parametrize(
    "error",
    [
        matching.NoMatch("/a/volume/none.csv", "EWR"),
        DataError("gs://a-bucket cannot be listed"),
    ],
)
def test_what_only_this_machine_cannot_see_is_told_in_a_line(made, lists, error):
    lists(error)
    found, (line,) = told(made)
    assert (found, str(error) in line) == ("", True)
