"""Sources on `gs://` and `s3://`: Beam's filesystems against stubs of the services."""

import gzip
import json
import os
import pathlib
import socket
import time

import apache_beam as beam
import fastavro
import google.auth
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rsa
import tensorflow as tf
from apache_beam.internal.gcp import auth
from apache_beam.io.aws import s3io
from apache_beam.io.filesystems import FileSystems

from components import files, remote
from components.errors import DataError
from components.multi_env_example_gen import (
    csv_blocks,
    csv_files,
    ingest,
    readers,
    shards,
)
from components.source_manifest import listing
from pipeline import cli
from tests.components import remote_stubs

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SPEC = shards.Spec({"name": "late"}, 0.5, (), ())
CONFIG = """\
name: remote
data:
  label: late
  environments:
{environments}
train: {{method: v_rex, steps: 10}}
checks: {{worst: {{auc: {{min: 0.6}}}}}}
"""


@pytest.fixture(scope="module")
def stores():
    """Scheme -> its store."""
    with (
        remote_stubs.serve(remote_stubs.GcsHandler) as gcs,
        remote_stubs.serve(remote_stubs.S3Handler) as s3,
    ):
        yield {"gs": gcs, "s3": s3}


@pytest.fixture(scope="module")
def account(stores, tmp_path_factory):
    """A service account of Google's form, which gets its tokens from the stub."""
    key = rsa.newkeys(1024)[1].save_pkcs1().decode()
    told = {"type": "service_account", "client_email": "fake@example.invalid"}
    told |= {"private_key": key, "token_uri": f"{stores['gs'].url}/token"}
    path = tmp_path_factory.mktemp("account") / "fake-account.json"
    path.write_text(json.dumps(told))
    return str(path)


def forget(monkeypatch):
    """What a new process does not know."""
    monkeypatch.setattr(remote, "_answered", set())
    monkeypatch.setattr(remote, "_kept", {})
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)


@pytest.fixture(autouse=True)
def environment(monkeypatch, stores, account):
    """What a user sets, and empty stores."""
    forget(monkeypatch)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", account)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", stores["gs"].url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", stores["s3"].url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(remote, "_PATIENCE", 1)
    for store in stores.values():
        store.objects.clear()
        store.buckets.clear()
        store.requests.clear()
        store.keys.clear()
        store.page = 1000
        store.fail = lambda what, name: None


@pytest.fixture(params=["gs", "s3"])
def scheme(request):
    return request.param


@pytest.fixture
def store(stores, scheme):
    return stores[scheme]


def source(pattern, file_format="csv", environment="only", **more):
    entry = {"environment": environment, "format": file_format, "held_out": False}
    return {**entry, "patterns": [pattern], "options": {}, **more}


def paths_of(pattern, **more):
    return [file.path for file in listing.build_manifest([source(pattern, **more)])]


class TestListing:
    NAMES = ("a.csv", "d/b.csv", "d/c x [1].csv", "d/e/f.csv", "d/e/g/é&+.csv", "d/")

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("*.csv", [0]),
            ("d/*.csv", [1, 2]),
            ("d/**", [1, 2, 3, 4]),
            ("d/**/*.csv", [1, 2, 3, 4]),
            ("**/[f-g].csv", [3]),
            ("?.csv", [0]),
            ("d/", [1, 2, 3, 4]),
            ("d", [1, 2, 3, 4]),
            ("d/c x [[]1].csv", [2]),
            ("d/e/g/é&+.csv", [4]),
        ],
    )
    def test_patterns(self, store, scheme, pattern, found):
        store.page = 2
        for name in self.NAMES:
            store.objects[f"bucket/{name}"] = b"x\n1\n"
        urls = [f"{scheme}://bucket/{self.NAMES[i]}" for i in found]
        assert paths_of(f"{scheme}://bucket/{pattern}") == sorted(urls)

    def test_many_pages(self, store, scheme):
        store.page = 7
        for i in range(50):
            store.objects[f"bucket/{i:02}.csv"] = b"x\n"
        assert len(files.find(f"{scheme}://bucket/*")) == 50
        assert store.count("list") == 8 + 1  # pages, and the first question

    def test_spans(self, store, scheme):
        for day in ("2024-03-01", "2024-03-02", "2024-13-45"):
            for name in ("a.csv", "b.csv", "c.txt"):
                store.objects[f"b/{day}/{name}"] = b"x\n1\n"
        pattern = f"{scheme}://b/{{YYYY}}-{{MM}}-{{DD}}/*.csv"
        found = listing.build_manifest([source(pattern, spans={"last": 1})])
        assert [(file.path, file.span) for file in found] == [
            (f"{scheme}://b/2024-03-02/{name}", "2024-03-02")
            for name in ("a.csv", "b.csv")
        ]

    @pytest.mark.parametrize("folder", ["data", "da*", "[a-e]ata/", "**/data"])
    def test_partitions_of_a_folder(self, store, scheme, folder):
        top = "top/" if folder.startswith("**") else ""
        store.objects[f"b/{top}data/k=1/city=New%20York/x.csv"] = b"x\n1\n"
        store.objects[f"b/{top}data/k=2/city=__HIVE_DEFAULT_PARTITION__/x.csv"] = b"x"
        store.objects[f"b/{top}data/_SUCCESS"] = b""
        found = listing.list_files(source(f"{scheme}://b/{folder}"))
        assert [one.options["partitions"] for one in found.values()] == [
            {"k": 1, "city": "New York"},
            {"k": 2, "city": None},
        ]

    def test_other_bytes_of_the_same_length_are_told(self, store, scheme):
        sources = [source(f"{scheme}://b/*")]
        store.objects["b/a.csv"] = b"x\n1\n"
        (before,) = listing.build_manifest(sources)
        assert listing.build_manifest(sources) == [before]
        listing.check_unchanged(before)
        store.objects["b/a.csv"] = b"x\n2\n"
        (after,) = listing.build_manifest(sources)
        assert (before.size, before.path) == (after.size, after.path)
        assert before.digest != after.digest
        with pytest.raises(DataError, match=rf"^{scheme}://b/a.csv has changed since"):
            listing.check_unchanged(before)
        del store.objects["b/a.csv"]
        with pytest.raises(DataError, match=rf"^{scheme}://b/a.csv was there when"):
            listing.check_unchanged(before)

    def test_the_key_goes_with_every_request(self, store, scheme):
        store.objects["b/a.csv"] = b"x\n1\n"
        paths_of(f"{scheme}://b/*")
        (key,) = {(one or "").partition("/")[0] for one in store.keys}
        sent = {"gs": "Bearer fake-token", "s3": "AWS4-HMAC-SHA256 Credential=fake-id"}
        assert key == sent[scheme]


class TestReading:
    def test_seeks_and_reads(self, store, scheme):
        content = bytes(range(256)) * 4000
        store.objects["b/x"] = content
        with files.open_file(f"{scheme}://b/x") as file:
            for at, size in ((0, 10), (700_000, 99), (5, 1 << 20), (1 << 20, 5)):
                assert file.seek(at) == min(at, len(content))
                assert file.read(size) == content[at : at + size]
            assert file.seek(-3, os.SEEK_END) == len(content) - 3
            assert file.read() == content[-3:]
        with pytest.raises(ValueError, match="closed"):
            file.read(1)

    def test_files_side_by_side(self, store, scheme):
        for name in "ab":
            store.objects[f"b/{name}"] = name.encode() * 300_000
        with (
            files.open_file(f"{scheme}://b/a") as a,
            files.open_file(f"{scheme}://b/b") as b,
        ):
            for _ in range(3):
                assert a.read(100_000) + b.read(100_000) == b"a" * 100_000 + (
                    b"b" * 100_000
                )

    def test_what_arrow_is_told_of_a_failure(self, store, scheme):
        table = pa.table({"late": range(1000)})
        pq.write_table(table, sink := pa.BufferOutputStream())
        store.objects["b/x.parquet"] = sink.getvalue().to_pybytes()
        url = f"{scheme}://b/x.parquet"
        schema = readers.schema_of(url, "parquet")
        (part,) = readers.ranges_of(url, "parquet")
        store.fail = lambda what, name: 403 if what == "read" else None
        with pytest.raises(DataError, match=rf"^{url} cannot be read: .*403"):
            list(readers.batches(url, "parquet", part, schema))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of each format, in a folder of its own."""
    folder = tmp_path_factory.mktemp("local")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.arange(600), "late": random.integers(0, 2, 600)})
    frame["temp"] = random.normal(50, 10, 600).round(2)
    frame["city"] = random.choice(["Zürich", "two\nlines", 'a "b"', "c,d"], 600)
    rows = frame.to_dict("records")

    def at(name):
        (folder / name).parent.mkdir(exist_ok=True)
        return str(folder / name)

    plain = frame.assign(city=frame.city.str.replace(r"\W", "_", regex=True))
    plain.to_csv(at("csv/x.csv"), index=False)
    frame.to_csv(at("csv_gz/x.csv.gz"), index=False)
    frame.to_csv(at("csv_quoted/x.csv"), index=False)
    table = pa.Table.from_pandas(frame)
    pq.write_table(table, at("parquet/x.parquet"), row_group_size=100)
    with gzip.open(at("jsonl/x.jsonl.gz"), "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    types = {"id": "long", "late": "int", "temp": "double", "city": "string"}
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    with open(at("avro/x.avro"), "wb") as file:
        record = {"type": "record", "name": "row", "fields": fields}
        fastavro.writer(file, record, rows, codec="deflate")
    for kind, name in ((None, "tfrecord/x"), ("GZIP", "tfrecord_gz/x")):
        with tf.io.TFRecordWriter(at(name), kind) as writer:
            for row in rows:
                writer.write(example(row).SerializeToString())
    return folder


def example(row):
    features = {
        name: tf.train.Feature(bytes_list={"value": [value.encode()]})
        if isinstance(value, str)
        else tf.train.Feature(float_list={"value": [value]})
        if isinstance(value, float)
        else tf.train.Feature(int64_list={"value": [value]})
        for name, value in row.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def upload(folder, store):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            store.objects[f"b/{path.relative_to(folder)}"] = path.read_bytes()


def ingested(top, names, out):
    """Shard -> its bytes, the counts, and the number of tasks of each name."""
    entries = [
        source(f"{top}/{name}/*", name.partition("_")[0], name) for name in names
    ]
    found = listing.from_json(listing.to_json(listing.build_manifest(entries)))
    tasks = ingest.plan_tasks(found)
    parts = [sum(task.file.environment == name for task in tasks) for name in names]
    counts = ingest.ingest(found, SPEC, str(out), lambda: beam.Pipeline(argv=[RUNNER]))
    written = {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    return written, counts, dict(zip(names, parts, strict=True))


FORMATS = (
    *("csv", "csv_gz", "csv_quoted", "parquet"),
    *("jsonl", "avro", "tfrecord", "tfrecord_gz"),
)


def test_the_same_files_read_here_and_there(folder, stores, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "RANGE", 5000)
    monkeypatch.setattr(csv_blocks, "BLOCK", 3000)
    monkeypatch.setattr(readers, "_ROWS_A_RANGE", 200)
    wanted, counts, parts = ingested(folder, FORMATS, tmp_path / "local")
    assert parts["csv_quoted"] > 2 and parts["csv"] > 2 and parts["parquet"] == 3
    assert len(wanted) == 2 * sum(parts.values())
    for scheme, store in stores.items():
        upload(folder, store)
        found = ingested(f"{scheme}://b", FORMATS, tmp_path / scheme)
        assert found == (wanted, counts, parts)


@pytest.mark.parametrize("name", ["csv", "parquet", "tfrecord_gz"])
def test_how_much_is_asked_for(folder, store, scheme, tmp_path, name):
    """Beside metadata, a file is read once for its columns and once for its rows."""
    upload(folder, store)
    entry = source(f"{scheme}://b/{name}/*", name.partition("_")[0])
    found = listing.build_manifest([entry])
    assert (store.count("list"), store.count("stat")) == (2, 2)
    ingest.ingest(
        found, SPEC, str(tmp_path / "out"), lambda: beam.Pipeline(argv=[RUNNER])
    )
    assert store.count("list") == 2
    # Size and checksum three times, each opening, and the size of what may be cut.
    sizes = name == "csv"
    footers = 2 * (name == "parquet")  # when ranges are planned, and when one is read
    assert store.count("read") == 2 + footers
    assert store.count("stat") == 2 + 3 * 2 + 2 + sizes + (footers > 0)


def test_columns_are_told_by_the_beginning(store, scheme):
    store.objects["b/x.csv"] = b"late\n" + b"1\n" * (48 << 20)
    assert set(readers.schema_of(f"{scheme}://b/x.csv", "csv")) == {"late"}
    # Beam's buffer, and what a connection holds.
    assert store.sent() < 40 << 20


def test_an_object_that_changes_while_it_is_read(store, scheme, tmp_path):
    store.objects["b/x.csv"] = b"late\n" + b"0\n1\n" * 100
    found = listing.build_manifest([source(f"{scheme}://b/x.csv")])

    def overwrite(what, name):
        if what == "read" and store.count("read") == 2:
            store.fail = lambda what, name: None
            store.objects[name] = b"late\n" + b"1\n0\n" * 100

    store.fail = overwrite
    with pytest.raises(DataError, match=rf"^{scheme}://b/x.csv "):
        ingest.ingest(
            found, SPEC, str(tmp_path / "out"), lambda: beam.Pipeline(argv=[RUNNER])
        )


def validate(tmp_path, *environments):
    lines = [f"    e{i}: {one}" for i, one in enumerate(environments)]
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(environments="\n".join(lines)))
    return cli.main(["validate", str(path)])


def test_validate(folder, stores, tmp_path, capsys):
    for store in stores.values():
        upload(folder, store)
    environments = ["{csv: gs://b/csv_quoted/*.csv}", "{parquet: s3://b/parquet}"]
    environments += ["{tfrecord: 'gs://b/tfrecord_gz/*', held_out: true}"]
    environments += ["{parquet: gs://b/parquet, held_out: true}"]
    assert validate(tmp_path, *environments) == 0
    captured = capsys.readouterr()
    assert captured.out.count(" 1 parquet file ") == 2
    assert captured.err == ""


class TestFailures:
    """Each is one sentence with the URL, within seconds."""

    @pytest.fixture
    def refused(self, tmp_path, capfd, scheme):
        def refused(*words, path="b/*.csv"):
            start = time.monotonic()
            url = f"{scheme}://{path}"
            status = validate(tmp_path, f"{{csv: '{url}'}}", f"{{csv: '{url}2'}}")
            assert time.monotonic() - start < 40
            error = capfd.readouterr().err
            assert status == 2, error
            assert "Traceback" not in error
            (line,) = [one for one in error.splitlines() if one.startswith("tfx-irm: ")]
            assert url in line
            for word in words:
                assert word in line
            return line

        return refused

    def test_wrong_bucket(self, refused):
        refused("cannot be listed: ", "check the address")

    def test_wrong_bucket_of_a_folder(self, refused):
        refused("check the address", path="b/folder/")

    @pytest.mark.parametrize("path", ["b/*.csv", "b/a.csv", "b/folder/"])
    def test_no_such_object(self, store, refused, path):
        store.objects["b/other"] = b""
        refused("matches no file; check the address", path=path)

    @pytest.mark.parametrize("status", [403, 500])
    @pytest.mark.parametrize("path", ["b/*.csv", "b/a.csv"])
    def test_the_service_refuses(self, store, refused, status, path):
        store.objects["b/a.csv"] = b"late\n1\n"
        store.fail = lambda what, name: status
        refused(str(status), "check the address, the credentials", path=path)

    def test_one_object_is_refused(self, store, scheme):
        store.objects["b/a.csv"] = b"late\n1\n"
        store.fail = lambda what, name: None if what == "list" else 403
        with pytest.raises(DataError, match=rf"^{scheme}://b/a.csv cannot be .*403"):
            listing.build_manifest([source(f"{scheme}://b/*.csv")])

    def test_nobody_answers(self, refused, monkeypatch):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
            said = refused("check the address, the credentials and the network")
            assert "object at 0x" not in said and "Caused by" not in said

    def test_no_credentials(self, store, scheme, refused, monkeypatch, tmp_path):
        for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AWS_ACCESS_KEY_ID"):
            monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        store.fail = lambda what, name: 401
        refused(
            "default credentials were not found"
            if scheme == "gs"
            else "Unable to locate"
        )

    def test_wrong_credentials(self, scheme, refused, monkeypatch, tmp_path):
        path = tmp_path / "fake-account.json"
        path.write_text("{}")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        refused(str(path) if scheme == "gs" else "nobody")

    def test_boto3_is_not_there(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(s3io, "BOTO3_INSTALLED", False)
        assert validate(tmp_path, "{csv: 's3://b/*'}", "{csv: 's3://b/x'}") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "s3://b/* cannot be listed: boto3 is not installed" in line

    def test_no_such_filesystem(self, tmp_path, capsys):
        assert validate(tmp_path, "{csv: 'zz://b/*'}", "{csv: 'zz://b/x'}") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "zz://b/* is of no filesystem that the installed Beam has" in line

    def test_no_bucket(self, tmp_path, capsys):
        assert validate(tmp_path, "{csv: 'gs:///x*'}", "{csv: 'gs://b/x'}") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "gs:///x* names no file; write gs://bucket/file" in line


def test_the_command_s_arguments_are_no_options_of_beam(monkeypatch, store, scheme):
    monkeypatch.setattr("sys.argv", ["tfx-irm", "validate", "x", "--s3_end=http://x"])
    store.objects["b/a.csv"] = b"x\n1\n"
    assert files.size(f"{scheme}://b/a.csv") == 4


def test_options_of_a_pipeline(stores, monkeypatch):
    for name in ("ENDPOINT_URL_S3", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    options = [f"--s3_endpoint_url={stores['s3'].url}", "--s3_access_key_id=fake"]
    beam.Pipeline(argv=[RUNNER, *options, "--s3_secret_access_key=fake"])
    stores["s3"].objects["b/a.csv"] = b"x\n1\n"
    assert files.size("s3://b/a.csv") == 4


def test_the_search_for_credentials_is_not_repeated(monkeypatch, store, scheme):
    """Beam does, for half a minute, where there are none."""
    asked = []
    found = google.auth.default

    def default(*args, **kwargs):
        asked.append(args)
        return found(*args, **kwargs)

    monkeypatch.setattr(google.auth, "default", default)
    store.objects["b/a.csv"] = b"x\n1\n"
    for _ in range(3):
        assert files.size(f"{scheme}://b/a.csv") == 4
    assert len(asked) == (2 if scheme == "gs" else 0)
