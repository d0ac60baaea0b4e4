"""What was seen of a served version, kept between looks.

    <push.path>/monitor/<version>-<settings>/state.json       all looks together
    <push.path>/monitor/<version>-<settings>/look-00001.json  one look's record

Another version starts anew, and so do other settings (checks, confidence, slices):
these are other statements. TensorFlow Serving looks into folders with a number for a
name alone.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from components import files, filesystem
from components.errors import DataError
from components.monitor import sequences
from components.monitor.watches import Watch

FOLDER = "monitor"
STATE_FILE = "state.json"
_FORMAT = 1


@dataclasses.dataclass
class Stretch:
    """A sum over looks.

    Attributes:
      look: number of the first.
      examples: in all.
      weight: of their units: 1 each, or as much as was laid on it.
      total: weighted sum over the units of their means, as `Watch.turned` has them.
    """

    look: int
    examples: int = 0
    weight: float = 0.0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """Of the units; they have some weight."""
        return self.total / self.weight


@dataclasses.dataclass
class Watched:
    """What is known of one watch.

    Attributes:
      watch: it.
      level: the chance of a false alarm that it has been given.
      evidence: so far.
      all: of all looks.
      since: of the looks since which its mean is beyond the bound; or the last one.
      broken: number of the look that showed it to be broken, or None.
    """

    watch: Watch
    level: float
    evidence: sequences.Evidence
    all: Stretch
    since: Stretch
    broken: int | None = None

    @property
    def needed(self) -> float:
        """Log of the evidence that shows it to be broken."""
        return -math.log(self.level)


@dataclasses.dataclass
class State:
    """Of one version under one set of checks.

    Attributes:
      version: its number.
      digest: its model's.
      settings: fingerprint of what is asked.
      looks: how many there were.
      generations: how often new slices came, see `looks`.
      files: digest of each file that was counted -> path and look.
      watched: key of a watch -> what is known of it.
      invalid: predictions that were none, in all.
      units: what belonged together in the last look; hexadecimal.
    """

    version: int
    digest: str
    settings: str
    looks: int = 0
    generations: int = 0
    files: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    watched: dict[str, Watched] = dataclasses.field(default_factory=dict)
    invalid: int = 0
    units: list[str] = dataclasses.field(default_factory=list)


def folder_of(serving: str, version: int, settings: str) -> str:
    """Where the state of a version lies."""
    return os.path.join(serving, FOLDER, f"{version}-{settings[:12]}")


@contextlib.contextmanager
def alone(serving: str) -> Iterator[None]:
    """Keeps other looks at the same folder of versions waiting; not on a store.

    Raises:
      DataError: nothing can be written there.
    """
    folder = os.path.join(serving, FOLDER)
    with contextlib.ExitStack() as stack:
        with filesystem.written(serving, "looks"):
            filesystem.make_folder(folder)
            if not files.is_url(serving):
                path = os.path.join(folder, ".lock")
                file = stack.enter_context(open(path, "a"))
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load(folder: str, fresh: State) -> State:
    """The state of a folder; `fresh` where there is none.

    Raises:
      DataError: it cannot be read, or is of another model.
    """
    path = os.path.join(folder, STATE_FILE)
    if not filesystem.exists(path):
        return fresh
    try:
        with filesystem.open_file(path) as file:
            found = _from_json(json.loads(file.read()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}); put back a copy, or move"
            " it away to begin anew, with no memory of earlier looks"
        ) from error
    if (found.digest, found.settings) != (fresh.digest, fresh.settings):
        raise DataError(
            f"{path} is of the model {found.digest}, and {fresh.digest} is served as"
            f" version {fresh.version}; move it away"
        )
    return found


def save(folder: str, state: State, record: Mapping[str, Any]) -> str:
    """Writes the record of the last look, and then the state, each in one rename.

    Returns:
      Path of the record.

    Raises:
      DataError: they cannot be written.
    """
    path = os.path.join(folder, f"look-{state.looks:05d}.json")
    with filesystem.written(folder, "looks"):
        filesystem.make_folder(folder)
        _replace(path, record)
        _replace(os.path.join(folder, STATE_FILE), _to_json(state))
    return path


def _replace(path: str, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1, allow_nan=False)
    filesystem.replace_file(path, text.encode())


def _to_json(state: State) -> dict[str, Any]:
    watched = {
        key: {
            "watch": dataclasses.asdict(one.watch),
            "level": one.level,
            "looks": one.evidence.looks,
            "active": [v if np.isfinite(v) else None for v in _list(one)],
            "peak": float(one.evidence.peak),
            "all": dataclasses.asdict(one.all),
            "since": dataclasses.asdict(one.since),
            "broken": one.broken,
        }
        for key, one in state.watched.items()
    }
    plain = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {"format": _FORMAT, **plain, "watched": watched}


def _list(one: Watched) -> list[float]:
    found: list[float] = one.evidence.active.tolist()
    return found


def _from_json(found: dict[str, Any]) -> State:
    if found.pop("format") != _FORMAT:
        raise ValueError("another format")
    watched = {}
    for key, one in found.pop("watched").items():
        active = np.array(one["active"], np.float64)
        active[[value is None for value in one["active"]]] = -np.inf
        if active.shape != sequences.FRACTIONS.shape:
            raise ValueError("other bets")
        evidence = sequences.Evidence(one["looks"], active, np.array(one["peak"]))
        watched[key] = Watched(
            Watch(**one["watch"]),
            float(one["level"]),
            evidence,
            Stretch(**one["all"]),
            Stretch(**one["since"]),
            one["broken"],
        )
    return State(**found, watched=watched)
