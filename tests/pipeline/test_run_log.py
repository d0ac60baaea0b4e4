"""The folder of what begins, and what whoever interrupts it is told."""

import os
import re

import pytest

from pipeline import run_log
from pipeline.errors import ConfigError


def test_it_begins_in_a_folder_of_its_own_with_a_log(tmp_path, capfd):
    with run_log.begun(str(tmp_path), "tunings", "trial") as (folder, say):
        say("hello")
        os.write(1, b"noise\n")
    assert re.fullmatch(r"\d{8}-\d{6}-\d{6}", os.path.basename(folder))
    assert os.path.dirname(folder) == str(tmp_path / "tunings")
    with open(os.path.join(folder, "log.txt")) as file:
        assert file.read() == "hello\nnoise\n"
    assert capfd.readouterr().out == "hello\n"


def test_an_interruption_is_raised_and_told(tmp_path, capfd):
    with (
        pytest.raises(KeyboardInterrupt),
        run_log.begun(str(tmp_path), "tunings", "trial") as _,
    ):
        raise KeyboardInterrupt
    assert capfd.readouterr().out == (
        "\ninterrupted; the same command goes on after the last finished trial\n"
    )


def test_a_root_that_cannot_be_made_is_said():
    with (
        pytest.raises(ConfigError, match="root is /proc/none/x, and .* cannot be writ"),
        run_log.begun("/proc/none/x", "runs"),
    ):
        raise AssertionError("it began")
