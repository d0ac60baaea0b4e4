"""Runs the toy pipeline in a process of its own: CONFIG FOLDER SEED [KEY=VALUE ...]."""

import pathlib
import sys

from pipeline import local_runner
from pipeline.config_io import load_config
from pipeline.runtime import Local
from tests.pipeline import toy_stages


def launch(config, folder, seed):
    """Runs it as `run` does; how far it came."""
    folder.mkdir(parents=True, exist_ok=True)
    return local_runner.launch(
        lambda: toy_stages.graph(Local(config), seed), str(folder), lambda *_, **__: 0
    )


if __name__ == "__main__":
    path, below, number, *sets = sys.argv[1:]
    made = launch(load_config(path, sets=sets), pathlib.Path(below), int(number))
    assert not made.errors, made.errors
    assert len(made.stages) == 5
