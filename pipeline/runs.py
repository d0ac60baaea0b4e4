"""The runs under a root: which there are, and where their reports lie."""

import json
import os

from pipeline.errors import ConfigError

REPORT = "report.html"
SUMMARY = "summary.json"


def list_runs(root: str) -> list[str]:
    """Ids of the runs under a root, the oldest first.

    Args:
      root: the config's.
    """
    folder = os.path.join(root, "runs")
    try:
        with os.scandir(folder) as entries:
            # Ids begin with their time.
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def report_path(root: str, run: str | None = None) -> str:
    """The report of a run, by default of the last.

    Args:
      root: the config's.
      run: id of a run, or None.

    Raises:
      ConfigError: there is no such run, or it left no report.
    """
    known = list_runs(root)
    folder = os.path.join(root, "runs")
    if not known:
        raise ConfigError(
            f"no run in {folder}; run the config first, or check its `root`"
        )
    if run is not None and run not in known:
        last = ", ".join(reversed(known[-3:]))
        raise ConfigError(f"--run: no run {run!r} in {folder}; the last are {last}")
    chosen = run or known[-1]
    path = os.path.join(folder, chosen, REPORT)
    if os.path.isfile(path):
        return path
    whole = [r for r in known if os.path.isfile(os.path.join(folder, r, REPORT))]
    mend = f"--run {whole[-1]} has one" if whole else "no run has one yet"
    raise ConfigError(
        f"run {chosen} left no report ({_why(os.path.join(folder, chosen))}); {mend}"
    )


def error_of(summary_path: str) -> str | None:
    """The sentence of the error that a run ended in, None where there was none.

    Args:
      summary_path: of the run's `summary.json`.

    Raises:
      OSError, ValueError: there is no legible summary.
    """
    with open(summary_path, encoding="utf-8") as file:
        error = json.load(file)["error"]
    return error["sentence"] if error else None


def _why(folder: str) -> str:
    try:
        sentence = error_of(os.path.join(folder, SUMMARY))
    except (OSError, ValueError, LookupError, TypeError):
        return "it did not end"
    return f"it ended in an error: {sentence}" if sentence else "the file is gone"
