"""`--log-format json`: every line an object, nothing but objects."""

import datetime
import json
import os

import pytest

from pipeline import cli, lines, run_log


@pytest.fixture
def as_json():
    lines.choose("json")
    yield
    lines.choose("text")


def read(text):
    return [json.loads(line) for line in text.splitlines()]


def test_text_is_as_it_was():
    assert lines.shaped("  a  b", end="") == "  a  b"


def test_an_object_has_time_level_and_message(as_json):
    (said,) = read(lines.shaped("  a\n   b ", check="worst.auc"))
    assert said["message"] == "a b" and said["level"] == "info"
    assert said["check"] == "worst.auc"
    when = datetime.datetime.fromisoformat(said["time"])
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs((now - when).total_seconds()) < 60
    assert lines.shaped("  ") == ""


def test_a_form_that_is_not_there():
    with pytest.raises(ValueError, match="text or json, not 'xml'"):
        lines.choose("xml")


def test_the_terminal_of_a_run(tmp_path, capfd, as_json):
    stages = []
    with run_log.begun(str(tmp_path), "runs") as (folder, say):
        say("flights: v_rex")
        say("")
        with run_log.stage("Trainer", stages, say):
            os.write(1, b"noise\n")
        with pytest.raises(KeyError), run_log.stage("Pusher", stages, say):
            raise KeyError
    told = read(capfd.readouterr().out)
    assert [line["message"].split()[0] for line in told] == [
        "flights:",
        "Trainer",
        "Pusher",
    ]
    trained, failed = told[1:]
    assert trained["stage"] == "Trainer" and trained["outcome"] == "done"
    assert trained["seconds"] == stages[0].seconds
    assert failed["outcome"] == "failed"
    with open(os.path.join(folder, "log.txt")) as file:
        assert file.read().startswith("flights: v_rex\n\nnoise\n")


def test_the_error_of_a_command(tmp_path, capsys):
    path = str(tmp_path / "none.yaml")
    assert cli.main(["validate", path, "--log-format", "json"]) == 2
    (said,) = read(capsys.readouterr().err)
    assert said["level"] == "error" and said["exit"] == 2
    assert path in said["message"] and "tfx-irm:" not in said["message"]
    assert cli.main(["validate", path]) == 2
    assert capsys.readouterr().err.startswith("tfx-irm: ")
