"""A query in the config: mistakes told early, `tfx-irm validate` by the dry run."""

import subprocess
import sys

import pytest
import yaml

from pipeline import cli, stages
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

QUERY = "SELECT late, size, site FROM d.flights"
COLUMNS = ["late INTEGER", "size FLOAT", "site STRING"]
ROWS = [{"late": i % 2, "size": float(i), "site": "ab"[i % 2]} for i in range(4)]
BESIDE = {"project": "my-project", "temp": "gs://bucket/tmp/"}
NORTH = {"bigquery": QUERY, **BESIDE}
SOUTH = {"bigquery": "my-project.d.south", **BESIDE, "held_out": True}


@pytest.fixture
def write(tmp_path):
    def write(environments=None, **data):
        named = environments or {"north": NORTH, "south": SOUTH}
        path = tmp_path / "config.yaml"
        sections = {"name": "bq", "data": {"label": "late", **data}}
        sections["data"]["environments"] = named
        sections["train"] = {"method": "erm"}
        sections["checks"] = {"worst": {"auc": {"min": 0.6}}}
        path.write_text(yaml.safe_dump(sections))
        return str(path)

    return write


@pytest.fixture
def answers(service):
    tables = ["my-project.d.flights"]
    south = "SELECT * FROM `my-project.d.south`"
    service.tables["my-project.d.flights"] = service.tables["p.d.flights"]
    service.tables["my-project.d.south"] = dict(service.tables["p.d.flights"])
    service.results[QUERY] = service.make(COLUMNS, ROWS, tables)
    service.results[south] = service.make(COLUMNS, ROWS, ["my-project.d.south"], 999)
    return service.results


def refused(path):
    with pytest.raises(ConfigError) as error:
        load_config(path)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_source(write):
    sources = load_config(write()).data.sources
    assert sources[0] == {
        "environment": "north",
        "held_out": False,
        "format": "bigquery",
        "patterns": [f"bigquery: {QUERY}"],
        "options": {
            "query": QUERY,
            "project": "my-project",
            "temp": "gs://bucket/tmp",
        },
    }
    assert sources[1]["options"]["query"] == "SELECT * FROM `my-project.d.south`"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"project": None},
            "bigquery has no project beside it; add `project`, which is billed",
        ),
        ({"temp": None}, "bigquery has no temp beside it; add `temp`, where its rows"),
        ({"bigquery": " "}, "is empty; write a query, or the name of a table"),
        ({"temp": "data/tmp"}, "is 'data/tmp'; BigQuery hands rows over in Cloud"),
        ({"project": "My Project"}, "is 'My Project'; write the id of the Google"),
        ({"csv": "x.csv"}, "a source has files of one format, so write sources:"),
        ({"delimiter": ";"}, "says how a CSV is written, and this is bigquery; rem"),
        ({"spans": {"last": 2}}, "chooses among paths; remove it from a query"),
        (
            {"bigquery": None, "csv": "x.csv", "temp": None},
            "project says how BigQuery is asked, and this is csv; remove it",
        ),
        ({"bigquery": None}, "names no files; add one of parquet, csv"),
    ],
)
def test_mistakes(write, changes, sentence):
    north = {k: v for k, v in {**NORTH, **changes}.items() if v is not None}
    assert sentence in refused(write({"north": north, "south": SOUTH}))


def test_another_project_of_beam(write):
    path = write()
    with pytest.raises(ConfigError) as error:
        load_config(path, sets=["beam=--project=other"])
    assert str(error.value).endswith(
        "beam is '--project=other', but a query of data.environments is asked in"
        " my-project, which Beam would not do; name the same project"
    )
    load_config(path, sets=["beam=--project=my-project"])


def test_mistakes_need_nothing_heavy(write):
    path = write({"north": {"bigquery": QUERY}, "south": SOUTH})
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        f"assert main(['validate', {path!r}]) == 2\n"
        "heavy = {'google.cloud.bigquery', 'apache_beam', 'tensorflow', 'pyarrow'}\n"
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_validate(write, answers, service, capsys):
    assert cli.main(["validate", write()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("   1 bigquery query   12.3 MB  training")
    assert lines[2].endswith("   1 bigquery query     999 B  held out")
    assert set(service.asked) == {"dry run"}


def test_validate_tells_what_is_never_cached(write, answers, service, capsys):
    service.tables["my-project.d.south"]["type"] = "VIEW"
    assert cli.main(["validate", write()]) == 0
    line = capsys.readouterr().out.splitlines()[2]
    why = "as it reads from my-project.d.south, of type VIEW"
    assert line.endswith(f"held out, read anew at every run, {why}")


def test_validate_refuses_a_wrong_query(write, answers, service, capsys):
    answers[QUERY] = service.refuse(400, "Unrecognized name: lat at [1:8]")
    path = write()
    assert cli.main(["validate", path]) == 2
    error = capsys.readouterr().err
    assert "data.environments.north.bigquery: BigQuery refuses the query:" in error
    assert "Unrecognized name: lat at [1:8]; correct it" in error


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"weight": "none"},
            "data.weight names the column 'none', which the data does",
        ),
        ({"label": "later"}, "is 'later', which environment 'north' does not have"),
        ({"features": {"numeric": ["site"]}}, "names 'site', a column of text where"),
    ],
)
def test_columns(write, answers, capsys, data, sentence):
    assert cli.main(["validate", write(**data)]) == 2
    assert sentence in capsys.readouterr().err


def test_the_same_query_twice(write, answers, capsys):
    environments = {"north": NORTH, "south": {**NORTH, "held_out": True}}
    assert cli.main(["validate", write(environments)]) == 2
    assert "which north has too" in capsys.readouterr().err


def test_beside_files(write, answers, tmp_path, capsys):
    (tmp_path / "x.csv").write_text("late,size,site\n1,2.5,a\n")
    north = {"sources": [NORTH, {"csv": "x.csv"}]}
    assert cli.main(["validate", write({"north": north, "south": SOUTH})]) == 0


def test_a_column_tells_the_environment(write, answers, service, capsys):
    config = write({**NORTH, "environment_column": "site", "held_out": ["b"]})
    assert cli.main(["validate", config]) == 0
    assert "held out: b" in capsys.readouterr().out
    assert "query" not in service.asked  # which would be billed
    assert stages.training_environments(load_config(config)) == ["a"]
    each = write({**NORTH, "environment_column": "site", "held_out": "each"})
    assert cli.main(["validate", each]) == 0
    assert "each of a, b is held out in turn" in capsys.readouterr().out
