"""What a dry run tells: the fingerprint, the columns, the errors."""

import pytest

from components import bigquery
from components.errors import DataError
from components.multi_env_example_gen import readers
from components.multi_env_example_gen.columns import Column
from components.source_manifest import component, listing

QUERY = "SELECT * FROM d.flights"
ROWS = [{"late": 1, "many": [1.5]}]


@pytest.fixture
def result(service):
    made = service.make(["late INTEGER", "many NUMERIC[]"], ROWS)
    service.results[QUERY] = made
    return made


def manifest(source):
    (file,) = listing.build_manifest([source])
    return listing.from_json(listing.to_json([file]))[0]


def test_a_query_is_one_source(service, source, result):
    file = manifest(source)
    assert (file.environment, file.format, file.path, file.size, file.version) == (
        "north",
        "bigquery",
        f"bigquery: {QUERY}",
        12_345_678,
        "",
    )
    assert manifest(source) == file
    listing.check_unchanged(file)
    assert set(service.asked) == {"dry run"}
    component.SourceManifest([source])


@pytest.mark.parametrize("key", ["lastModifiedTime", "creationTime", "numRows"])
def test_a_changed_table_is_another_fingerprint(service, source, result, key):
    file = manifest(source)
    service.tables["p.d.flights"][key] = "1700000005000"
    assert manifest(source).digest != file.digest
    with pytest.raises(DataError) as error:
        listing.check_unchanged(file)
    assert str(error.value) == (
        f"environment 'north': a table of 'bigquery: {QUERY}' has changed since the"
        " sources were listed; run again when nothing is written to it"
    )


def test_another_text_is_another_fingerprint(service, source, result):
    file = manifest(source)
    source["options"] = {**source["options"], "query": f"{QUERY} "}
    service.results[f"{QUERY} "] = result
    assert manifest(source).digest != file.digest


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"type": "VIEW"}, "reads from p.d.flights, of type VIEW"),
        ({"type": "EXTERNAL"}, "reads from p.d.flights, of type EXTERNAL"),
        (
            {"streamingBuffer": {"estimatedRows": "5"}},
            "reads from p.d.flights, which rows are being streamed into",
        ),
        (
            {"timePartitioning": {"type": "DAY", "expirationMs": "86400000"}},
            "reads from p.d.flights, of which old partitions expire",
        ),
        (None, "reads from p.d.flights, of which the last change cannot be asked"),
    ],
)
def test_what_tables_cannot_tell_is_never_cached(
    service, source, result, table, reason
):
    if table is None:
        service.tables["p.d.flights"] = service.refuse(403, "no", "accessDenied")
    else:
        service.tables["p.d.flights"].update(table)
    file = manifest(source)
    assert file.version == reason
    assert manifest(source).digest != file.digest
    listing.check_unchanged(file)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"routines": [{"routineId": "f"}]}, "calls a function that may change"),
        ({"tables": []}, "reads from no tables"),
        ({"tables": [f"p.d.t{i}" for i in range(50)]}, "reads from 50 tables"),
        ({"tables": ["p.d.other"]}, "reads from d.flights, which may be a view"),
    ],
)
def test_what_the_dry_run_does_not_pin(service, source, result, changes, reason):
    for name, value in changes.items():
        setattr(result, name, value)
    assert manifest(source).version == reason


def test_the_columns(service, source, result):
    found = readers.schema_of("q", "bigquery", source["options"])
    assert found == {"late": Column("int"), "many": Column("float", True)}


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            "a RECORD",
            "'a' has the BigQuery type RECORD, which a tf.Example cannot hold",
        ),
        ("a GEOGRAPHY", "make it text (ST_ASTEXT)"),
        ("a JSON[]", "take values out of it (JSON_VALUE)"),
        ("a INTERVAL", "make it a number (EXTRACT(DAY FROM ...)), or leave it out"),
        ("größe STRING", "has a name that BigQuery does not export; give it another"),
    ],
)
def test_columns_that_cannot_be_held(service, source, column, sentence):
    service.results[QUERY] = service.make([column], [])
    with pytest.raises(DataError) as error:
        readers.schema_of("the query", "bigquery", source["options"])
    assert str(error.value).startswith("the query: column ")
    assert sentence in str(error.value)


def refused(source):
    with pytest.raises(DataError) as error:
        listing.build_manifest([source])
    text = str(error.value)
    assert text.startswith("environment 'north': ") and "\n" not in text
    return text.removeprefix("environment 'north': ")


@pytest.mark.parametrize(
    ("status", "reason", "message", "sentence"),
    [
        (
            400,
            "invalidQuery",
            "Unrecognized name: lat at [1:8]",
            "BigQuery refuses the query: Unrecognized name: lat at [1:8]; correct it,"
            " or the project 'p'",
        ),
        (
            404,
            "notFound",
            "Not found: Dataset p:d was not found in location EU",
            "BigQuery refuses the query: Not found: Dataset p:d was not found in"
            " location EU; correct it, or the project 'p'",
        ),
        (
            403,
            "accessDenied",
            "Access Denied: Project p: User does not have bigquery.jobs.create.",
            "BigQuery denies access: Access Denied: Project p: User does not have"
            " bigquery.jobs.create; ask for the roles BigQuery Job User on the project"
            " 'p', and Data Viewer of the tables",
        ),
        (
            401,
            "authError",
            "Request had invalid authentication credentials.",
            "Google refuses the credentials: Reauthentication is needed; renew them",
        ),
        (
            503,
            "backendError",
            "Visibility check was unavailable",
            "BigQuery cannot be reached: Visibility check was unavailable; check the"
            " network, or try again later",
        ),
    ],
)
def test_refusals(service, source, monkeypatch, status, reason, message, sentence):
    monkeypatch.setattr(bigquery, "_PATIENCE", 0.1)
    service.results[QUERY] = service.refuse(status, message, reason)
    assert refused(source) == sentence


def test_no_service(service, source, monkeypatch):
    monkeypatch.setattr(bigquery, "_PATIENCE", 0.1)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    found = refused(source)
    assert found.startswith("BigQuery cannot be reached: ")
    assert found.endswith("; check the network, or try again later")


def test_no_credentials(source, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    found = refused(source)
    assert found.startswith("there are no Google credentials (File /nowhere.json")
    assert "gcloud auth application-default login" in found


def test_a_statement_that_is_no_select(service, source, result):
    result.statement = "INSERT"
    assert refused(source) == (
        "its statement is INSERT, which returns no rows to train on; write one SELECT"
    )


def test_names():
    assert bigquery.as_query("p.d.t") == "SELECT * FROM `p.d.t`"
    assert bigquery.as_query(" my-p:d.t ") == "SELECT * FROM `my-p.d.t`"
    assert bigquery.as_query("SELECT 1 ;\n") == "SELECT 1"
    assert bigquery.name_of("SELECT\n 1") == "bigquery: SELECT 1"
    long = bigquery.name_of(f"SELECT {'x' * 99}")
    assert len(long) == 80 and long != bigquery.name_of(f"SELECT {'x' * 98}")
