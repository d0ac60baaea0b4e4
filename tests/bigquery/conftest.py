"""A stub of BigQuery, over HTTP: what Google's client and Beam's reader ask of it.

Both find it by an address that they know: the client by `BIGQUERY_EMULATOR_HOST`, Beam
by its class's base URL, as it has no option for one. A query is known by its text, and
an export job writes Avro as BigQuery does, to a folder in the place of Cloud Storage.
"""

import dataclasses
import glob
import http.server
import json
import os
import random
import re
import threading

import fastavro
import pytest

AVRO = {
    "INTEGER": "long",
    "FLOAT": "double",
    "BOOLEAN": "boolean",
    "STRING": "string",
    "BYTES": "bytes",
    "NUMERIC": {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 38,
        "scale": 9,
    },
    "BIGNUMERIC": {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 77,
        "scale": 38,
    },
    "DATE": {"type": "int", "logicalType": "date"},
    "TIME": {"type": "long", "logicalType": "time-micros"},
    "DATETIME": {"type": "string", "logicalType": "datetime"},
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
}
TABLE = {
    "type": "TABLE",
    "location": "EU",
    "creationTime": "1700000000000",
    "lastModifiedTime": "1700000001000",
    "numRows": "4",
    "numBytes": "100",
}


@dataclasses.dataclass
class Result:
    """What a query gives: columns `NAME TYPE`, or `NAME TYPE[]`, and rows by name."""

    columns: list
    rows: list
    tables: list = dataclasses.field(default_factory=lambda: ["p.d.flights"])
    size: int = 12_345_678
    statement: str = "SELECT"
    routines: list = dataclasses.field(default_factory=list)
    fails: str = ""  # when it runs

    @property
    def fields(self):
        split = [column.rstrip("[]").split() for column in self.columns]
        lists = [column.endswith("[]") for column in self.columns]
        return [
            {"name": n, "type": t, "mode": "REPEATED" if is_list else "NULLABLE"}
            for (n, t), is_list in zip(split, lists, strict=True)
        ]

    def write(self, path, rows):
        schema = {"type": "record", "name": "Root", "fields": []}
        for field in self.fields:
            of = AVRO[field["type"]]
            many = field["mode"] == "REPEATED"
            of = {"type": "array", "items": of} if many else ["null", of]
            schema["fields"].append({"name": field["name"], "type": of})
        with open(path, "wb") as file:
            fastavro.writer(file, fastavro.parse_schema(schema), rows)


class Refusal(Exception):
    def __init__(self, status, message, reason="invalidQuery"):
        super().__init__(message)
        self.status, self.reason = status, reason


class Service:
    """The stub.

    Attributes:
      results: text of a query -> `Result`, or a `Refusal`.
      tables: name -> what tables.get answers; `Refusal` too.
      asked: all jobs, the kind of each.
      order: seed of the order in which rows come.
    """

    def __init__(self, temp):
        self.temp, self.order = str(temp), 0
        self.results, self.tables, self.asked = {}, {"p.d.flights": dict(TABLE)}, []
        self.jobs, self.written, self.datasets = {}, {}, set()

    make = Result
    refuse = Refusal

    def job(self, project, body):
        job = body["configuration"]
        found = {"kind": "bigquery#job", "configuration": job, "id": "job"}
        found["jobReference"] = {"location": "EU", **body.get("jobReference", {})}
        found["jobReference"]["projectId"] = project
        found["status"] = {"state": "DONE"}
        found["statistics"] = {}
        if "extract" in job:
            self.asked.append("extract")
            self._extract(job["extract"])
        else:
            self._query(job, found)
        self.jobs[found["jobReference"].get("jobId")] = found
        return found

    def _query(self, job, found):
        dry, text = job.get("dryRun"), job["query"]["query"]
        assert job["query"]["useLegacySql"] is False
        self.asked.append("dry run" if dry else "query")
        distinct = re.fullmatch(
            r"SELECT DISTINCT `(.*?)` FROM \(\n(.*)\n\)", text, re.DOTALL
        )
        result = self.results.get(distinct[2] if distinct else text)
        if result is None:
            raise Refusal(400, f"Syntax error: {text}")
        if isinstance(result, Refusal):
            raise result
        found["statistics"]["query"] = {
            "statementType": result.statement,
            "totalBytesProcessed": str(result.size),
            "schema": {"fields": result.fields},
            "referencedTables": [self._reference(name) for name in result.tables],
            "referencedRoutines": result.routines,
        }
        found["statistics"]["totalBytesProcessed"] = str(result.size)
        if distinct:
            found["distinct"] = (result, distinct[1])
            at = {"projectId": "p", "datasetId": "anonymous", "tableId": "answer"}
            job["query"]["destinationTable"] = at
        elif not dry and result.fails:
            error = {"reason": "invalidQuery", "message": result.fails}
            found["status"] = {**found["status"], "errorResult": error}
        elif not dry:
            at = job["query"]["destinationTable"]
            assert (at["projectId"], at["datasetId"]) in self.datasets
            name = f"{at['projectId']}.{at['datasetId']}.{at['tableId']}"
            self.written[name] = result
            self.tables[name] = {**TABLE, "schema": {"fields": result.fields}}

    def _reference(self, name):
        project, dataset, table = name.rsplit(".", 2)
        return {"projectId": project, "datasetId": dataset, "tableId": table}

    def _extract(self, job):
        at = job["sourceTable"]
        result = self.written[f"{at['projectId']}.{at['datasetId']}.{at['tableId']}"]
        assert job["destinationFormat"] == "AVRO" and job["useAvroLogicalTypes"]
        (uri,) = job["destinationUris"]
        os.makedirs(os.path.dirname(uri))
        rows = list(result.rows)
        random.Random(self.order).shuffle(rows)
        cut = random.Random(self.order).randint(0, len(rows))
        for i, part in enumerate([rows[:cut], rows[cut:]]):
            result.write(uri.replace("*", f"{i:012d}"), part)

    def answers(self, job):
        result, column = self.jobs[job]["distinct"]
        (field,) = [field for field in result.fields if field["name"] == column]
        values = sorted({str(row[column]) for row in result.rows})
        return {
            "jobComplete": True,
            "schema": {"fields": [field]},
            "totalRows": str(len(values)),
            "rows": [{"f": [{"v": value}]} for value in values],
            "jobReference": self.jobs[job]["jobReference"],
        }

    def table(self, name):
        found = self.tables.get(name)
        if isinstance(found, Refusal):
            raise found
        if found is None:
            raise Refusal(404, f"Not found: Table {name}", "notFound")
        return {"tableReference": self._reference(name), **found}

    def exported(self):
        return glob.glob(f"{self.temp}/**/*.json", recursive=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Routes of REST to the service."""

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length) or "{}")
        self._answer(lambda path: self._post(path, body))

    def do_DELETE(self):
        self._answer(self._delete)

    def log_message(self, *_):
        pass

    def _get(self, path):
        service = self.server.service
        if found := re.fullmatch("projects/(.*)/datasets/(.*)/tables/(.*)", path):
            return service.table(".".join(found.groups()))
        if found := re.fullmatch("projects/(.*)/jobs/(.*)", path):
            return service.jobs[found[2]]
        if found := re.fullmatch("projects/(.*)/queries/(.*)", path):
            return service.answers(found[2])
        found = re.fullmatch("projects/(.*)/datasets/([^/]*)", path)
        if found and found.groups() in service.datasets:
            return {"id": found[2]}
        raise Refusal(404, f"Not found: {path}", "notFound")

    def _post(self, path, body):
        service = self.server.service
        if found := re.fullmatch("projects/(.*)/jobs", path):
            return service.job(found[1], body)
        if found := re.fullmatch("projects/(.*)/datasets", path):
            service.datasets.add((found[1], body["datasetReference"]["datasetId"]))
            return body
        raise Refusal(404, f"Not found: {path}", "notFound")

    def _delete(self, path):
        found = re.fullmatch("projects/(.*)/datasets/(.*)", path)
        self.server.service.datasets.discard(found.groups())
        return {}

    def _answer(self, route):
        path = self.path.partition("?")[0].removeprefix("/bigquery/v2/")
        try:
            status, body = 200, route(path)
        except Refusal as error:
            one = {"message": str(error), "reason": error.reason}
            status = error.status
            body = {"error": {"code": status, "message": str(error), "errors": [one]}}
        content = json.dumps(body, default=lambda _: None).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def service(tmp_path, monkeypatch):
    """The stub, to which both clients talk, without credentials."""
    import google.auth
    from apache_beam.internal.gcp import auth as beam_auth
    from apache_beam.io.gcp.internal.clients.bigquery import BigqueryV2
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import RefreshError

    class Nobody(AnonymousCredentials):
        def refresh(self, request):
            raise RefreshError("Reauthentication is needed")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.service = Service(tmp_path / "temp")
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    host = f"http://127.0.0.1:{server.server_port}"
    nobody = Nobody()
    monkeypatch.setattr(google.auth, "default", lambda *_, **__: (nobody, "p"))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", host)
    monkeypatch.setattr(BigqueryV2, "BASE_URL", f"{host}/bigquery/v2/")
    adapter = beam_auth._ApitoolsCredentialsAdapter(nobody)
    monkeypatch.setattr(beam_auth._Credentials, "_credentials", adapter)
    monkeypatch.setattr(beam_auth._Credentials, "_credentials_init", True)
    yield server.service
    server.shutdown()
    server.server_close()
    thread.join()


QUERY = "SELECT * FROM d.flights"


@pytest.fixture
def source(service):
    """An entry of `data.environments`, as `listing` takes it."""
    options = {"query": QUERY, "project": "p", "temp": service.temp}
    return {
        "environment": "north",
        "format": "bigquery",
        "patterns": [f"bigquery: {QUERY}"],
        "options": options,
        "held_out": False,
    }
