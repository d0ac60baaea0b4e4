"""The two stacks, and which interpreter of a system can carry one of them.

Standard library only, and it runs on Python 3.8: `make venv` needs it before
anything is installed.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE = """
import importlib.util, json, os, sys, sysconfig
include = sysconfig.get_paths()["include"]
print(json.dumps({
    "path": getattr(sys, "_base_executable", sys.executable),
    "version": list(sys.version_info[:2]),
    "has_venv": all(map(importlib.util.find_spec, ("venv", "ensurepip"))),
    "has_headers": os.path.exists(os.path.join(include, "Python.h")),
    "cc": sysconfig.get_config_var("CC") or "cc",
    "cxx": sysconfig.get_config_var("CXX") or "c++",
}))
"""


class MissingError(Exception):
    """Something is missing on this system; the message is the one sentence."""


@dataclass(frozen=True)
class Stack:
    """One of the two sets of pinned versions.

    Attributes:
      name: "A" or "B".
      versions: the Python versions it supports, the preferred one first.
      glibc: the oldest glibc that its wheels run on.
    """

    name: str
    versions: tuple[tuple[int, int], ...]
    glibc: tuple[int, int]

    def files(self, gpu: bool) -> list[str]:
        """Returns the pinned requirements, relative to the repository."""
        stem = f"requirements/stack-{self.name.lower()}"
        return [f"{stem}.txt", *([f"{stem}-gpu.txt"] if gpu else [])]


STACKS = (
    Stack("B", ((3, 13), (3, 12), (3, 11)), (2, 39)),
    Stack("A", ((3, 10),), (2, 17)),
)


@dataclass(frozen=True)
class System:
    """What the wheels depend on: "Linux", "x86_64", glibc's version or None."""

    name: str
    machine: str
    glibc: tuple[int, int] | None


@dataclass(frozen=True)
class Interpreter:
    """A Python that was found, and what it lacks to build an environment.

    Attributes:
      path: its executable.
      version: major and minor.
      lacks: what is missing, each with its Debian package in brackets.
    """

    path: str
    version: tuple[int, int]
    lacks: tuple[str, ...] = ()


def dotted(version: Iterable[int]) -> str:
    """Returns (3, 10) as "3.10"."""
    return ".".join(map(str, version))


def listed(items: Sequence[str]) -> str:
    """Returns ["a", "b", "c"] as "a, b and c"."""
    return " and ".join([*([", ".join(items[:-1])] if items[1:] else []), *items[-1:]])


def check_system(system: System) -> tuple[int, int]:
    """Returns the system's glibc version.

    Raises:
      MissingError: there are no TFX wheels for this system.
    """
    if (system.name, system.machine) != ("Linux", "x86_64"):
        raise MissingError(
            f"TFX has wheels for Linux on x86_64 only and this is {system.name} on "
            f"{system.machine}: use such a machine, or a container of it."
        )
    if system.glibc is None or system.glibc < STACKS[-1].glibc:
        found = f"has glibc {dotted(system.glibc)}" if system.glibc else "has none"
        raise MissingError(
            f"TFX's wheels need glibc >= {dotted(STACKS[-1].glibc)} and this system "
            f"{found}: use a newer distribution with glibc, such as Debian."
        )
    return system.glibc


def stack_of(version: tuple[int, int], glibc: tuple[int, int]) -> Stack | None:
    """Returns the stack for a Python `version` on `glibc`, None where there is none."""
    for stack in STACKS:
        if version in stack.versions and glibc >= stack.glibc:
            return stack
    return None


def wanted(glibc: tuple[int, int]) -> str:
    """Says which Pythons would do on `glibc`."""
    if glibc >= STACKS[0].glibc:
        return "Python 3.10 to 3.13"
    return f"Python 3.10 (newer ones need glibc >= 2.39, here it is {dotted(glibc)})"


def choose(
    found: Sequence[Interpreter], system: System, asked: str = ""
) -> tuple[Interpreter, Stack]:
    """Picks the interpreter and its stack.

    Stack B is preferred, within it Python 3.13, and what lacks nothing to what does.

    Args:
      found: the interpreters that run here; with `asked`, that one alone or none.
      system: the system's name, machine and glibc.
      asked: the interpreter that the user named, or "".

    Returns:
      The interpreter and the stack to install for it.

    Raises:
      MissingError: nothing fits, or what fits lacks something.
    """
    glibc = check_system(system)
    if asked and not found:
        raise MissingError(
            f"PYTHON={asked} does not run: name a {wanted(glibc)} that does."
        )
    order = [version for stack in STACKS for version in stack.versions]
    fitting = [
        (bool(python.lacks), order.index(python.version), n)
        for n, python in enumerate(found)
        if stack_of(python.version, glibc)
    ]
    if not fitting:
        versions = sorted({python.version for python in found})
        seen = listed([dotted(version) for version in versions])
        if asked:
            raise MissingError(f"PYTHON={asked} is Python {seen}: use {wanted(glibc)}.")
        others = f"only {seen}" if seen else "nor any other"
        raise MissingError(
            f"No {wanted(glibc)} was found, {others}: install one with its venv module "
            "and headers, or name one with PYTHON=."
        )
    best = found[min(fitting)[2]]
    if best.lacks:
        raise MissingError(
            f"Python {dotted(best.version)} ({best.path}) lacks {listed(best.lacks)}: "
            "install what is in brackets, or name another interpreter with PYTHON=."
        )
    stack = stack_of(best.version, glibc)
    assert stack is not None
    return best, stack


def lacking(probed: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what an interpreter lacks, given the answer of `PROBE`."""
    python = f"python{dotted(probed['version'])}"
    lacks = []
    if not probed["has_venv"]:
        lacks.append(f"its venv module ({python}-venv)")
    if not probed["has_headers"]:
        lacks.append(f"its headers, which pyfarmhash is built with ({python}-dev)")
    for name, text in (("cc", "a C compiler (gcc)"), ("cxx", "a C++ compiler (g++)")):
        command = environ.get(name.upper()) or probed[name]
        if not shutil.which(command.split()[0], path=environ.get("PATH")):
            lacks.append(text)
    return tuple(lacks)


def probe(path: str) -> Interpreter | None:
    """Asks the interpreter at `path` what it is; None where it does not run."""
    try:
        answer = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
        )
        probed = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None  # pyenv's shims are there for versions that are not selected
    lacks = lacking(probed, os.environ)
    return Interpreter(probed["path"], tuple(probed["version"]), lacks)


def candidates(environ: Mapping[str, str]) -> list[str]:
    """Returns the paths at which Pythons of the supported versions may be."""
    pyenv = Path(environ.get("PYENV_ROOT") or Path(environ["HOME"]) / ".pyenv")
    folders = environ.get("PATH", "").split(os.pathsep)
    folders += ["/usr/local/bin", "/usr/bin"]
    folders += map(str, sorted(pyenv.glob("versions/*/bin"), reverse=True))
    names = ["python3"]
    names += [f"python{dotted(v)}" for stack in STACKS for v in stack.versions]
    paths = [Path(folder) / name for name in names for folder in folders if folder]
    return list(
        {os.path.realpath(p): str(p) for p in paths if os.access(p, os.X_OK)}.values()
    )


def find(asked: str, environ: Mapping[str, str]) -> Interpreter | None:
    """Finds the interpreter that the user named by a path, or by a name as on PATH."""
    paths = [shutil.which(asked, path=environ.get("PATH")) or asked]
    paths += [path for path in candidates(environ) if Path(path).name == asked]
    return next((python for python in map(probe, paths) if python), None)


def this_system() -> System:
    """Describes the system that this runs on."""
    library, version = platform.libc_ver()
    numbers = re.match(r"(\d+)\.(\d+)", version)
    glibc = (
        (int(numbers[1]), int(numbers[2])) if library == "glibc" and numbers else None
    )
    return System(platform.system(), platform.machine(), glibc)
